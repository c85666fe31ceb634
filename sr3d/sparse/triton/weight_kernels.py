"""The weight gradient: x[in]ᵀ · grad[out] over each offset's pairs, as a split reduction.

Each program sums one chunk of the pairs of one offset for one block of the (CI, CO) matrix, and
writes it in fp32. A second kernel adds the chunks in order. There are no atomics, so the result is
deterministic.
"""

# mypy: allow-untyped-defs, allow-untyped-decorators

import triton
import triton.language as tl


@triton.jit
def weight_gradient(
    x,  # (n_in, CI)
    grad,  # (n_out, CO)
    partials,  # (chunks, K, CI, CO) fp32
    in_rows,  # input rows of the pairs, by offset
    out_rows,  # their output rows
    starts,  # (K + 1,) start of each offset's pairs
    chunk,  # pairs of one program
    VOLUME: tl.constexpr,
    CI: tl.constexpr,
    CO: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_M: tl.constexpr,  # input channels
    BLOCK_N: tl.constexpr,  # output channels
    BLOCK_K: tl.constexpr,  # pairs at a time
):
    column_blocks: tl.constexpr = (CO + BLOCK_N - 1) // BLOCK_N
    i = (tl.program_id(0) // column_blocks) * BLOCK_M + tl.arange(0, BLOCK_M)
    o = (tl.program_id(0) % column_blocks) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.program_id(1)
    part = tl.program_id(2)
    end = tl.load(starts + k + 1)
    begin = tl.load(starts + k) + part * chunk
    if part == 0 or begin < end:  # the first chunk writes zeros if an offset has no pairs
        end = tl.minimum(end, begin + chunk)
        total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for first in range(begin, end, BLOCK_K):
            pairs = first + tl.arange(0, BLOCK_K)
            inside = pairs < end
            sources = tl.load(in_rows + pairs, mask=inside, other=0).to(tl.int64)
            targets = tl.load(out_rows + pairs, mask=inside, other=0).to(tl.int64)
            a = tl.load(
                x + sources[:, None] * CI + i[None, :],
                mask=inside[:, None] & (i < CI)[None, :],
                other=0.0,
            )
            b = tl.load(
                grad + targets[:, None] * CO + o[None, :],
                mask=inside[:, None] & (o < CO)[None, :],
                other=0.0,
            )
            if WIDEN:
                a, b = a.to(tl.float32), b.to(tl.float32)
            total = tl.dot(tl.trans(a), b, total, input_precision=PRECISION)
        matrix = (part * VOLUME + k).to(tl.int64) * (CI * CO)
        tl.store(
            partials + matrix + i[:, None] * CO + o[None, :],
            total,
            mask=(i < CI)[:, None] & (o < CO)[None, :],
        )


@triton.jit
def sum_chunks(
    partials,  # (chunks, K, SIZE) fp32
    out,  # (K, SIZE)
    starts,
    chunk,
    VOLUME: tl.constexpr,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The sum of the chunks that an offset has. Chunks beyond were never written."""
    k = tl.program_id(0)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    pairs = tl.load(starts + k + 1) - tl.load(starts + k)
    used = tl.maximum((pairs + chunk - 1) // chunk, 1)
    total = tl.zeros((BLOCK,), tl.float32)
    for part in range(used):
        matrix = (part * VOLUME + k).to(tl.int64) * SIZE
        total += tl.load(partials + matrix + at, mask=at < SIZE, other=0.0)
    tl.store(out + k * SIZE + at, total.to(out.dtype.element_ty), mask=at < SIZE)
