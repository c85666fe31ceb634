"""Mistakes of programs in their detections, and the correction of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sr3d.geometry.box_set import BoxSet

Boxes = NDArray[np.float32]

_SAME = 0.01  # metres and radians. Boxes that differ by less are the same
_NEAR = 0.5  # metres, maximum between the centres of a detection and its object
_BIN = 0.25  # metres, bin size for counting shifts
_SHIFT = 0.5  # metres, the minimum shift of a scene
_VOTES = 0.5  # share of the objects of a scene that must have its shift


@dataclass(frozen=True)
class Mistake:
    """name: a keyword. mistake: the probable mistake. remedy: what to do.

    undo: maps detections, ground truth and the number of classes to corrected detections. Returns
    None if the detections cannot have the mistake.
    """

    name: str
    mistake: str
    remedy: str
    undo: Callable[[BoxSet, BoxSet, int], BoxSet | None]


def _of_boxes(
    name: str, mistake: str, remedy: str, change: Callable[[Boxes], Boxes | None]
) -> Mistake:
    def undo(found: BoxSet, truth: BoxSet, count: int) -> BoxSet | None:
        box = change(found.box.copy())
        return None if box is None else replace(found, box=box.astype(np.float32))

    return Mistake(name, f"the {mistake}", remedy, undo)


def _raised(share: float) -> Callable[[Boxes], Boxes]:
    return lambda box: box + share * box[:, 5:6] * np.eye(7, dtype=np.float32)[2]


def _resized(times: float) -> Callable[[Boxes], Boxes]:
    return lambda box: np.concatenate([box[:, :3], times * box[:, 3:6], box[:, 6:]], axis=1)


def _scaled(times: float) -> Callable[[Boxes], Boxes]:
    return lambda box: np.concatenate([times * box[:, :6], box[:, 6:]], axis=1)


def _ordered(*columns: int) -> Callable[[Boxes], Boxes]:
    return lambda box: box[:, list(columns)]


def _mirrored(axis: int) -> Callable[[Boxes], Boxes]:
    def undo(box: Boxes) -> Boxes:
        box[:, [axis, 6]] *= -1
        return box

    return undo


def _xy_exchanged(box: Boxes) -> Boxes:
    box = box[:, [1, 0, 2, 4, 3, 5, 6]]
    box[:, 6] *= -1
    return box


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


def _from_low_corner(box: Boxes) -> Boxes:
    return np.concatenate([box[:, :3] + box[:, 3:6] / 2, box[:, 3:]], axis=1)


def _without_yaw(found: BoxSet, truth: BoxSet, count: int) -> BoxSet | None:
    if truth.box[:, 6].any() or not found.box[:, 6].any():
        return None
    return replace(found, box=found.box * np.array([1] * 6 + [0], dtype=np.float32))


def _labels(step: int) -> Callable[[BoxSet, BoxSet, int], BoxSet | None]:
    def undo(found: BoxSet, truth: BoxSet, count: int) -> BoxSet | None:
        label = found.label + step
        inside = (label >= 0) & (label < count)
        return replace(found, label=label)[inside] if inside.any() else None

    return undo


def _classes_in_order(found: BoxSet, truth: BoxSet, count: int) -> BoxSet | None:
    """Rename each class to the class of most objects at the positions of its boxes."""
    votes = np.zeros((count, count), dtype=np.int64)
    for scene in np.unique(truth.scene):
        ours, theirs = found[found.scene == scene], truth[truth.scene == scene]
        if not len(ours):
            continue
        apart = np.linalg.norm(ours.box[:, None, :3] - theirs.box[None, :, :3], axis=2)
        nearest = apart.argmin(axis=1)
        near = apart.min(axis=1) < _NEAR
        np.add.at(votes, (ours.label[near], theirs.label[nearest[near]]), 1)
    named = np.where(votes.any(axis=1), votes.argmax(axis=1), np.arange(count))
    met = named[votes.any(axis=1)]
    if len(met) < 2 or len(np.unique(met)) < len(met) or (named == np.arange(count)).all():
        return None  # two classes cannot have one name
    return replace(found, label=named[found.label])


def _best_scores_last(found: BoxSet, truth: BoxSet, count: int) -> BoxSet | None:
    assert found.score is not None
    return replace(found, score=-found.score) if np.ptp(found.score) else None


def _once(found: BoxSet, truth: BoxSet, count: int) -> BoxSet | None:
    """The box with the best score among boxes of a class at the same position."""
    assert found.score is not None
    _, scene = np.unique(found.scene, return_inverse=True)
    places = np.round(found.box / _SAME).astype(np.int64)
    rows = np.column_stack([scene, found.label, places])
    order = np.argsort(-found.score, kind="stable")
    _, first = np.unique(rows[order], axis=0, return_index=True)
    return found[np.sort(order[first])] if len(first) < len(found) else None


def _in_place(found: BoxSet, truth: BoxSet, count: int) -> BoxSet | None:
    """The boxes of each scene moved by the vector that most of its objects share."""
    assert found.score is not None
    box, moved = found.box.copy(), 0
    scenes = np.unique(truth.scene)
    for scene in scenes:
        mine = found.scene == scene
        ours, theirs = found[mine], truth[truth.scene == scene]
        same = ours.label[:, None] == theirs.label[None]
        shifts = (theirs.box[None, :, :3] - ours.box[:, None, :3])[same]
        if not len(shifts):
            continue
        bins, votes = np.unique(np.round(shifts / _BIN), axis=0, return_counts=True)
        best = bins[votes.argmax()] * _BIN
        close = np.abs(shifts - best).max(axis=1) <= _BIN
        if close.sum() < max(2, _VOTES * len(theirs)):
            continue
        shift = np.median(shifts[close], axis=0)
        if np.linalg.norm(shift) >= _SHIFT:
            box[mine, :3] += shift
            moved += 1
    return replace(found, box=box) if moved > len(scenes) / 2 else None


MISTAKES: tuple[Mistake, ...] = (
    _of_boxes(
        "bottom_centre",
        "centres of the detections seem to be those of their bottom faces, as in the tensors "
        "of mmdetection3d",
        "add half of the height to each z (gravity_center in mmdetection3d)",
        _raised(0.5),
    ),
    _of_boxes(
        "top_centre",
        "centres of the detections seem to be those of their top faces",
        "take half of the height from each z",
        _raised(-0.5),
    ),
    _of_boxes(
        "half_sizes",
        "sizes of the detections seem to be halves",
        "double them",
        _resized(2.0),
    ),
    _of_boxes(
        "double_sizes",
        "sizes of the detections seem to be doubled",
        "halve them",
        _resized(0.5),
    ),
    Mistake(
        "yaw_of_upright",
        "the detections have yaws, and the ground truth has none",
        "write yaw 0 for a data set of axis-aligned boxes",
        _without_yaw,
    ),
    _of_boxes(
        "degrees",
        "yaws of the detections seem to be degrees",
        "write radians",
        _yaw(np.radians),
    ),
    _of_boxes(
        "clockwise",
        "yaws of the detections seem to turn clockwise",
        "change their sign",
        _yaw(np.negative),
    ),
    _of_boxes(
        "clockwise_from_y",
        "yaws of the detections seem to turn clockwise from y",
        "write π/2 minus each yaw",
        _yaw(lambda yaw: np.pi / 2 - yaw),
    ),
    _of_boxes(
        "quarter_turn",
        "first two sizes of the detections seem to be exchanged",
        "write the size along the heading first",
        _ordered(0, 1, 2, 4, 3, 5, 6),
    ),
    _of_boxes(
        "sizes_from_z",
        "sizes of the detections seem to be in the order z, y, x",
        "write them in the order x, y, z",
        _ordered(0, 1, 2, 5, 4, 3, 6),
    ),
    _of_boxes(
        "sizes_z_x_y",
        "sizes of the detections seem to be in the order z, x, y",
        "write them in the order x, y, z",
        _ordered(0, 1, 2, 4, 5, 3, 6),
    ),
    _of_boxes(
        "sizes_x_z_y",
        "sizes of the detections seem to be in the order x, z, y",
        "write them in the order x, y, z",
        _ordered(0, 1, 2, 3, 5, 4, 6),
    ),
    _of_boxes(
        "corners",
        "detections seem to be two corners instead of a centre and a size",
        "write centre and full size",
        _from_corners,
    ),
    _of_boxes(
        "low_corner",
        "centres of the detections seem to be the corners with the smallest x, y and z",
        "add half of the size to each",
        _from_low_corner,
    ),
    _of_boxes(
        "centimetres",
        "detections seem to be in centimetres",
        "write metres",
        _scaled(0.01),
    ),
    _of_boxes(
        "millimetres",
        "detections seem to be in millimetres",
        "write metres",
        _scaled(0.001),
    ),
    _of_boxes("feet", "detections seem to be in feet", "write metres", _scaled(0.3048)),
    _of_boxes("inches", "detections seem to be in inches", "write metres", _scaled(0.0254)),
    _of_boxes(
        "y_up",
        "detections seem to have y up",
        "turn them so that z is up",
        lambda box: np.stack(
            [box[:, 0], -box[:, 2], box[:, 1], box[:, 3], box[:, 5], box[:, 4], box[:, 6]], axis=1
        ),
    ),
    _of_boxes(
        "x_y_exchanged",
        "detections seem to have x and y exchanged",
        "write x before y, in centres and sizes",
        _xy_exchanged,
    ),
    _of_boxes("mirrored_x", "detections seem to be mirrored", "change the sign of x", _mirrored(0)),
    _of_boxes("mirrored_y", "detections seem to be mirrored", "change the sign of y", _mirrored(1)),
    Mistake(
        "labels_from_1",
        "the labels of the detections seem to count from 1",
        "take 1 from each label",
        _labels(-1),
    ),
    Mistake(
        "labels_too_low",
        "the labels of the detections seem to be one too low",
        "add 1 to each label",
        _labels(1),
    ),
    Mistake(
        "class_order",
        "the classes of the detections seem to be in another order",
        "write the names of the classes as labels, or their index in the order of the data set",
        _classes_in_order,
    ),
    Mistake(
        "costs",
        "the best detections seem to have the lowest scores",
        "write a score that is higher for better detections",
        _best_scores_last,
    ),
    Mistake(
        "repeated",
        "the detections seem to hold the same boxes several times",
        "write each box once",
        _once,
    ),
    Mistake(
        "shifted",
        "the detections of most scenes seem to be shifted as a whole",
        "write them in the coordinates of the ground truth (in ScanNet, those after the axis "
        "alignment)",
        _in_place,
    ),
)
