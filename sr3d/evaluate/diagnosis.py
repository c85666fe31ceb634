"""Why detections score low: which mistake in their boxes, if undone, would make them right.

Each known mistake is undone and average precision is computed again. No other knowledge is needed,
so it works for the boxes of any program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sr3d.evaluate.average_precision import average_precision
from sr3d.geometry.box_set import BoxSet

_MOST = 200_000  # detections that are looked at, the best ones
_TURN = 2 * np.pi + 1e-3  # radians, of a whole turn
_GAIN, _TIMES = 10.0, 1.5  # by which the mean of AP25 and AP50 must rise, in points and as a ratio

Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class Diagnosis:
    """A mistake that explains a low score.

    name: a word for it. mistake: what seems wrong with the boxes. remedy: what to do. AP25, AP50:
    what the detections would score without it, in percent, and was: what they score now.
    """

    name: str
    mistake: str
    remedy: str
    AP25: float
    AP50: float
    was: tuple[float, float]

    def __str__(self) -> str:
        return (
            f"{self.mistake}: {self.remedy}, and AP25 is {self.AP25:.2f} instead of "
            f"{self.was[0]:.2f}, AP50 {self.AP50:.2f} instead of {self.was[1]:.2f}"
        )


def diagnose(
    truth: BoxSet, detections: BoxSet, classes: Sequence[str], *, rotated: bool
) -> Diagnosis | None:
    """The mistake that explains most of a low score; None where no known one does."""
    assert detections.score is not None
    best = np.argsort(-detections.score, kind="stable")[:_MOST]
    some = detections[np.sort(best)]

    def score(changed: BoxSet) -> tuple[float, float]:
        result = average_precision(truth, changed, classes, rotated=rotated)
        return result["AP25"], result["AP50"]

    was = score(some)
    # More than a whole turn is a sign by itself, whatever the score.
    turns = bool((np.abs(some.box[:, 6]) > _TURN).any())
    high = sum(was) / 2 * _TIMES > 100 or sum(was) / 2 + _GAIN > 100
    if not len(some) or (high and not turns):
        return None
    found: Diagnosis | None = None
    for name, mistake, remedy, undo in _MISTAKES:
        changed = undo(some, len(classes))
        if changed is None:
            continue
        now = score(changed)
        gained = sum(now) - sum(was) >= 2 * _GAIN and sum(now) >= _TIMES * sum(was)
        sure = turns and name == "degrees" and sum(now) >= sum(was)
        if (gained or sure) and (found is None or sum(now) > found.AP25 + found.AP50):
            found = Diagnosis(name, mistake, remedy, *now, was)
    return found


Undo = Callable[[BoxSet, int], BoxSet | None]


def _boxes(change: Callable[[Boxes], Boxes | None]) -> Undo:
    def undo(found: BoxSet, _: int) -> BoxSet | None:
        box = change(found.box.copy())
        return None if box is None else replace(found, box=box)

    return undo


def _labels(step: int) -> Undo:
    def undo(found: BoxSet, count: int) -> BoxSet | None:
        label = found.label + step
        inside = (label >= 0) & (label < count)
        return replace(found, label=label)[inside] if inside.any() else None

    return undo


def _raised(share: float) -> Callable[[Boxes], Boxes]:
    return lambda box: box + share * box[:, 5:6] * np.eye(7, dtype=np.float32)[2]


def _resized(times: float) -> Callable[[Boxes], Boxes]:
    return lambda box: np.concatenate([box[:, :3], times * box[:, 3:6], box[:, 6:]], axis=1)


def _scaled(times: float) -> Callable[[Boxes], Boxes]:
    return lambda box: np.concatenate([times * box[:, :6], box[:, 6:]], axis=1)


def _yaw(change: Callable[[Boxes], Boxes]) -> Callable[[Boxes], Boxes | None]:
    def undo(box: Boxes) -> Boxes | None:
        if not box[:, 6].any():
            return None
        return np.concatenate([box[:, :6], change(box[:, 6:])], axis=1)

    return undo


def _from_corners(box: Boxes) -> Boxes | None:
    low, high = box[:, :3], box[:, 3:6]
    if not (high > low).all():
        return None
    return np.concatenate([(low + high) / 2, high - low, box[:, 6:]], axis=1)


# A word, what seems wrong, what to do, and what undoes it.
_MISTAKES: tuple[tuple[str, str, str, Undo], ...] = (
    (
        "bottom_centre",
        "the centres of the detections seem to be those of their bottom faces, as in the tensors "
        "of mmdetection3d",
        "add half of the height to each z (gravity_center in mmdetection3d)",
        _boxes(_raised(0.5)),
    ),
    (
        "top_centre",
        "the centres of the detections seem to be those of their top faces",
        "take half of the height from each z",
        _boxes(_raised(-0.5)),
    ),
    (
        "half_sizes",
        "the sizes of the detections seem to be halves",
        "double them",
        _boxes(_resized(2.0)),
    ),
    (
        "double_sizes",
        "the sizes of the detections seem to be doubled",
        "halve them",
        _boxes(_resized(0.5)),
    ),
    (
        "degrees",
        "the yaws of the detections seem to be degrees",
        "write radians",
        _boxes(_yaw(np.radians)),
    ),
    (
        "clockwise",
        "the yaws of the detections seem to turn clockwise",
        "change their sign",
        _boxes(_yaw(np.negative)),
    ),
    (
        "quarter_turn",
        "the first two sizes of the detections seem to be exchanged",
        "write the size along the heading first",
        _boxes(lambda box: box[:, [0, 1, 2, 4, 3, 5, 6]]),
    ),
    (
        "corners",
        "the detections seem to be two corners instead of a centre and a size",
        "write centre and full size",
        _boxes(_from_corners),
    ),
    (
        "centimetres",
        "the detections seem to be in centimetres",
        "write metres",
        _boxes(_scaled(0.01)),
    ),
    (
        "millimetres",
        "the detections seem to be in millimetres",
        "write metres",
        _boxes(_scaled(0.001)),
    ),
    (
        "y_up",
        "the detections seem to have y up",
        "turn them so that z is up",
        _boxes(lambda box: np.stack(
            [box[:, 0], -box[:, 2], box[:, 1], box[:, 3], box[:, 5], box[:, 4], box[:, 6]], axis=1
        )),
    ),
    (
        "labels_from_1",
        "the labels of the detections seem to count from 1",
        "take 1 from each label",
        _labels(-1),
    ),
    (
        "labels_too_low",
        "the labels of the detections seem to be one too low",
        "add 1 to each label",
        _labels(1),
    ),
)  # fmt: skip
