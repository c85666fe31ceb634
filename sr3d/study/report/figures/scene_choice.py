"""Which scenes a figure shows: chosen by a rule, from how well two settings did in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sr3d.evaluate.detection_matches import true_positives
from sr3d.evaluate.scored_files import ScoredDetections
from sr3d.geometry.box_set import BoxSet
from sr3d.study.report.paper import Qualitative

SCORE = 0.3  # boxes of a lower score are neither drawn nor counted
IOU = 0.25  # with a ground truth of its class, strictly above which a box is right
RULE = (
    "The F1 of a scene is 2·TP / (boxes + ground truths), where TP is the number of solid boxes. "
    "Its gain is the second setting's F1 minus the first's. The evaluated scenes are ordered by "
    "gain, from the largest to the smallest, then by name. The figure shows scenes at equal steps "
    "through this order."
)


@dataclass(frozen=True)
class ConfidentBoxes:
    """The boxes that count of a test, best first, and which of them are right, (K,)."""

    boxes: BoxSet
    right: NDArray[np.bool_]

    def of(self, scene: str) -> ConfidentBoxes:
        """Those of one scene."""
        rows = self.boxes.scene == scene
        return ConfidentBoxes(self.boxes[rows], self.right[rows])


def confident(test: ScoredDetections) -> ConfidentBoxes:
    """The boxes of a score of `SCORE` or more, matched by AP's rule at an IoU of `IOU`."""
    score = test.detections.score
    assert score is not None
    best_first = np.argsort(-score, kind="stable")
    rows = best_first[score[best_first] >= np.float32(SCORE)]
    return ConfidentBoxes(test.detections[rows], true_positives(test.matching[rows], IOU))


def f1_scores(test: ScoredDetections) -> dict[str, float]:
    """F1 of each scene by its name; 1 where there is nothing to find and nothing is found."""
    found = confident(test)
    names = sorted(test.truth.known_scenes() | test.detections.known_scenes())
    number = {name: i for i, name in enumerate(names)}

    def count(scenes: NDArray[np.str_]) -> NDArray[np.int64]:
        return np.bincount([number[name] for name in scenes.tolist()], minlength=len(names))

    right = count(found.boxes.scene[found.right])
    total = count(found.boxes.scene) + count(test.truth.scene)
    return {name: float(2 * right[i] / total[i]) if total[i] else 1.0 for name, i in number.items()}


def choose_by_gain(gains: Mapping[str, float], count: int) -> list[str]:
    """`count` scenes by `RULE`, all if there are no more; one alone is that of the largest gain."""
    order = sorted(gains, key=lambda scene: (-gains[scene], scene))
    if len(order) <= count:
        return order
    return [order[i * (len(order) - 1) // max(count - 1, 1)] for i in range(count)]


def choose_next(gains: Mapping[str, float], count: int, before: Sequence[int]) -> list[str]:
    """`count` scenes by `RULE` of those that figures of so many scenes leave, one after another."""
    left = dict(gains)
    for earlier in before:
        for scene in choose_by_gain(left, earlier):
            del left[scene]
    return choose_by_gain(left, count)


def same_as(
    figure: Qualitative, figures: Sequence[Qualitative], dataset: str
) -> Qualitative | None:
    """The figure that shows the same on a data set, so that this one need not.

    Figures that differ in their data alone would be one figure twice: it is the one that the paper
    has there, or else the first.
    """
    alike = [
        one
        for one in figures
        if (one.settings, one.count, one.rule) == (figure.settings, figure.count, figure.rule)
        and (one is figure or not set(one.datasets) & set(figure.datasets))
    ]
    shown = min(alike, key=lambda one: dataset not in one.datasets)
    return None if shown is figure else shown


def before(figure: Qualitative, figures: Sequence[Qualitative], dataset: str) -> list[Qualitative]:
    """The figures that show the same settings on a data set and come first."""
    earlier = figures[: figures.index(figure)]
    return [
        one
        for one in earlier
        if one.settings == figure.settings and same_as(one, figures, dataset) is None
    ]


def number_of(title: str) -> str:
    """ "Fig. 5" of "Fig. 5 of the SR3D paper: …"; the whole title where it has another form."""
    return title.partition(" of the SR3D paper")[0]
