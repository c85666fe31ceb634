"""Compares the results of the Triton engine and the torch engine on this machine."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.sparse.functional import engine, sparse_conv
from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.sites import Sites

_CHANNELS = 16, 32
_CELLS = 300


def compare_engines(device: torch.device) -> dict[str, float]:
    """Largest difference between the engines' results, divided by the largest value of torch's.

    "forward", and "gradient" of input and weights: the maximum over a sub-manifold, a strided and a
    transposed layer in float32.

    Raises:
        InputError: Triton cannot run here.
    """
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(-5, 6, (_CELLS, 3), generator=generator)
    coords = torch.cat([torch.zeros(_CELLS, 1, dtype=torch.int64), cells], dim=1)
    fine, _ = Sites.unique(coords.to(device), batch_size=1)
    strided = fine.kernel_map(fine.strided(2), 3)
    worst = {"forward": 0.0, "gradient": 0.0}
    for kernel_map in (fine.kernel_map(fine, 3), strided, strided.transposed()):
        shape = kernel_map.n_in, _CHANNELS[0]
        x = torch.randn(shape, generator=generator).to(device)
        weight = torch.randn(kernel_map.volume, *_CHANNELS, generator=generator).to(device)
        with engine("torch"):
            expected = _results(x, weight, kernel_map)
        with engine("triton"):
            found = _results(x, weight, kernel_map)
        for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            what = "gradient" if i else "forward"
            apart = float((ours - theirs).abs().max() / theirs.abs().max())
            worst[what] = max(worst[what], apart)
    return worst


def _results(x: Tensor, weight: Tensor, kernel_map: KernelMap) -> tuple[Tensor, Tensor, Tensor]:
    """Output, gradient of the input, gradient of the weights."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    out = sparse_conv(x, weight, kernel_map)
    grad_x, grad_weight = torch.autograd.grad(out.square().sum(), (x, weight))
    return out.detach(), grad_x, grad_weight
