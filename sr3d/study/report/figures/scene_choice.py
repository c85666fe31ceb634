"""Choose the scenes of a figure by a rule, from the scores of two settings in each scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sr3d.evaluate.detection_matches import true_positives
from sr3d.evaluate.scored_files import ScoredDetections
from sr3d.geometry.box_set import BoxSet
from sr3d.study.report.paper import Qualitative

SCORE = 0.3  # boxes with a lower score are neither drawn nor counted
IOU = 0.25  # a box is right if it overlaps a ground truth of its class by strictly more
RULE = (
    "The F1 of a scene is 2·TP / (boxes + ground truths), where TP is the number of solid boxes. "
    "Its gain is the second setting's F1 minus the first's. The evaluated scenes are ordered by "
    "gain, from the largest to the smallest, then by name. The figure shows scenes at equal steps "
    "through this order."
)


@dataclass(frozen=True)
class ConfidentBoxes:
    """The confident boxes of an evaluation, best first, and which of them are right, (K,)."""

    boxes: BoxSet
    right: NDArray[np.bool_]

    def of(self, scene: str) -> ConfidentBoxes:
        """The boxes of one scene."""
        rows = self.boxes.scene == scene
        return ConfidentBoxes(self.boxes[rows], self.right[rows])


def confident(test: ScoredDetections) -> ConfidentBoxes:
    """The boxes with a score of `SCORE` or more, matched by AP's rule at an IoU of `IOU`."""
    score = test.detections.score
    assert score is not None
    best_first = np.argsort(-score, kind="stable")
    rows = best_first[score[best_first] >= np.float32(SCORE)]
    return ConfidentBoxes(test.detections[rows], true_positives(test.matching[rows], IOU))


def f1_scores(test: ScoredDetections) -> dict[str, float]:
    """F1 of each scene by its name. It is 1 if there is no ground truth and no detection."""
    found = confident(test)
    names = sorted(test.truth.known_scenes() | test.detections.known_scenes())
    number = {name: i for i, name in enumerate(names)}

    def count(scenes: NDArray[np.str_]) -> NDArray[np.int64]:
        return np.bincount([number[name] for name in scenes.tolist()], minlength=len(names))

    right = count(found.boxes.scene[found.right])
    total = count(found.boxes.scene) + count(test.truth.scene)
    return {name: float(2 * right[i] / total[i]) if total[i] else 1.0 for name, i in number.items()}


def choose_by_gain(gains: Mapping[str, float], count: int) -> list[str]:
    """`count` scenes by `RULE`, or all if there are fewer. A single one has the largest gain."""
    order = sorted(gains, key=lambda scene: (-gains[scene], scene))
    if len(order) <= count:
        return order
    return [order[i * (len(order) - 1) // max(count - 1, 1)] for i in range(count)]


def choose_next(gains: Mapping[str, float], count: int, before: Sequence[int]) -> list[str]:
    """`count` scenes by `RULE` from those left by earlier figures. before: their counts."""
    left = dict(gains)
    for earlier in before:
        for scene in choose_by_gain(left, earlier):
            del left[scene]
    return choose_by_gain(left, count)


def same_as(
    figure: Qualitative, figures: Sequence[Qualitative], dataset: str
) -> Qualitative | None:
    """The figure that shows the same on a data set, so that this one can be omitted. None if new.

    Figures that differ in their data only would be the same figure twice. The one that the paper
    has on this data set is kept, otherwise the first.
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
    """The preceding figures that show the same settings on a data set."""
    earlier = figures[: figures.index(figure)]
    return [
        one
        for one in earlier
        if one.settings == figure.settings and same_as(one, figures, dataset) is None
    ]


def number_of(title: str) -> str:
    """ "Fig. 5" of "Fig. 5 of the SR3D paper: …". A title of another form is returned whole."""
    return title.partition(" of the SR3D paper")[0]
