"""Diagnose low scores: find the mistake in the boxes without which they would be right.

Each known mistake is undone and average precision is computed again. This needs no other knowledge,
so it works for the boxes of any program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sr3d.evaluate.average_precision import average_precision
from sr3d.evaluate.mistakes import MISTAKES, Mistake
from sr3d.geometry.box_set import BoxSet

_MOST = 60_000  # maximum number of detections used, the best ones
_TURN = 2 * np.pi + 1e-3  # radians of a whole turn
_GAIN, _TIMES = 10.0, 1.5  # minimum rise of the mean of AP25 and AP50, in points and as a ratio
_SCENES = 60  # maximum number of scenes used
_NOTHING = 1.0  # percent. Below this AP25, no box overlaps an object


Scores = tuple[float, float]  # AP25 and AP50 in percent


@dataclass(frozen=True)
class Diagnosis:
    """A mistake that explains a low score.

    name: a keyword, or two joined by `+`. mistake: the probable mistake in the boxes. remedy: what
    to do. AP25, AP50: the scores without the mistake, in percent. was: the scores with it.
    """

    name: str
    mistake: str
    remedy: str
    AP25: float
    AP50: float
    was: tuple[float, float]

    def __str__(self) -> str:
        if self.was == (self.AP25, self.AP50):
            return f"{self.mistake}: {self.remedy}"
        return (
            f"{self.mistake}: {self.remedy}, and AP25 is {self.AP25:.2f} instead of "
            f"{self.was[0]:.2f}, AP50 {self.AP50:.2f} instead of {self.was[1]:.2f}"
        )


def diagnose(
    truth: BoxSet, detections: BoxSet, classes: Sequence[str], *, rotated: bool
) -> Diagnosis | None:
    """The mistake, or the two mistakes, that explain most of a low score, or None.

    If hardly any box overlaps an object and no known mistake explains it, the diagnosis says so.
    """
    assert detections.score is not None
    best = np.argsort(-detections.score, kind="stable")[:_MOST]
    some = detections[np.sort(best)]

    def score(objects: BoxSet, boxes: BoxSet) -> Scores:
        result = average_precision(objects, boxes, classes, rotated=rotated)
        return result["AP25"], result["AP50"]

    was = now = score(truth, some)
    signs = _signs(truth, some)
    if not len(some) or (_is_high(was) and not signs):
        return None
    scenes = np.unique(truth.scene)[:: max(1, len(np.unique(truth.scene)) // _SCENES)]
    few_objects = truth[np.isin(truth.scene, scenes)]
    found = list[Mistake]()
    while len(found) < 2 and not (found and _is_high(now)):
        few = some[np.isin(some.scene, scenes)]
        one = _likeliest(few_objects, few, len(classes), signs, score)
        changed = None if one is None else one.undo(some, truth, len(classes))
        if one is None or changed is None:
            break
        better = score(truth, changed)
        if not _explains(better, now, one.name in signs):
            break
        found.append(one)
        some, now, signs = changed, better, set()
    if found:
        name, mistake, remedy = (
            glue.join(words)
            for glue, words in (
                ("+", [one.name for one in found]),
                (", and ", [one.mistake for one in found]),
                (", and ", [one.remedy for one in found]),
            )
        )
        return Diagnosis(name, mistake, remedy, *now, was)
    return _nowhere(was) if was[0] < _NOTHING else None


def _signs(truth: BoxSet, some: BoxSet) -> set[str]:
    """Mistakes that are evident from the boxes, whatever the score."""
    turns = np.abs(some.box[:, 6])
    signs = {"degrees"} if (turns > _TURN).any() else set()
    return signs | ({"yaw_of_upright"} if turns.any() and not truth.box[:, 6].any() else set())


def _likeliest(
    truth: BoxSet,
    some: BoxSet,
    count: int,
    signs: set[str],
    score: Callable[[BoxSet, BoxSet], Scores],
) -> Mistake | None:
    """The mistake whose correction gives the highest score, if the gain is large enough."""
    found, most, was = None, 0.0, score(truth, some)
    for one in MISTAKES:
        changed = one.undo(some, truth, count)
        if changed is None:
            continue
        now = score(truth, changed)
        if sum(now) > most and _explains(now, was, one.name in signs):
            found, most = one, sum(now)
    return found


def _explains(now: Scores, was: Scores, sign: bool) -> bool:
    """Whether scores rose so much that the correction explains them."""
    both = sum(now) - sum(was) >= 2 * _GAIN and sum(now) >= _TIMES * sum(was)
    tight = now[1] - was[1] >= 2 * _GAIN and now[1] >= _TIMES * was[1] and now[0] >= was[0]
    return both or tight or (sign and sum(now) >= sum(was))


def _is_high(scores: Scores) -> bool:
    """Whether no correction could gain enough to be credible."""
    return scores[1] * _TIMES > 100 or scores[1] + 2 * _GAIN > 100


def _nowhere(was: Scores) -> Diagnosis:
    return Diagnosis(
        "no_overlap",
        "hardly any detection overlaps an object of its class, and no known mistake explains it",
        "compare the boxes of a scene with its ground truth: frame (in ScanNet after the axis "
        "alignment), unit, order of the columns, and classes",
        *was,
        was,
    )
