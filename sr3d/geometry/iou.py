"""Overlap of boxes: IoU in 3D and in bird's-eye view, DIoU, enclosing boxes.

Boxes are `(…, 7)` tensors: centre, full size (metres, positive), yaw. `rotated=False` ignores the
yaw. Rotated footprints are intersected in float64. Results have the boxes' dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.geometry.boxes import enclosing_boxes
from sr3d.geometry.rotated import footprint_intersection

_LEAST_EDGE = 1e-3  # metres, in generalised IoU


def paired_iou(a: Tensor, b: Tensor, rotated: bool, bev: bool = False) -> Tensor:
    """IoU of box i of `a` (K, 7) with box i of `b` (K, 7), `(K,)`. bev: see `pairwise_iou`."""
    return _iou(a, b, rotated, bev)


def pairwise_iou(a: Tensor, b: Tensor, rotated: bool, bev: bool = False) -> Tensor:
    """IoU of every box of `a` (N, 7) with every box of `b` (M, 7), `(N, M)`.

    bev: compare footprints only and ignore z, as mmcv's nms3d and nms3d_normal do.
    """
    if not rotated:
        return static_pairwise_iou(a, b, rotated, bev)
    # Most pairs are apart, which their enclosing boxes show at low cost.
    with torch.no_grad():
        around_a, around_b = enclosing_boxes(a.double()), enclosing_boxes(b.double())
        near = _every_pair(lambda p, q: _upright_overlap(p, q, bev) > 0, around_a, around_b, False)
        i, j = near.nonzero(as_tuple=True)
    size = pairs_at_a_time(a.device, rotated)
    parts = zip(i.split(size), j.split(size), strict=True)
    values = [_iou(a[rows], b[columns], rotated=True, bev=bev) for rows, columns in parts]
    return a.new_zeros(len(a), len(b)).index_put((i, j), torch.cat(values))


def static_pairwise_iou(a: Tensor, b: Tensor, rotated: bool, bev: bool = False) -> Tensor:
    """`pairwise_iou`, `(…, N, 7)` × `(…, M, 7)` to `(…, N, M)`, with the same operations for all
    boxes. So it needs no sync, and a CUDA graph may record it.

    It also computes rotated pairs that are apart, which is slower on a CPU. Their IoU is 0 up to
    rounding.
    """
    return _every_pair(lambda p, q: _iou(p, q, rotated, bev), a, b, rotated)


@dataclass(frozen=True)
class OverlapRule:
    """Two boxes overlap if their IoU is above `iou_thr`. rotated, bev: see `pairwise_iou`."""

    iou_thr: float
    rotated: bool
    bev: bool = True

    def every_pair(self, a: Tensor, b: Tensor) -> Tensor:
        """(…, N, M) bool of (…, N, 7) and (…, M, 7), in static shapes."""
        return static_pairwise_iou(a, b, self.rotated, self.bev) > self.iou_thr

    def holds(self, boxes: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """(L,) int64: the pairs of rows i, j (K,) that overlap."""
        columns = boxes.t().contiguous()
        size = pairs_at_a_time(boxes.device, self.rotated)
        parts = []
        for p, q in zip(i.split(size), j.split(size), strict=True):
            a, b = columns.index_select(1, p).t(), columns.index_select(1, q).t()
            parts.append(paired_iou(a, b, self.rotated, self.bev) > self.iou_thr)
        return torch.cat(parts).nonzero().squeeze(1)


def pairs_at_a_time(device: torch.device, rotated: bool) -> int:
    """The number of pairs of boxes to compare at once.

    On a CPU the intermediate results must fit into its cache, which is three times faster than no
    limit. On a GPU they keep it busy within about 100 MB.
    """
    if device.type == "cpu":
        return (1 << 13 if rotated else 1 << 15) * torch.get_num_threads()
    return 1 << 18 if rotated else 1 << 22


def _every_pair(
    compare: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor, rotated: bool
) -> Tensor:
    """`compare` on `(…, n, 1, 7)` and `(…, 1, m, 7)` parts, joined to `(…, N, M)`."""
    # Elementwise operations are fastest if each coordinate of all boxes is contiguous in memory.
    a, b = (boxes.transpose(-1, -2).contiguous().transpose(-1, -2) for boxes in (a, b))
    size = pairs_at_a_time(a.device, rotated)
    scenes = math.prod(a.shape[:-2])
    columns = b.split(max(1, size // max(1, scenes)), dim=-2)
    rows = a.split(max(1, size // max(1, scenes * b.shape[-2])), dim=-2)
    return torch.cat(
        [
            torch.cat([compare(p.unsqueeze(-2), q.unsqueeze(-3)) for q in columns], dim=-1)
            for p in rows
        ],
        dim=-2,
    )


def paired_diou_loss(pred: Tensor, target: Tensor, rotated: bool, legacy: bool = False) -> Tensor:
    """1 − IoU + (distance of centres)² / (diagonal of the enclosing box)², `(K, 7)` × 2 → `(K,)`.

    The enclosing box is the axis-aligned box around the corners of both boxes (as in TR3D).

    legacy: TR3D's loss on rotated boxes, whose distance takes x, y and the difference of the
    x-sizes instead of z (SamsungLabs/tr3d issue 39). No effect if `rotated` is False, because that
    loss never had this bug.
    """
    apart = pred[..., :4] - target[..., :4]
    # Slices, because copying a list of columns to a GPU is a sync.
    distance = apart[..., :2].square().sum(-1)
    distance = distance + (apart[..., 3] if legacy and rotated else apart[..., 2]).square()
    diagonal = _enclosing_extent(pred, target, rotated).square().sum(-1)
    return 1 - paired_iou(pred, target, rotated) + distance / _positive(diagonal)


def generalized_iou(a: Tensor, b: Tensor, area: Tensor, rotated: bool) -> Tensor:
    """IoU − 1 + union / (volume of the enclosing box), `(…, 7)` broadcast to `(…)`, in [-1, 1].

    The enclosing box is the axis-aligned box around the corners of both boxes. area: of the
    intersection of the footprints, see `footprint_overlap`. Edges count as at least 1 mm. Source:
    facebookresearch/3detr (utils/box_util.py).
    """
    shared = area * _overlap(a, b, 2)
    volume_a, volume_b = (box[..., 3:6].clamp(min=_LEAST_EDGE).prod(dim=-1) for box in (a, b))
    union = volume_a + volume_b - shared
    around = _enclosing_extent(a, b, rotated).clamp(min=_LEAST_EDGE).prod(dim=-1)
    return shared / union - 1 + union / around


def footprint_overlap(a: Tensor, b: Tensor, rotated: bool) -> Tensor:
    """Area (m²) of the intersection of the footprints, `(…, 7)` broadcast to `(…)`."""
    if not rotated:
        return _upright_overlap(a, b, bev=True)
    return footprint_intersection(a, b).to(a.dtype)


def enclosing_diagonal(a: Tensor, b: Tensor, rotated: bool) -> Tensor:
    """Diagonal in metres of the axis-aligned box around both. `(…, 7)` broadcast to `(…)`."""
    return _positive(_enclosing_extent(a, b, rotated).square().sum(-1)).sqrt()


def _iou(a: Tensor, b: Tensor, rotated: bool, bev: bool) -> Tensor:
    """`(…, 7)` broadcast against `(…, 7)` to `(…)`."""
    dtype = a.dtype
    if rotated:
        a, b = a.double(), b.double()
        shared = footprint_intersection(a, b)
        shared = shared if bev else shared * _overlap(a, b, 2)
    else:
        shared = _upright_overlap(a, b, bev)
    union = _content(a, bev) + _content(b, bev) - shared
    return (shared / _positive(union)).to(dtype)


def _content(boxes: Tensor, bev: bool) -> Tensor:
    """Volume (area if `bev`)."""
    area = boxes[..., 3] * boxes[..., 4]
    return area if bev else area * boxes[..., 5]


def _upright_overlap(a: Tensor, b: Tensor, bev: bool) -> Tensor:
    """Shared volume (area if `bev`) of axis-aligned boxes."""
    area = _overlap(a, b, 0) * _overlap(a, b, 1)
    return area if bev else area * _overlap(a, b, 2)


def _overlap(a: Tensor, b: Tensor, axis: int) -> Tensor:
    """Length of the overlap along an axis, computed without rounding far from the origin."""
    size_a, size_b = a[..., 3 + axis], b[..., 3 + axis]
    distance = (a[..., axis] - b[..., axis]).abs()
    reach = (size_a + size_b) / 2 - distance
    return torch.minimum(reach, torch.minimum(size_a, size_b)).clamp(min=0)


def _enclosing_extent(a: Tensor, b: Tensor, rotated: bool) -> Tensor:
    """(…, 3) size of the axis-aligned box around both."""
    if rotated:
        a, b = enclosing_boxes(a), enclosing_boxes(b)
    size_a, size_b = a[..., 3:6], b[..., 3:6]
    # If one box includes the other along an axis, the extent is that of the larger box.
    span = (size_a + size_b) / 2 + (a[..., :3] - b[..., :3]).abs()
    return torch.maximum(span, torch.maximum(size_a, size_b))


def _positive(value: Tensor) -> Tensor:
    return value.clamp(min=torch.finfo(value.dtype).tiny)
