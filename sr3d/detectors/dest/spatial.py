"""How seeds lie to the boxes of queries: features of the eight vertices, and nearness.

Source: OpenSpaceAI/DEST3D (models/dest_module.py), which takes the vertices from V-DETR.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sr3d.detectors.common.vertex_lattice import CELLS, interpolation, lattice

FEATURES = 16
_HIDDEN = 128
_FALL = 15.0  # per metre. A parameter in the original, which never optimises it
_LEAST_RADIUS = 0.64  # metres
_PAIRS = {"cpu": 1 << 14, "cuda": 1 << 18}  # pairs of a seed and a query at a time


class VertexTable(nn.Module):
    """Features of the offset from a seed to a vertex of a box, on a lattice of offsets.

    Lattice points are denser at small offsets. All eight vertices share the table.
    """

    relative_coords_table: Tensor  # (1, 10, 10, 10, 3), the name in checkpoints

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("relative_coords_table", lattice())
        self.cpb_mlps = nn.Sequential(
            nn.Linear(3, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, FEATURES, bias=False)
        )

    def forward(self) -> Tensor:
        """(10, 10, 10, 16): of offsets along x, y and z.

        The original reads its table with reversed axes, so the layers see offsets as z, y, x.
        """
        return self.cpb_mlps(self.relative_coords_table[0]).float().transpose(0, 2)


def vertex_features(table: Tensor, seeds: Tensor, places: Tensor) -> Tensor:
    """(B, S, F, K): the table (10, 10, 10, F) at the offsets from seeds to the vertices of boxes,
    interpolated, zero beyond the table, and summed over the eight vertices.

    seeds: (B, S, 3). places: (B, K, 6), see `Stage.places`. Boxes have no heading here, as in the
    original. Only the table gets a gradient.
    """
    return _VertexFeatures.apply(table, seeds, places)


class _VertexFeatures(torch.autograd.Function):
    """The vertices combine two faces along each axis. So the sum of their trilinear interpolations
    is a product of three sums of linear ones, which are cheap enough to be computed again in the
    backward pass.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, seeds: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(seeds, places)
        found = table.new_empty(*seeds.shape[:2], table.shape[3], places.shape[1])
        with torch.autocast(table.device.type, enabled=False):
            for part, xy, z in _weights(seeds, places):
                lines = (xy @ table.reshape(CELLS**2, -1)).unflatten(-1, (CELLS, -1))
                found[:, part] = (z[..., None, :] @ lines).squeeze(-2).transpose(2, 3)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        found = grad.new_zeros(CELLS**2, CELLS * grad.shape[2])
        for part, xy, z in _weights(*ctx.saved_tensors):
            lines = z[..., None] * grad[:, part].transpose(2, 3)[..., None, :]
            found.addmm_(xy.flatten(0, 2).t(), lines.flatten(0, 2).flatten(1))
        return found.view(CELLS, CELLS, CELLS, -1), None, None


def _weights(seeds: Tensor, places: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Some seeds S' at a time, and the weights of the table's lines (B, S', K, 100) along z, and of
    the places on a line (B, S', K, 10).
    """
    centers, half = places[:, None, :, :3], places[:, None, :, 3:] / 2
    pairs = len(seeds) * places.shape[1]
    size = max(1, _PAIRS[seeds.device.type] // pairs)
    for start in range(0, seeds.shape[1], size):
        part = slice(start, start + size)
        offsets = centers - seeds[:, part, None]
        each = interpolation(offsets - half).add_(interpolation(offsets + half))
        x, y, z = each.unbind(dim=-2)  # (B, S', K, 10)
        yield part, (x[..., :, None] * y[..., None, :]).flatten(-2), z


@torch.no_grad()
def nearness(seeds: Tensor, places: Tensor) -> Tensor:
    """(B, S, K): 1 within the diagonal of a query's box around its centre, falling beyond it."""
    distance = (seeds[:, :, None] - places[:, None, :, :3]).norm(dim=-1)
    radius = places[..., 3:].norm(dim=-1).clamp(min=_LEAST_RADIUS)
    return (_FALL * (radius[:, None] - distance).clamp(max=0)).exp()
