"""Instance normalisation of rows of features."""

from __future__ import annotations

import torch
from torch import Tensor

_EPS = 1e-8  # MinkowskiEngine's


def instance_norm(x: Tensor, counts: list[int]) -> Tensor:
    """Normalise each channel of each scene to zero mean and unit (biased) variance, in fp32 or
    more.

    x: (N, C), scene after scene. counts: number of rows of each scene.
    """
    normed = []
    for scene in x.to(torch.promote_types(x.dtype, torch.float32)).split(counts):
        centred = scene - scene.mean(dim=0)
        normed.append(centred * (centred.square().mean(dim=0) + _EPS).rsqrt())
    return torch.cat(normed).to(x.dtype)


def masked_instance_norm(x: Tensor, valid: Tensor) -> Tensor:
    """`instance_norm` of one scene, of its valid rows (N,). Invalid rows are zero."""
    padding, count = ~valid[:, None], valid.sum().clamp(min=1)
    wide = x.to(torch.promote_types(x.dtype, torch.float32)).masked_fill(padding, 0)
    centred = (wide - wide.sum(dim=0) / count).masked_fill(padding, 0)
    variance = centred.square().sum(dim=0) / count
    return (centred * (variance + _EPS).rsqrt()).to(x.dtype)
