"""From points to boxes in static shapes: the pass of the CUDA graph, and its capacity.

All tensors have sizes that are known in advance, so the pass has no host–device sync. If a scene
exceeds the capacity, `StaticDetections.overflow` is set, and the caller runs it without static
shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from sr3d.deploy.fused_network import FusedNetwork, Outputs
from sr3d.detectors.common.selection import kept
from sr3d.detectors.outputs import Detections
from sr3d.geometry.iou import OverlapRule
from sr3d.geometry.static_nms import static_nms
from sr3d.sparse import Sites
from sr3d.sparse.functional import engine
from sr3d.sparse.static import Grid, StaticSites

_MARGIN = 1.25
_SPARE = 1024  # rows. Coarse levels have few rows, whose number depends on the grid's position
_STEP = 256  # sizes are rounded up to multiples of it
_NMS_ROUNDS = 24  # maximum length of a chain of overlapping boxes. A longer one is an overflow


@dataclass(frozen=True)
class Capacity:
    """The size of the largest scene that fits.

    points: before voxelising. rows: of the voxels, and of each set of cells that the network
    requests (`sites.recorded`). boxes: above the threshold. NMS compares all pairs of them.
    """

    points: int
    rows: tuple[int, ...]
    boxes: int
    grid: Grid

    @staticmethod
    def for_scenes_like(sets: Sequence[Sites], points: int, boxes: int) -> Capacity:
        """The capacity for scenes a quarter larger than one, with up to twice as many boxes.

        sets: its voxels, and the sets of cells in the order of the network's requests.
        """
        low, high = sets[0].bounds
        x, y, z = (int(_MARGIN * (b - a + 1)) for a, b in zip(low, high, strict=True))
        return Capacity(
            _roomy(points),
            tuple(_roomy(len(sites)) for sites in sets),
            _rounded(2 * boxes + 1),
            Grid.holding((x, y, z), max(sites.stride for sites in sets)),
        )

    def joined(self, other: Capacity) -> Capacity:
        """The capacity for scenes that fit either."""
        extents = zip(self.grid.extent, other.grid.extent, strict=True)
        return Capacity(
            max(self.points, other.points),
            tuple(map(max, zip(self.rows, other.rows, strict=True))),
            max(self.boxes, other.boxes),
            Grid(cast(tuple[int, int, int], tuple(map(max, extents))), self.grid.coarsest),
        )


@dataclass(frozen=True)
class StaticDetections:
    """boxes: (n, 7) of the best anchors, at most `Capacity.boxes`. scores: (n, C). keep: (n, C),
    which box is detected as which class.

    overflow: () bool. If True, the scene exceeded the capacity, or a score or box is NaN or
    infinite, and the rest is invalid. A pass without static shapes shows the cause.
    """

    boxes: Tensor
    scores: Tensor
    keep: Tensor
    overflow: Tensor

    def detections(self) -> Detections:
        """The same as `select_detections` returns. Needs a sync."""
        return kept(self.boxes, self.scores, self.keep)


class StaticPass:
    """Detects in one scene at a time, up to a capacity."""

    def __init__(self, network: FusedNetwork, capacity: Capacity) -> None:
        self.network, self.capacity = network, capacity
        detector = network.detector
        self.config, self.inference = detector.config, detector.inference
        self.rotated = detector.dataset.rotated

    @torch.no_grad()
    def __call__(self, points: Tensor, colors: Tensor, count: Tensor) -> StaticDetections:
        """points, colors: (capacity.points, 3). Only the first `count`, () int64, are valid."""
        config, grid = self.config, self.capacity.grid
        valid = torch.arange(len(points), device=points.device) < count
        cells = torch.floor(points / config.voxel_size).to(torch.int32)
        corner = grid.corner(cells, valid)
        rows = iter(self.capacity.rows)
        voxels, first = StaticSites.padded(cells - corner, valid, grid, rows)
        features = torch.cat([colors, colors.new_zeros(1, 3)])[first]
        with engine(config.engine):
            found = self.network(features, voxels)
        assert next(rows, None) is None, "the capacity belongs to another network"
        return self._candidates(found, corner)

    def _candidates(self, found: Outputs, corner: Tensor) -> StaticDetections:
        test, levels = self.inference, cast(Sequence[StaticSites], found.levels)
        real = torch.cat([level.valid for level in levels])
        best = found.scores.amax(dim=1).masked_fill(~real, -1)
        top = self.network.best(found, best, test.nms_pre)
        few = best[top].topk(min(self.capacity.boxes, len(top))).indices
        left_out = (best[top] > test.score_thr).sum() > len(few)
        top = top[torch.sort(few, stable=True).values]
        coords = torch.cat([level.places for level in levels])[top] + corner
        boxes = self.network.detector.decode(coords * self.config.voxel_size, found.reg[top])
        scores = found.scores[top]
        valid = (scores > test.score_thr) & real[top, None]
        rule = OverlapRule(test.iou_thr, self.rotated, test.nms == "bev")
        keep, settled = static_nms(boxes, scores, valid, rule, rounds=_NMS_ROUNDS)
        overflow = torch.stack([level.overflow for level in levels]).any()
        finite = found.scores.isfinite().all(dim=1) & found.reg.isfinite().all(dim=1)
        broken = (real & ~finite).any() | (real[top] & ~boxes.isfinite().all(dim=1)).any()
        return StaticDetections(boxes, scores, keep, overflow | left_out | ~settled | broken)


def _roomy(rows: int) -> int:
    return _rounded(int(_MARGIN * rows + _SPARE))


def _rounded(size: int) -> int:
    return -(-size // _STEP) * _STEP
