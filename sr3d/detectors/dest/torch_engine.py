"""The selective scan in plain PyTorch, point by point, for any device.

On a CPU the recurrence is faster than a closed form of chunks, which compares all pairs of points
in a chunk.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

# Points between stored states. The backward pass computes the states between them again.
CHUNK = 32


class ScanTerms(NamedTuple):
    """The arguments of a scan over the L points of B scenes, with H heads.

    x: (B, L, H, P). The step size is Δ = softplus(gates + steps) · near, with gates (B, L, H, K),
    steps (B, L, H) and near (B, L, K). inputs: B, (B, L, K). outputs: C, (B, L, K). rates: A, (H,),
    negative. state: before the first point, (B, H, P, K).
    """

    x: Tensor
    gates: Tensor
    steps: Tensor
    near: Tensor
    inputs: Tensor
    outputs: Tensor
    rates: Tensor
    state: Tensor


class _Chunk(NamedTuple):
    """Some points in the order of the scan, see `ScanTerms`, with their axis first."""

    x: Tensor
    gates: Tensor
    steps: Tensor
    near: Tensor
    inputs: Tensor
    outputs: Tensor

    def logits(self) -> Tensor:
        """(T, B, H, K), whose softplus is the step size, but for `near`."""
        return self.gates + self.steps[..., None]

    def changes(self, rates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step sizes, decays, and the factors of x that are added to the states, (T, B, H, K)."""
        delta = softplus(self.logits()) * self.near[:, :, None]
        return delta, (delta * rates[:, None]).exp(), delta * self.inputs[:, :, None]


def scan(terms: ScanTerms, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """y and the last states, see `selective_scan`, and the states before each chunk."""
    state, stored, found = terms.state.clone(), [], []
    for chunk in _chunks(terms, reverse):
        stored.append(state.clone())
        _, decay, given = chunk.changes(terms.rates)
        for t, x in enumerate(chunk.x):
            state.mul_(decay[t, :, :, None]).addcmul_(x[..., None], given[t, :, :, None])
            found.append(state.flatten(1, 2) @ chunk.outputs[t, ..., None])
    y = torch.stack(found).view_as(_in_order(terms.x, reverse))
    return _back(y, reverse), state, torch.stack(stored)


def gradients(
    terms: ScanTerms, stored: Tensor, grad_y: Tensor, grad_state: Tensor, reverse: bool
) -> tuple[Tensor | None, ...]:
    """The gradients of all terms, None for `near`."""
    grad, found, grad_rates = grad_state.clone(), [], torch.zeros_like(terms.rates)
    grads_y = _in_order(grad_y, reverse).split(CHUNK)
    parts = list(zip(_chunks(terms, reverse), stored, grads_y, strict=True))
    states = stored.new_empty(CHUNK + 1, *grad.shape)  # before the first point, then after each
    grads = stored.new_empty(CHUNK, *grad.shape)  # of the states after each point
    for chunk, states[0], grad_y in reversed(parts):
        delta, decay, given = chunk.changes(terms.rates)
        points = len(chunk.x)
        for t, x in enumerate(chunk.x):
            torch.mul(states[t], decay[t, :, :, None], out=states[t + 1])
            states[t + 1].addcmul_(x[..., None], given[t, :, :, None])
        for t in reversed(range(points)):
            torch.addcmul(grad, grad_y[t, ..., None], chunk.outputs[t, :, None, None], out=grads[t])
            torch.mul(grads[t], decay[t, :, :, None], out=grad)
        before, after, into = states[:points], states[1 : points + 1], grads[:points]
        of_given = torch.einsum("tbhp,tbhpk->tbhk", chunk.x, into)
        of_exponent = (before * into).sum(dim=3) * decay
        of_delta = of_exponent * terms.rates[:, None] + of_given * chunk.inputs[:, :, None]
        of_gates = of_delta * chunk.near[:, :, None] * chunk.logits().sigmoid()
        grad_rates += (of_exponent * delta).sum(dim=(0, 1, 3))
        found.append(
            (
                torch.einsum("tbhpk,tbhk->tbhp", into, given),
                of_gates,
                of_gates.sum(dim=3),
                (of_given * delta).sum(dim=2),
                torch.einsum("tbhp,tbhpk->tbk", grad_y, after),
            )
        )
    x, gates, steps, inputs, outputs = (
        _back(torch.cat(values), reverse) for values in zip(*reversed(found), strict=True)
    )
    return x, gates, steps, None, inputs, outputs, grad_rates, grad


def _chunks(terms: ScanTerms, reverse: bool) -> list[_Chunk]:
    values = (_in_order(value, reverse).split(CHUNK) for value in terms[:6])
    return [_Chunk(*chunk) for chunk in zip(*values, strict=True)]


def _in_order(values: Tensor, reverse: bool) -> Tensor:
    """(B, L, …) to (L, B, …) in the order of the scan."""
    values = values.transpose(0, 1)
    return values.flip(0) if reverse else values


def _back(values: Tensor, reverse: bool) -> Tensor:
    """The inverse of `_in_order`."""
    return (values.flip(0) if reverse else values).transpose(0, 1).contiguous()
