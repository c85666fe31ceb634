"""The generalised IoU of 3DETR's matching and loss.

Source: facebookresearch/3detr (utils/box_util.py, criterion.py), without its optional Cython
module, in which the fifth and later boxes of a scene overlap nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.geometry.boxes import enclosing_boxes, rotate_z
from sr3d.geometry.iou import footprint_overlap, generalized_iou


@dataclass(frozen=True)
class BoxOverlap:
    """Generalised IoU of boxes (…, 7).

    rotated: whether boxes may have a yaw. legacy: the original's footprints of rotated boxes. Its
    test for an overlap takes two opposite rotated corners for the maximum and the minimum corner,
    so most true overlaps count as none. clip: whether to intersect the polygons that pass this
    test. If not, the intersection is that of the axis-aligned rectangles between these corners.
    """

    rotated: bool
    legacy: bool

    def of_pairs(self, a: Tensor, b: Tensor, clip: bool) -> Tensor:
        """`(K, 7)` × 2 to `(K,)`, differentiable."""
        return generalized_iou(a, b, self._area(a, b, clip), self.rotated)

    def of_all(self, a: Tensor, b: Tensor, clip: bool) -> Tensor:
        """`(N, 7)` × `(M, 7)` to `(N, M)`."""
        a, b = a[:, None], b[None]
        return generalized_iou(a, b, self._area(a, b, clip), self.rotated)

    def _area(self, a: Tensor, b: Tensor, clip: bool) -> Tensor:
        """Area of the intersection of the footprints, (…)."""
        if not self.rotated:
            return footprint_overlap(a, b, rotated=False)
        if self.legacy:
            close = _between_corners(a, b)
        else:
            close = footprint_overlap(enclosing_boxes(a), enclosing_boxes(b), rotated=False)
        if self.legacy and not clip:
            return close
        at = close.nonzero(as_tuple=True)
        a, b = (boxes.expand(*close.shape, 7)[at] for boxes in (a, b))
        return torch.zeros_like(close).index_put(at, footprint_overlap(a, b, rotated=True))


def _between_corners(a: Tensor, b: Tensor) -> Tensor:
    """(…): the overlap of rectangles that span from a back right to a front left corner."""
    (low_a, high_a), (low_b, high_b) = _corner_pair(a), _corner_pair(b)
    overlap = torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)
    return overlap.clamp(min=0).prod(dim=-1)


def _corner_pair(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """x and y of the rotated corners (-dx, -dy) / 2 and (dx, dy) / 2 of boxes (…, 7)."""
    reach = rotate_z(boxes[..., 3:6] / 2, boxes[..., 6])[..., :2]
    return boxes[..., :2] - reach, boxes[..., :2] + reach
