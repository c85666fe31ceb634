"""Instance normalisation of rows of features."""

from __future__ import annotations

import torch
from torch import Tensor

_EPS = 1e-8  # MinkowskiEngine's


def instance_norm(x: Tensor, counts: list[int]) -> Tensor:
    """Each scene's rows to zero mean and unit (biased) variance a channel, in fp32 at least.

    x: (N, C), scene after scene. counts: rows of each.
    """
    normed = []
    for scene in x.to(torch.promote_types(x.dtype, torch.float32)).split(counts):
        centred = scene - scene.mean(dim=0)
        normed.append(centred * (centred.square().mean(dim=0) + _EPS).rsqrt())
    return torch.cat(normed).to(x.dtype)


def masked_instance_norm(x: Tensor, valid: Tensor) -> Tensor:
    """As `instance_norm` of one scene, of the valid rows (N,); the others are zero."""
    padding, count = ~valid[:, None], valid.sum().clamp(min=1)
    wide = x.to(torch.promote_types(x.dtype, torch.float32)).masked_fill(padding, 0)
    centred = (wide - wide.sum(dim=0) / count).masked_fill(padding, 0)
    variance = centred.square().sum(dim=0) / count
    return (centred * (variance + _EPS).rsqrt()).to(x.dtype)
