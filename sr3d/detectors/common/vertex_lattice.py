"""A lattice of offsets from points to vertices of boxes, denser at small offsets.

V-DETR and DEST have a small network that gives each of its places features. Source: V-DETR/V-DETR
(models/vdetr_transformer.py).
"""

from __future__ import annotations

import torch
from torch import Tensor

CELLS = 10  # along each axis
_SPAN = 4.0  # half the width of the lattice on its logarithmic scale: 8 m
_LOG_SCALE = 512.0  # per metre


def lattice() -> Tensor:
    """(1, 10, 10, 10, 3): the places, scaled logarithmically. The last axis varies fastest."""
    line = torch.linspace(-_SPAN, _SPAN, CELLS)
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1)[None]


def scaled(offsets: Tensor) -> Tensor:
    """Offsets (…) in metres on the logarithmic scale, as shares of half the lattice's width."""
    return offsets.sign() * (_LOG_SCALE * offsets.abs() + 1).log2() / 3 / _SPAN


def interpolation(offsets: Tensor) -> Tensor:
    """(…, 10): weights of the lattice's places for offsets (…) in metres, zero beyond them."""
    position = ((scaled(offsets) + 1) * CELLS - 1) / 2
    distance = (position[..., None] - torch.arange(CELLS, device=offsets.device)).abs_()
    return distance.neg_().add_(1).clamp_(min=0)
