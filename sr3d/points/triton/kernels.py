"""The kernels. Launch them without fused multiply-adds, which would change chosen indices."""

# mypy: allow-untyped-defs, allow-untyped-decorators

import triton
import triton.language as tl


@triton.jit
def furthest_points(
    points,  # (B, 3, N)
    distance,  # (B, N) squared, to the points chosen so far. Negative: never choose
    chosen,  # (B, count), zero at first
    number,  # N
    count,
    BLOCK: tl.constexpr,
):
    """One program per cloud, because each step needs the result of the step before."""
    batch = tl.program_id(0).to(tl.int64)
    x = points + batch * 3 * number
    distance += batch * number
    last = tl.program_id(0) * 0
    for step in range(1, count):
        centre_x = tl.load(x + last)
        centre_y = tl.load(x + number + last)
        centre_z = tl.load(x + 2 * number + last)
        best = tl.full((BLOCK,), -2.0, tl.float32)
        best_at = tl.zeros((BLOCK,), tl.int32)
        for start in range(0, number, BLOCK):
            at = start + tl.arange(0, BLOCK)
            dx = tl.load(x + at, mask=at < number, other=0.0) - centre_x
            dy = tl.load(x + number + at, mask=at < number, other=0.0) - centre_y
            dz = tl.load(x + 2 * number + at, mask=at < number, other=0.0) - centre_z
            least = tl.load(distance + at, mask=at < number, other=-1.0)
            least = tl.minimum(least, (dx * dx + dy * dy) + dz * dz)
            tl.store(distance + at, least, mask=at < number)
            better = least > best  # the first of equals wins
            best = tl.where(better, least, best)
            best_at = tl.where(better, at, best_at)
        last = tl.min(tl.where(best == tl.max(best, 0), best_at, number), 0)
        tl.store(chosen + batch * count + step, last)
        tl.debug_barrier()  # distances are stored before the next step reads them


@triton.jit
def ball_query(
    points,  # (B, 3, N)
    centres,  # (B, 3, M)
    found,  # (B, M, count)
    limit,  # squared radius
    number,  # N
    balls,  # M
    count,
    SLOTS: tl.constexpr,  # count, rounded up to a power of two
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """A program scans the points for some centres, until all of them have enough."""
    batch = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    x = points + batch * 3 * number
    centre = centres + batch * 3 * balls + rows
    centre_x = tl.load(centre, mask=rows < balls, other=0.0)[:, None]
    centre_y = tl.load(centre + balls, mask=rows < balls, other=0.0)[:, None]
    centre_z = tl.load(centre + 2 * balls, mask=rows < balls, other=0.0)[:, None]
    out = found + (batch * balls + rows)[:, None] * count
    total = tl.where(rows < balls, 0, count)
    first = tl.full((BLOCK_M,), -1, tl.int32)
    start = tl.program_id(0) * 0
    while (start < number) & (tl.min(total, 0) < count):
        at = start + tl.arange(0, BLOCK_N)
        dx = centre_x - tl.load(x + at, mask=at < number, other=0.0)[None, :]
        dy = centre_y - tl.load(x + number + at, mask=at < number, other=0.0)[None, :]
        dz = centre_z - tl.load(x + 2 * number + at, mask=at < number, other=0.0)[None, :]
        inside = ((dx * dx + dy * dy) + dz * dz < limit) & (at < number)[None, :]
        rank = total[:, None] + tl.cumsum(inside.to(tl.int32), 1) - 1
        wanted = inside & (rank < count) & (rows < balls)[:, None]
        tl.store(out + rank, at[None, :].to(tl.int64), mask=wanted)
        hit = tl.min(tl.where(inside, at[None, :], number), 1)
        first = tl.where((first < 0) & (hit < number), hit, first)
        total += tl.sum(inside.to(tl.int32), 1)
        start += BLOCK_N
    slot = tl.arange(0, SLOTS)[None, :]
    padded = (slot >= total[:, None]) & (slot < count) & (rows < balls)[:, None]
    tl.store(out + slot, first[:, None].to(tl.int64), mask=padded)


@triton.jit
def nearest(
    points,  # (B, 3, N)
    queries,  # (B, 3, M)
    distance,  # (B, M, k)
    index,  # (B, M, k)
    number,  # N
    rows_total,  # M
    K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """K scans of the points. Each finds the first point after the one of the scan before."""
    batch = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    x = points + batch * 3 * number
    query = queries + batch * 3 * rows_total + rows
    query_x = tl.load(query, mask=rows < rows_total, other=0.0)[:, None]
    query_y = tl.load(query + rows_total, mask=rows < rows_total, other=0.0)[:, None]
    query_z = tl.load(query + 2 * rows_total, mask=rows < rows_total, other=0.0)[:, None]
    out = (batch * rows_total + rows) * K
    before = tl.full((BLOCK_M,), -1.0, tl.float32)
    before_at = tl.full((BLOCK_M,), -1, tl.int32)
    for rank in range(K):
        best = tl.full((BLOCK_M,), float("inf"), tl.float32)
        best_at = tl.zeros((BLOCK_M,), tl.int32)
        for start in range(0, number, BLOCK_N):
            at = start + tl.arange(0, BLOCK_N)
            dx = query_x - tl.load(x + at, mask=at < number, other=0.0)[None, :]
            dy = query_y - tl.load(x + number + at, mask=at < number, other=0.0)[None, :]
            dz = query_z - tl.load(x + 2 * number + at, mask=at < number, other=0.0)[None, :]
            squared = (dx * dx + dy * dy) + dz * dz
            level = (squared == before[:, None]) & (at[None, :] > before_at[:, None])
            ahead = ((squared > before[:, None]) | level) & (at < number)[None, :]
            squared = tl.where(ahead, squared, float("inf"))
            least = tl.min(squared, 1)
            least_at = tl.min(tl.where(squared == least[:, None], at[None, :], number), 1)
            better = least < best  # the first of equals wins
            best = tl.where(better, least, best)
            best_at = tl.where(better, least_at, best_at)
        tl.store(distance + out + rank, best, mask=rows < rows_total)
        tl.store(index + out + rank, best_at.to(tl.int64), mask=rows < rows_total)
        before, before_at = best, best_at
