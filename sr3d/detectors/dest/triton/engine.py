"""The selective scan on a GPU: lay the tensors out, launch the kernels, add the parts.

It has the same functions as `torch_engine`. Nothing here needs a sync.
"""

from __future__ import annotations

from typing import Any

import triton
from torch import Tensor

from sr3d.detectors.dest.torch_engine import ScanTerms
from sr3d.detectors.dest.triton import kernels
from sr3d.sparse.triton.engine import on

# Points between stored states. A program keeps the states of so many points in its scratch memory.
CHUNK = 16
_TILE = 1024  # numbers of the states of a program, at least 16 states
# A single warp sums over states and channels without waiting for others. Not measured yet.
_WARPS = 1


def scan(terms: ScanTerms, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """y and the last states, see `selective_scan`, and the states before each chunk."""
    batches, points, heads, channels = terms.x.shape
    states, parts, grid, sizes = _launch(terms, reverse)
    y = terms.x.new_empty(parts, *terms.x.shape)
    after = terms.x.new_empty(batches, heads, channels, states)
    chunks = triton.cdiv(points, CHUNK)
    stored = terms.x.new_empty(batches, heads, chunks, channels, states)
    with on(terms.x.device):
        kernels.scan[grid](*(value.contiguous() for value in terms), y, after, stored, **sizes)
    return y.sum(dim=0), after, stored


def gradients(
    terms: ScanTerms, stored: Tensor, grad_y: Tensor, grad_state: Tensor, reverse: bool
) -> tuple[Tensor | None, ...]:
    """The gradients of all terms, None for `near`."""
    batches, _, heads, _ = terms.x.shape
    _, parts, grid, sizes = _launch(terms, reverse)
    new = terms.x.new_empty
    scratch = new(batches * heads * parts, CHUNK, sizes["BLOCK_P"], sizes["BLOCK_K"])
    x, rates = new(parts, *terms.x.shape), new(parts, batches, heads)
    gates, inputs, outputs = (new(terms.gates.shape) for _ in range(3))
    state = new(terms.state.shape)
    with on(terms.x.device):
        kernels.gradients[grid](
            *(value.contiguous() for value in terms[:-1]),
            stored,
            grad_y.contiguous(),
            grad_state.contiguous(),
            scratch,
            x,
            gates,
            inputs,
            outputs,
            rates,
            state,
            **sizes,
        )
    return (
        x.sum(dim=0),
        gates,
        gates.sum(dim=3),
        None,
        inputs.sum(dim=2),
        outputs.sum(dim=2),
        rates.sum(dim=(0, 1)),
        state,
    )


def _launch(terms: ScanTerms, reverse: bool) -> tuple[int, int, tuple[int, int], dict[str, Any]]:
    """The number of states and of their parts, the grid, and the other arguments of a kernel."""
    batches, points, heads, channels = terms.x.shape
    states = terms.gates.shape[3]
    block_p = triton.next_power_of_2(channels)
    block_k = max(16, _TILE // block_p)
    parts = triton.cdiv(states, block_k)
    sizes = {
        "batches": batches,
        "points": points,
        "heads": heads,
        "channels": channels,
        "states": states,
        "first": points - 1 if reverse else 0,
        "stride": -1 if reverse else 1,
        "CHUNK": CHUNK,
        "BLOCK_P": block_p,
        "BLOCK_K": block_k,
        "num_warps": _WARPS,
    }
    return states, parts, (batches * heads, parts), sizes
