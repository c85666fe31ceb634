"""Maps the object numbers of mmdet3d's instance masks to the boxes of an info file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes
from sr3d.geometry.iou import pairwise_iou

Array = npt.NDArray[Any]

FOLDER = "instance_mask"
_SAME = 0.5  # minimum IoU of an object's extent and its box. Below 1 only if points were removed
_FIT = 0.5  # minimum share of the boxes with an object

_log = logging.getLogger(__name__)


def read_instances(path: Path, points: Array, boxes: Array) -> Array | None:
    """(N,) int64, the box of each point's object, -1 for none. None if there are no masks.

    Info files do not say which object a box belongs to, but a box is the extent of its object's
    points. So an object and a box match if each overlaps the other most. points: (N, 3) and
    boxes: (K, 7), axis-aligned, in one frame. Masks that match less than half of the boxes belong
    to other data. They are ignored with a warning.

    Raises:
        InputError: the mask is not one number per point.
    """
    if not path.is_file():
        return None
    mask = np.fromfile(path, dtype="<i8")
    if path.stat().st_size != 8 * len(points):
        raise InputError(
            f"has {path.stat().st_size} bytes, but int64 masks of {len(points)} points have "
            f"{8 * len(points)}",
            file=path,
            kind=Kind.CONFLICT,
            remedy="Make points and masks with mmdet3d again.",
        )
    _, own, count = np.unique(mask, return_inverse=True, return_counts=True)
    rows = points[np.argsort(own, kind="stable")]
    starts = np.cumsum(count) - count
    low, high = np.minimum.reduceat(rows, starts), np.maximum.reduceat(rows, starts)
    box_of = _boxes_of(np.concatenate([(low + high) / 2, high - low], axis=1), boxes)
    if len(boxes) > 0 and (box_of >= 0).sum() < _FIT * len(boxes):
        _log.warning(
            "%s: does not match the boxes of the info file, so instances are left out", path
        )
        return None
    found: Array = box_of[own]
    return found


def _boxes_of(extents: Array, boxes: Array) -> Array:
    """(I, 6) extents of objects and (K, 7) boxes to the (I,) box of each object, or -1."""
    if not len(boxes):
        return np.full(len(extents), -1)
    around = Boxes.from_array(extents).tensor
    iou = pairwise_iou(around, torch.from_numpy(boxes), rotated=False).numpy()
    best = iou.argmax(axis=1)
    places = np.arange(len(extents))
    mutual = (iou.argmax(axis=0)[best] == places) & (iou[places, best] >= _SAME)
    return np.where(mutual, best, -1)
