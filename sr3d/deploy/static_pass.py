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
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.outputs import Detections
from sr3d.errors import InputError, Kind
from sr3d.geometry.iou import OverlapRule
from sr3d.geometry.static_nms import static_nms
from sr3d.sparse import Sites
from sr3d.sparse.functional import engine
from sr3d.sparse.sites import recorded
from sr3d.sparse.static import Grid, StaticSites

_MARGIN = 1.25
_SPARE = 1024  # rows. Coarse levels have few rows, whose number depends on the grid's position
_STEP = 256  # sizes are rounded up to multiples of it
# Points that are tried, in a cube of so many cells, and how far their outputs may differ.
_PROBE, _PROBE_CELLS = 200, 24
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}
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
    """Detects in one scene at a time, up to a capacity. See `require_harmless_padding`."""

    def __init__(self, network: FusedNetwork, capacity: Capacity) -> None:
        self.network, self.capacity = network, capacity
        detector = network.detector
        self.config, self.inference = detector.config, detector.inference
        self.rotated = detector.dataset.rotated

    @torch.no_grad()
    def __call__(self, points: Tensor, colors: Tensor, count: Tensor) -> StaticDetections:
        """points, colors: (capacity.points, 3). Only the first `count`, () int64, are valid."""
        return self._candidates(*_outputs(self.network, self.capacity, points, colors, count))

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


def _outputs(
    network: FusedNetwork, capacity: Capacity, points: Tensor, colors: Tensor, count: Tensor
) -> tuple[Outputs, Tensor]:
    """The network's outputs on a padded scene, and the corner (3,) of its grid."""
    config, grid = network.detector.config, capacity.grid
    valid = torch.arange(len(points), device=points.device) < count
    cells = torch.floor(points / config.voxel_size).to(torch.int32)
    corner = grid.corner(cells, valid)
    rows = iter(capacity.rows)
    voxels, first = StaticSites.padded(cells - corner, valid, grid, rows)
    features = torch.cat([colors, colors.new_zeros(1, 3)])[first]
    with engine(config.engine):
        found = network(features, voxels)
    assert next(rows, None) is None, "the capacity belongs to another network"
    return found, corner


@torch.no_grad()
def require_harmless_padding(network: FusedNetwork) -> None:
    """Compare the outputs for a few points without and with padding. Call it before the first pass.

    Raises:
        InputError: a layer mixes the rows of features, so padding changes the result.
    """
    config, draw = network.detector.config, torch.Generator().manual_seed(0)
    points = torch.rand(_PROBE, 3, generator=draw) * _PROBE_CELLS * config.voxel_size
    points, colors = (x.to(network.device) for x in (points, torch.rand(_PROBE, 3, generator=draw)))
    x = voxelize([points], [colors], config.voxel_size)
    with engine(config.engine), recorded() as requests:
        free = network(x.features, x.sites)
    capacity = Capacity.for_scenes_like([x.sites, *requests], _PROBE, boxes=1)
    padding = points.new_zeros(capacity.points - _PROBE, 3)
    padded = torch.cat([points, padding]), torch.cat([colors, padding])
    found, _ = _outputs(network, capacity, *padded, torch.tensor(_PROBE, device=points.device))
    real = torch.cat([level.valid for level in cast(Sequence[StaticSites], found.levels)])
    pairs = ((free.scores, found.scores[real]), (free.reg, found.reg[real]))
    if not all(_alike(a, b, _TOLERANCE[network.dtype]) for a, b in pairs):
        raise InputError(
            f"{type(network.detector).__name__} has no static shapes: a layer mixes the rows of "
            "its features, such as a mean over all cells, and padding changes the result",
            kind=Kind.CONFLICT,
            remedy="Compute each row by itself in SparseTensor.computed.",
        )


def _alike(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Whether they differ by rounding alone. tolerance: of the largest value."""
    if a.shape != b.shape:
        return False
    largest = a.abs().amax() if a.numel() else a.new_zeros(())
    # NaN is a fault of the weights, which every detection reports.
    return not bool(((a - b).abs() > tolerance * largest).any())


def _roomy(rows: int) -> int:
    return _rounded(int(_MARGIN * rows + _SPARE))


def _rounded(size: int) -> int:
    return -(-size // _STEP) * _STEP
