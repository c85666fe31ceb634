"""Small scans, and the recurrence that they must equal, point by point."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sr3d.detectors.dest.selective_scan import selective_scan
from sr3d.detectors.dest.torch_engine import ScanTerms


class Case(NamedTuple):
    """Arguments of `selective_scan`."""

    terms: ScanTerms
    reverse: bool

    def learning(self) -> Case:
        """The same with gradients, but for `near`."""
        copies = [value.detach().clone().requires_grad_() for value in self.terms]
        terms = ScanTerms(*copies)
        terms.near.requires_grad_(False)
        return Case(terms, self.reverse)


def case(
    points: int,
    *,
    scenes: int = 1,
    heads: int = 2,
    channels: int = 3,
    states: int = 5,
    reverse: bool = False,
    step: float = -1.0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Case:
    """step: mean of the values before the softplus. The largest decays leave nothing."""
    generator = torch.Generator().manual_seed(points)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    near = draw(scenes, points, states).abs().neg().exp()
    near[:, ::7] = 0.0
    terms = ScanTerms(
        x=draw(scenes, points, heads, channels),
        gates=draw(scenes, points, heads, states) + step,
        steps=draw(scenes, points, heads),
        near=near,
        inputs=draw(scenes, points, states),
        outputs=draw(scenes, points, states),
        rates=-draw(heads).exp(),
        state=draw(scenes, heads, channels, states),
    )
    return Case(ScanTerms(*(value.to(device, dtype) for value in terms)), reverse)


def recurrence(case: Case) -> tuple[Tensor, Tensor]:
    """In double precision, one point after another."""
    x, gates, steps, near, inputs, outputs, rates, state = (v.double() for v in case.terms)
    found: dict[int, Tensor] = {}
    order = range(x.shape[1])
    for t in reversed(order) if case.reverse else order:
        delta = softplus(gates[:, t] + steps[:, t, :, None]) * near[:, t, None]  # (B, H, K)
        decay = (delta * rates[:, None]).exp()
        given = delta * inputs[:, t, None]
        state = state * decay[:, :, None] + x[:, t, :, :, None] * given[:, :, None]
        found[t] = (state * outputs[:, t, None, None]).sum(dim=-1)
    return torch.stack([found[t] for t in order], dim=1), state


def scanned(given: Case) -> tuple[Tensor, Tensor]:
    return selective_scan(given.terms, given.reverse)


def gradients(given: Case, found: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Of a sum in which every output has another weight."""
    weights = [torch.linspace(-1, 1, out.numel(), dtype=out.dtype) for out in found]
    total = sum((out.flatten() * w).sum() for out, w in zip(found, weights, strict=True))
    assert isinstance(total, Tensor)
    learning = [value for value in given.terms if value.requires_grad]
    return list(torch.autograd.grad(total, learning))


def close(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    return float((found - wanted).abs().max()) <= tolerance * float(wanted.abs().max())
