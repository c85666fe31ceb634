"""3DV-RPE: a bias of attention from the offsets of points to the vertices of a query's box.

Source: V-DETR/V-DETR (models/vdetr_transformer.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import grid_sample

from sr3d.detectors.common.vertex_lattice import CELLS, interpolation, scaled
from sr3d.geometry.boxes import rotate_z

# The vertices in the original's order. 0 is the lower face along x, y and z, 1 the upper one.
VERTICES = ((1, 1, 0), (1, 0, 0), (0, 0, 0), (0, 1, 0), (1, 1, 1), (1, 0, 1), (0, 0, 1), (0, 1, 1))
_PAIRS = {"cpu": 1 << 14, "cuda": 1 << 18}  # pairs of a query and a point at a time


def vertex_bias(tables: Tensor, points: Tensor, boxes: Tensor, rotated: bool) -> Tensor:
    """(B, H, Q, M): the sum over the eight vertices of a table at the offset from point to vertex.

    tables: (8, H, 10, 10, 10), of offsets along z, y and x. Values between its places are
    interpolated. Beyond its places they fall to zero. points: (B, M, 3). boxes: (B, Q, 7). rotated:
    whether offsets are along the axes of a box that has a yaw. Only the tables get a gradient.

    Memory beyond the result is bounded, because both passes take some pairs at a time.
    """
    return _VertexBias.apply(tables, points, boxes, rotated)


class _VertexBias(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tables: Tensor, points: Tensor, boxes: Tensor, rotated: bool) -> Tensor:
        ctx.save_for_backward(points, boxes)
        ctx.rotated = rotated
        shape = len(boxes), tables.shape[1], boxes.shape[1], points.shape[1]
        found = tables.new_empty(shape)
        with torch.autocast(tables.device.type, enabled=False):
            for scene, part, faces in _faces(points, boxes, rotated):
                at = scaled(faces)
                grid = torch.stack(
                    [torch.stack([at[face, a] for a, face in enumerate(v)], -1) for v in VERTICES]
                )
                each = grid_sample(tables, grid[..., None, :], align_corners=False)
                found[scene, :, part] = each.sum(dim=0)[..., 0]
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """Sums over pairs are products of matrices, which have a fixed order also on a GPU.

        They combine both faces along each axis, so each vertex reads its part of the result.
        """
        points, boxes = ctx.saved_tensors
        heads = grad.shape[1]
        found = grad.new_zeros(4 * CELLS**2, 2 * CELLS * heads)
        for scene, part, faces in _faces(points, boxes, ctx.rotated):
            x, y, z = interpolation(faces).flatten(2, 3).permute(1, 2, 0, 3).flatten(2)  # (P, 20)
            own = grad[scene, :, part].flatten(1).t()  # (P, H)
            columns = (z[:, :, None] * own[:, None]).flatten(1)
            found.addmm_((y[:, :, None] * x[:, None]).flatten(1).t(), columns)
        split = found.view(2, CELLS, 2, CELLS, 2, CELLS, heads)
        parts = [split[y, :, x, :, z].permute(3, 2, 0, 1) for x, y, z in VERTICES]
        return torch.stack(parts), None, None, None


def _faces(points: Tensor, boxes: Tensor, rotated: bool) -> Iterator[tuple[int, slice, Tensor]]:
    """A scene, some queries q, and offsets (2, 3, q, M) from points to the lower and upper faces of
    their boxes along x, y and z.
    """
    size = max(1, _PAIRS[points.device.type] // points.shape[1])
    for scene, (own, queries) in enumerate(zip(points, boxes, strict=True)):
        for start in range(0, len(queries), size):
            part = slice(start, start + size)
            places = queries[part, None]
            half = (places[..., 3:6] / 2).permute(2, 0, 1)
            if rotated:
                offset = rotate_z(places[..., :3] - own, -places[..., 6]).permute(2, 0, 1)
                yield scene, part, torch.stack([offset - half, offset + half])
            else:
                center, point = places[..., :3].permute(2, 0, 1), own.t()[:, None]
                yield scene, part, torch.stack([center - half - point, center + half - point])
