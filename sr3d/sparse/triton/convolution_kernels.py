"""Implicit-GEMM kernels of the sparse convolution: forward, input gradient and epilogue.

Pointers are named after their tensors. Every matrix is row-major. `tables` describes the tables
that the main kernel reads. Sizes that differ between scenes are not specialised
(`do_not_specialize`), because a scene with a multiple of 16 rows would be compiled again.
"""

# mypy: allow-untyped-defs, allow-untyped-decorators

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["n_out", "tiles"])
def convolution(
    x,  # (n_in, CI)
    weight,  # (K, CI, CO) by its strides, so a transposed view needs no copy
    out,  # (n_out, CO), or (groups, n_out, CO) partial sums in fp32
    order,  # (groups, padded) output rows in the order of the tiles, n_out for padding
    lists,  # (groups · tiles, PER_GROUP) live offsets of each tile
    counts,  # (groups · tiles,) number of live offsets
    sources,  # (groups · tiles, PER_GROUP, BLOCK_M) input rows at those offsets, -1 if missing
    scale,  # (CO,) or None
    shift,  # (CO,) or None
    residual,  # (n_out, CO) or None
    n_out,
    padded,
    tiles,
    stride_k,
    stride_i,
    stride_o,
    CI: tl.constexpr,
    CO: tl.constexpr,
    VOLUME: tl.constexpr,
    PER_GROUP: tl.constexpr,
    MIRRORED: tl.constexpr,  # take weight[K-1-k] for offset k
    PARTIAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,  # the interpreter cannot multiply bfloat16
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One tile of output rows times one block of output channels, over the tile's live offsets.

    The channel blocks of a tile are neighbours in launch order, so they find the rows that the
    first block gathered in L2.
    """
    column_blocks: tl.constexpr = (CO + BLOCK_N - 1) // BLOCK_N
    channel_blocks: tl.constexpr = (CI + BLOCK_K - 1) // BLOCK_K
    tile = tl.program_id(0) // column_blocks
    columns = (tl.program_id(0) % column_blocks) * BLOCK_N + tl.arange(0, BLOCK_N)
    lane = tl.arange(0, BLOCK_M)
    lists += tile * PER_GROUP
    sources += tile.to(tl.int64) * (PER_GROUP * BLOCK_M)
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)

    # One flat loop over (live offset, channel block), so loads run ahead across offsets too.
    for step in range(tl.load(counts + tile) * channel_blocks):
        k = tl.load(lists + step // channel_blocks)
        rows = tl.load(sources + (step // channel_blocks) * BLOCK_M + lane)
        channels = (step % channel_blocks) * BLOCK_K + tl.arange(0, BLOCK_K)
        present = (rows >= 0)[:, None]
        if CI % BLOCK_K != 0:
            present = present & (channels < CI)[None, :]
        a = tl.load(
            x + rows.to(tl.int64)[:, None] * CI + channels[None, :], mask=present, other=0.0
        )
        where = (VOLUME - 1 - k) if MIRRORED else k
        tap = weight + where * stride_k + channels[:, None] * stride_i + columns[None, :] * stride_o
        if CI % BLOCK_K == 0 and CO % BLOCK_N == 0:
            b = tl.load(tap)
        else:
            b = tl.load(tap, mask=(channels < CI)[:, None] & (columns < CO)[None, :], other=0.0)
        if WIDEN:
            a, b = a.to(tl.float32), b.to(tl.float32)
        total = tl.dot(a, b, total, input_precision=PRECISION)

    group = tile // tiles
    rows = tl.load(order + group * padded + (tile % tiles) * BLOCK_M + lane)
    inside = (rows < n_out)[:, None] & (columns < CO)[None, :]
    if PARTIAL:
        at = (group.to(tl.int64) * n_out + rows)[:, None] * CO + columns[None, :]
        tl.store(out + at, total, mask=inside)
    else:
        at = rows.to(tl.int64)[:, None] * CO + columns[None, :]
        channel = columns[None, :]
        total = _finish(
            total, at, channel, inside, channel < CO, scale, shift, residual, ACTIVATION
        )
        tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["size"])
def sum_groups(
    partials,  # (GROUPS, size) fp32
    out,  # (size,)
    scale,
    shift,
    residual,
    size,
    CO: tl.constexpr,
    GROUPS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The sum of the groups' partial sums, in order, then the epilogue."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    total = tl.zeros((BLOCK,), tl.float32)
    for _ in tl.static_range(GROUPS):
        total += tl.load(partials + at, mask=inside, other=0.0)
        partials += size
    total = _finish(total, at, at % CO, inside, inside, scale, shift, residual, ACTIVATION)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _finish(total, at, channel, inside, real, scale, shift, residual, ACTIVATION: tl.constexpr):
    """activation(total · scale + shift + residual), in fp32. `real` masks the channels."""
    if scale is not None:
        total = total * tl.load(scale + channel, mask=real, other=0.0).to(tl.float32)
    if shift is not None:
        total = total + tl.load(shift + channel, mask=real, other=0.0).to(tl.float32)
    if residual is not None:
        total = total + tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    if ACTIVATION == "relu":
        total = tl.where(total > 0, total, 0.0)
    elif ACTIVATION == "elu":
        total = tl.where(total > 0, total, tl.exp(tl.minimum(total, 0.0)) - 1.0)
    return total
