"""GSDN's anchors: several cuboids at the centre of each cell, and boxes relative to them.

Lengths are in voxels. Corners are (…, 6): lowest x, y, z, then highest x, y, z. Source: jgwak/GSDN
(lib/transforms.py, lib/detection_utils.py).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

FIRST_STRIDE = 4  # of the finest level
_SCALE = 2  # edge of a level's cube in strides
_RATIOS = {7: (4.0,), 13: (4.0, 2.0)}  # by the number of anchors of a cell
_OFFSET_UNIT, _SIZE_UNIT = 0.15, 0.3  # of the network's outputs


def strides(levels: int) -> list[int]:
    """Edges of the cells of each level, finest first."""
    return [FIRST_STRIDE << level for level in range(levels)]


def anchor_sizes(count: int, stride: int) -> Tensor:
    """(A, 3) sizes of the anchors of a cell with this edge. count: A, 7 or 13.

    A size is that of the cube divided by the root of its axis' ratio. The ratios of an anchor are
    r or 1 / r, but not equal on all axes. The cube comes last.
    """
    ratios = [
        axes
        for ratio in _RATIOS[count]
        for axes in itertools.product((1 / ratio, ratio), repeat=3)
        if len({*axes}) > 1
    ]
    return _SCALE * stride / torch.tensor([*ratios, (1.0, 1.0, 1.0)]).sqrt()


def anchor_corners(cells: Tensor, sizes: Tensor, stride: int) -> Tensor:
    """(N, A, 6) corners of the anchors of sizes (A, 3) of cells (N, 3)."""
    centres = (cells + stride / 2)[:, None]
    return torch.cat([centres - sizes / 2, centres + sizes / 2], dim=-1)


def encode(corners: Tensor, anchors: Tensor) -> Tensor:
    """(P, 6) outputs for which `decode` without clipping gives nearly these corners (P, 6)."""
    (centre, size), (anchor, anchor_size) = (_centre_size(c) for c in (corners, anchors))
    offsets = (centre - anchor) / anchor_size / _OFFSET_UNIT
    return torch.cat([offsets, (size / anchor_size).log() / _SIZE_UNIT], dim=-1)


def decode(outputs: Tensor, anchors: Tensor, extent: Tensor, clip: bool) -> Tensor:
    """(P, 6) corners of raw outputs (P, 6) on anchors (P, 6).

    The corners are the coordinates of the lowest and highest voxel of an object, minus a half. So a
    box is a voxel shorter than its counterpart in `encode`. The original takes this voxel from the
    anchor before it decodes, so the voxel does not count in sizes relative to the anchor.

    extent: (3,), the size of a grid of voxels. clip: move centres and corners into the grid.
    """
    low, high = anchors.split(3, dim=-1)
    scale = extent - 1
    centre, size = _centre_size(torch.cat([low / scale, (high - 1) / scale], dim=-1))
    offsets, logs = outputs.split(3, dim=-1)
    centre = centre + offsets * _OFFSET_UNIT * size
    size = size * (logs * _SIZE_UNIT).exp()
    if clip:
        centre, size = centre.clamp(0, 1), size.clamp(0, 1)
    low, high = centre - size / 2, centre + size / 2
    corners = torch.cat([low * scale, high * scale], dim=-1)
    return corners.clamp(min=0).minimum(scale.repeat(2)) if clip else corners


def _centre_size(corners: Tensor) -> tuple[Tensor, Tensor]:
    low, high = corners.split(3, dim=-1)
    return (low + high) / 2, high - low
