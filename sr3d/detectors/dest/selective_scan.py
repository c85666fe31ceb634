"""The selective scan of an inter-state space model: points pass by states, and both change.

Every head has K states of P channels. Point t takes part in each state k by a step size of its own:

    h_t[p, k] = exp(Δ_t[k] A) h_(t-1)[p, k] + Δ_t[k] B_t[k] x_t[p]
    y_t[p] = Σ_k C_t[k] h_t[p, k]

Source: the DEST paper (arXiv 2503.14493) and OpenSpaceAI/DEST3D (models/dest_module.py).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sr3d.detectors.dest import torch_engine
from sr3d.detectors.dest.torch_engine import ScanTerms
from sr3d.sparse.functional import engine_on


def selective_scan(terms: ScanTerms, reverse: bool = False) -> tuple[Tensor, Tensor]:
    """y (B, L, H, P), and the states after the last point, (B, H, P, K).

    reverse: scan from the last point to the first. y keeps the order of the points. Computes in
    single precision, or in double if x is double. All terms but `near` get gradients.
    """
    if terms.x.dtype != torch.float64:
        terms = ScanTerms(*(value.float() for value in terms))
    y, state = _SelectiveScan.apply(reverse, *terms)
    return y, state


class _SelectiveScan(torch.autograd.Function):
    """The backward pass needs the terms and the states at some points, not those at every point."""

    @staticmethod
    def forward(ctx: Any, reverse: bool, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        terms = ScanTerms(*tensors)
        ctx.engine = _engine(terms.x.device)  # autograd's threads do not see a forced engine
        ctx.reverse = reverse
        with torch.autocast(terms.x.device.type, enabled=False):
            y, state, stored = ctx.engine.scan(terms, reverse)
        ctx.save_for_backward(*terms, stored)
        return y, state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_state: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, stored = ctx.saved_tensors
        terms = ScanTerms(*tensors)
        found = ctx.engine.gradients(terms, stored, grad_y, grad_state, ctx.reverse)
        return None, *found


def _engine(device: torch.device) -> ModuleType:
    if engine_on(device) == "triton":
        from sr3d.detectors.dest.triton import engine as triton_engine  # the import takes seconds

        return triton_engine
    return torch_engine
