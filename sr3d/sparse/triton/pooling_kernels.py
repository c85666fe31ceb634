"""Max pooling over a neighbour table, and its gradient over the transposed table: no atomics."""

# mypy: allow-untyped-defs, allow-untyped-decorators

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["n_out"])
def max_pool(
    x,  # (n_in, CHANNELS)
    table,  # (n_out, VOLUME) input rows, -1 if missing
    out,  # (n_out, CHANNELS)
    winners,  # (n_out, CHANNELS) input row of the maximum, -1 if there is none
    n_out,
    CHANNELS: tl.constexpr,
    VOLUME: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    channels = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = (rows < n_out)[:, None] & (channels < CHANNELS)[None, :]
    best = tl.full((BLOCK_M, BLOCK_N), float("-inf"), tl.float32)
    winner = tl.full((BLOCK_M, BLOCK_N), -1, tl.int32)
    for k in range(VOLUME):
        source = tl.load(table + rows * VOLUME + k, mask=rows < n_out, other=-1)
        value = tl.load(
            x + source.to(tl.int64)[:, None] * CHANNELS + channels[None, :],
            mask=(source >= 0)[:, None] & (channels < CHANNELS)[None, :],
            other=float("-inf"),
        ).to(tl.float32)
        better = value > best  # the first of equals wins, as in the torch engine
        best = tl.where(better, value, best)
        winner = tl.where(better, source[:, None], winner)
    at = rows.to(tl.int64)[:, None] * CHANNELS + channels[None, :]
    best = tl.where(winner < 0, 0.0, best)
    tl.store(out + at, best.to(out.dtype.element_ty), mask=inside)
    tl.store(winners + at, winner, mask=inside)


@triton.jit(do_not_specialize=["n_in"])
def max_pool_gradient(
    grad,  # (n_out, CHANNELS)
    winners,  # (n_out, CHANNELS)
    table,  # (n_in, VOLUME) output rows that each input row reaches, -1 for none
    out,  # (n_in, CHANNELS)
    n_in,
    CHANNELS: tl.constexpr,
    VOLUME: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Each input row sums the gradients of the outputs whose maximum it gave."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    channels = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for k in range(VOLUME):
        target = tl.load(table + rows * VOLUME + k, mask=rows < n_in, other=-1)
        at = target.to(tl.int64)[:, None] * CHANNELS + channels[None, :]
        reached = (target >= 0)[:, None] & (channels < CHANNELS)[None, :]
        won = tl.load(winners + at, mask=reached, other=-1) == rows[:, None]
        total += tl.load(grad + at, mask=reached & won, other=0.0).to(tl.float32)
    at = rows.to(tl.int64)[:, None] * CHANNELS + channels[None, :]
    inside = (rows < n_in)[:, None] & (channels < CHANNELS)[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)
