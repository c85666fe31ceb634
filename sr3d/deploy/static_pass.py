"""From points to boxes in static shapes: the pass that a CUDA graph records, and its capacity.

Every tensor here has a size that is known beforehand, so the pass has no host–device
synchronisation. If a scene exceeds the capacity, `StaticDetections.overflow` is set, and the caller
takes the free path.
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
from sr3d.geometry.static_nms import static_nms
from sr3d.sparse import Sites
from sr3d.sparse.functional import engine
from sr3d.sparse.static import Grid, StaticSites

_MARGIN = 1.25
_SPARE = 1024  # rows: where a grid is laid matters most at coarse levels, which have few
_STEP = 256  # sizes are rounded up to multiples of it
_NMS_ROUNDS = 24  # chains of overlapping boxes are shorter; a longer one counts as overflow


@dataclass(frozen=True)
class Capacity:
    """The largest scene that fits.

    points: before voxelising. rows: of the voxels, and of each set of cells that the network asks
    for (`sites.recorded`). boxes: above the threshold; NMS compares all of them with one another.
    """

    points: int
    rows: tuple[int, ...]
    boxes: int
    grid: Grid

    @staticmethod
    def for_scenes_like(sets: Sequence[Sites], points: int, boxes: int) -> Capacity:
        """For scenes a quarter larger than one, with up to twice as many boxes.

        sets: its voxels, and the sets of cells that the network asked for, request by request.
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
        """For scenes that fit either."""
        extents = zip(self.grid.extent, other.grid.extent, strict=True)
        return Capacity(
            max(self.points, other.points),
            tuple(map(max, zip(self.rows, other.rows, strict=True))),
            max(self.boxes, other.boxes),
            Grid(cast(tuple[int, int, int], tuple(map(max, extents))), self.grid.coarsest),
        )


@dataclass(frozen=True)
class StaticDetections:
    """boxes: (n, 7) of the best anchors, at most `Capacity.boxes`. scores, keep: (n, C), what is
    detected as which class.

    overflow: () bool. The scene did not fit, or a score or box is NaN or infinite, so the rest is
    invalid; the free path says which.
    """

    boxes: Tensor
    scores: Tensor
    keep: Tensor
    overflow: Tensor

    def detections(self) -> Detections:
        """As `select_detections` has them. Waits for the device."""
        return kept(self.boxes, self.scores, self.keep)


class StaticPass:
    """Scenes of one capacity, one at a time."""

    def __init__(self, network: FusedNetwork, capacity: Capacity) -> None:
        self.network, self.capacity = network, capacity
        detector = network.detector
        self.config, self.test = detector.config, detector.test_config
        self.rotated = detector.dataset.rotated

    @torch.no_grad()
    def __call__(self, points: Tensor, colors: Tensor, count: Tensor) -> StaticDetections:
        """points, colors: (capacity.points, 3), of which the first `count`, () int64, are real."""
        config, grid = self.config, self.capacity.grid
        valid = torch.arange(len(points), device=points.device) < count
        cells = torch.floor(points / config.voxel_size).to(torch.int32)
        corner = grid.corner(cells, valid)
        rows = iter(self.capacity.rows)
        voxels, first = StaticSites.padded(cells - corner, valid, grid, rows)
        features = torch.cat([colors, colors.new_zeros(1, 3)])[first]
        with engine(config.engine):
            found = self.network(features, voxels)
        assert next(rows, None) is None, "the capacity is that of another network"
        return self._candidates(found, corner)

    def _candidates(self, found: Outputs, corner: Tensor) -> StaticDetections:
        test, levels = self.test, cast(Sequence[StaticSites], found.levels)
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
        bev = test.nms == "bev"
        keep, settled = static_nms(
            boxes, scores, valid, test.iou_thr, self.rotated, bev, rounds=_NMS_ROUNDS
        )
        overflow = torch.stack([level.overflow for level in levels]).any()
        finite = found.scores.isfinite().all(dim=1) & found.reg.isfinite().all(dim=1)
        broken = (real & ~finite).any() | (real[top] & ~boxes.isfinite().all(dim=1)).any()
        return StaticDetections(boxes, scores, keep, overflow | left_out | ~settled | broken)


def _roomy(rows: int) -> int:
    return _rounded(int(_MARGIN * rows + _SPARE))


def _rounded(size: int) -> int:
    return -(-size // _STEP) * _STEP
