"""GSDN's assignment: which anchors are objects, and which cells hold one.

It precedes the network, because training keeps the cells that hold a positive anchor. Source:
jgwak/GSDN (lib/transforms.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sr3d.data.ground_truth import IGNORED, NEGATIVE, GroundTruth
from sr3d.detectors.gsdn.anchors import anchor_corners, anchor_sizes, strides
from sr3d.detectors.gsdn.config import GSDNAssignment
from sr3d.sparse import Sites
from sr3d.sparse.lookup import CellNumbering, RowLookup, joined

HOLDS = 0  # target of a cell that holds a positive anchor. Other cells are NEGATIVE or IGNORED
_LEAST = 1e-5  # IoU of the best anchor of a ground truth
_EPSILON = 1e-7  # voxels³, in the union

Rows = tuple[Tensor, Tensor]  # cells (N, 4) of a batch, and values (N, …)


@dataclass(frozen=True)
class AnchorTargets:
    """Matches of anchors on a scene's grid, per level. cells: (N, 3) int64. matches: (N, A)."""

    cells: Tensor
    matches: Tensor


@dataclass(frozen=True)
class CellTable:
    """Values (N, …) int64 of some cells. Any other cell is negative."""

    sites: Sites
    values: Tensor

    @staticmethod
    def of(cells: Tensor, values: Tensor, stride: int, batch_size: int) -> CellTable:
        """cells: (N, 4), distinct. values: (N, …)."""
        sites, order = Sites.unique(cells, stride, batch_size)
        return CellTable(sites, values[order])

    def at(self, sites: Sites) -> Tensor:
        """The values of other sites of the same stride, (M, …)."""
        own = self.sites
        outside = torch.full_like(self.values[:1], NEGATIVE)
        if not len(own) or not len(sites):
            return self.values.new_full((len(sites), *self.values.shape[1:]), NEGATIVE)
        bounds = joined(own.bounds, sites.bounds)
        frame = CellNumbering(bounds, own.batch_size, own.stride, reach=0)
        rows = RowLookup(frame, frame.number(own.coords)).rows(frame.number(sites.coords))
        return torch.cat([self.values, outside])[rows.long()]  # -1: the last row


@dataclass(frozen=True)
class Targets:
    """Of a batch, per level, finest first. anchors: matches (N, A), counted over the batch's ground
    truth. cells: HOLDS, NEGATIVE or IGNORED, (N,).
    """

    anchors: list[CellTable]
    cells: list[CellTable]


def assign(
    sites: Sites, truth: GroundTruth, levels: int, anchors: int, config: GSDNAssignment
) -> Targets:
    """sites: the voxels of the batch. truth: boxes of voxels, see `boxes_of_objects`. anchors: of a
    cell, 7 or 13.
    """
    rows: list[list[Rows]] = [[] for _ in range(levels)]
    for scene, cells in enumerate(_by_scene(sites)):
        own = (truth.scenes == scene).nonzero().squeeze(1)
        found = match_anchors(cells, truth.boxes[own], levels, anchors, config)
        for level, targets in zip(rows, found, strict=True):
            level.append(_without_negatives(targets, scene, own))
    table = partial(CellTable.of, batch_size=sites.batch_size)
    tables: list[CellTable] = []
    held: list[CellTable] = []
    seen: list[Rows] = []  # cells of the levels up to here, and their targets
    for stride, parts in zip(strides(levels), rows, strict=True):
        at, matches = _joined(parts)
        tables.append(table(at, matches, stride))
        holds = (matches >= 0).any(dim=1)
        seen.append((at, torch.where(holds, HOLDS, IGNORED)))  # no row has negatives only
        held.append(table(*_coarsened(_joined(seen), stride), stride))
    return Targets(tables, held)


def match_anchors(
    cells: Tensor, boxes: Tensor, levels: int, anchors: int, config: GSDNAssignment
) -> list[AnchorTargets]:
    """Matches of the anchors of one scene, per level, with rows of `boxes` or NEGATIVE or IGNORED.

    The anchor with the best IoU for a ground truth is positive, whatever this IoU is. Each positive
    belongs to its own best ground truth, which may be another one. cells: (V, 3), the voxels.
    boxes: (K, 7) in voxels.
    """
    edges = strides(levels)
    grid = _coarse_grid(cells, edges[-1])
    per_level = [_finer(grid, edges[-1], stride) for stride in edges]
    corners = [
        anchor_corners(at, anchor_sizes(anchors, stride).to(at.device), stride).flatten(0, 1)
        for at, stride in zip(per_level, edges, strict=True)
    ]
    matches = _match(torch.cat(corners), boxes, config)
    sizes = [len(c) for c in corners]
    each = zip(per_level, matches.split(sizes), strict=True)
    return [AnchorTargets(at, found.view(len(at), anchors)) for at, found in each]


def boxes_of_objects(cells: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    """The boxes around the voxels of objects, (K, 7), and the rows of the objects that have any.

    cells: (V, 3). members: (objects, V) bool, the voxels of each object. An edge lies half a voxel
    outside the coordinates of its voxels, not a whole voxel as the voxels do.
    """
    rows = members.any(dim=1).nonzero().squeeze(1)
    members = members[rows]
    low, high = [], []
    for axis in cells.t():
        low.append(axis.masked_fill(~members, axis.max() + 1).amin(dim=1))
        high.append(axis.masked_fill(~members, axis.min() - 1).amax(dim=1))
    bottom, top = torch.stack(low, dim=1) - 0.5, torch.stack(high, dim=1) + 0.5
    yaw = bottom.new_zeros(len(rows), 1)
    return torch.cat([(bottom + top) / 2, top - bottom, yaw], dim=1), rows


def _match(anchors: Tensor, boxes: Tensor, config: GSDNAssignment) -> Tensor:
    """(N,) matches of anchors (N, 6) with boxes (K, 7)."""
    best = anchors.new_zeros(len(anchors))
    owner = torch.zeros_like(best, dtype=torch.int64)
    forced = torch.zeros_like(owner, dtype=torch.bool)
    columns = anchors.t().contiguous()
    volumes = (columns[3:] - columns[:3]).prod(dim=0)
    for row, box in enumerate(boxes):
        iou = _iou(columns, volumes, box)
        better = iou > best
        owner = owner.masked_fill(better, row)
        best = torch.maximum(best, iou)
        forced |= (iou == iou.max()) & (iou >= _LEAST)
    positive = forced | (best >= config.positive_iou)
    others = torch.where(best < config.negative_iou, NEGATIVE, IGNORED)
    return torch.where(positive, owner, others) if len(boxes) else torch.full_like(owner, NEGATIVE)


def _iou(anchors: Tensor, volumes: Tensor, box: Tensor) -> Tensor:
    """(N,) IoU of anchors (6, N) with one box (7,)."""
    low, high = box[:3] - box[3:6] / 2, box[:3] + box[3:6] / 2
    shared = torch.ones_like(volumes)
    for axis in range(3):
        end = torch.minimum(anchors[3 + axis], high[axis])
        shared *= (end - torch.maximum(anchors[axis], low[axis])).clamp_(min=0)
    return shared / (volumes + box[3:6].prod() - shared + _EPSILON)


def _coarse_grid(cells: Tensor, stride: int) -> Tensor:
    """(G, 3) the coarsest cells next to one with a voxel, with at most one layer below the lowest
    voxel and none above the highest one.
    """
    occupied = torch.div(cells, stride, rounding_mode="floor").unique(dim=0)
    steps = torch.tensor([*itertools.product((-1, 0, 1), repeat=3)], device=cells.device)
    near = (occupied[:, None] + steps).flatten(0, 1).unique(dim=0)
    return near[(near <= occupied.amax(dim=0)).all(dim=1)] * stride


def _finer(grid: Tensor, coarse: int, stride: int) -> Tensor:
    """(N, 3) the cells of an edge `stride` within coarse cells."""
    along = torch.arange(0, coarse, stride, device=grid.device)
    inside = torch.cartesian_prod(along, along, along).view(-1, 3)
    return (grid[:, None] + inside).flatten(0, 1)


def _without_negatives(targets: AnchorTargets, scene: int, truth: Tensor) -> Rows:
    """The cells of a scene with an anchor that is not negative, and their matches. truth: (K,) the
    rows of the scene's ground truth in the batch's.
    """
    rows = (targets.matches != NEGATIVE).any(dim=1).nonzero().squeeze(1)
    matches = targets.matches[rows]
    if len(truth):
        matches = torch.where(matches < 0, matches, truth[matches.clamp(min=0)])
    return torch.cat([torch.full_like(rows, scene)[:, None], targets.cells[rows]], dim=1), matches


def _joined(parts: Sequence[Rows]) -> Rows:
    cells, values = zip(*parts, strict=True)
    return torch.cat(cells), torch.cat(values)


def _coarsened(seen: Rows, stride: int) -> Rows:
    """The distinct cells (N, 4) of an edge `stride` that hold some finer ones, and the highest of
    their targets.
    """
    cells, targets = seen
    at = torch.div(cells[:, 1:], stride, rounding_mode="floor") * stride
    distinct, place = torch.cat([cells[:, :1], at], dim=1).unique(dim=0, return_inverse=True)
    highest = targets.new_full((len(distinct),), IGNORED)
    return distinct, highest.scatter_reduce_(0, place, targets, "amax")


def _by_scene(sites: Sites) -> list[Tensor]:
    """(V, 3) int64 coordinates of each scene."""
    coords = sites.coords[sites.in_order][:, 1:].long()
    return list(coords.split(sites.counts))
