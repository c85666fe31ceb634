"""The kernels. A program scans all points for one head of one scene and some of its states.

Programs share no result: each writes its part of a sum, and the engine adds the parts.
"""

# mypy: allow-untyped-defs, allow-untyped-decorators

import triton
import triton.language as tl


@triton.jit
def _softplus(z):
    """log(1 + exp(z)), exact where exp(z) is far below 1."""
    small = tl.exp(tl.minimum(z, 20.0))
    rounded = 1.0 + small
    seen = rounded - 1.0  # what of exp(z) is left in the sum
    log = tl.where(seen == 0.0, small, tl.log(rounded) * small / tl.where(seen == 0.0, 1.0, seen))
    return tl.where(z > 20.0, z, log)


@triton.jit
def _step(
    gates,  # (B, L, H, K)
    steps,  # (B, L, H)
    near,  # (B, L, K)
    inputs,  # (B, L, K)
    rate,
    row,  # b * L + t
    head,
    heads,
    states,
    k,
):
    """What one point does to states k: logit, nearness, step size, decay, factor of x."""
    inside = k < states
    z = tl.load(gates + (row * heads + head) * states + k, mask=inside, other=0.0)
    z += tl.load(steps + row * heads + head)
    close = tl.load(near + row * states + k, mask=inside, other=0.0)
    delta = _softplus(z) * close
    b = tl.load(inputs + row * states + k, mask=inside, other=0.0)
    return z, close, delta, tl.exp(delta * rate), b


@triton.jit
def scan(
    x,  # (B, L, H, P)
    gates,
    steps,
    near,
    inputs,
    outputs,  # (B, L, K)
    rates,  # (H,)
    state,  # (B, H, P, K)
    y,  # (parts of the states, B, L, H, P)
    after,  # (B, H, P, K)
    stored,  # (B, H, chunks, P, K)
    batches,
    points,
    heads,
    channels,
    states,
    first,  # the first point
    stride,  # from one point to the next, 1 or -1
    CHUNK: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    own = tl.program_id(0).to(tl.int64)  # b * H + head
    batch, head = own // heads, own % heads
    part = tl.program_id(1).to(tl.int64)
    p = tl.arange(0, BLOCK_P)
    k = part * BLOCK_K + tl.arange(0, BLOCK_K)
    inside = (p < channels)[:, None] & (k < states)[None, :]
    tile = (own * channels + p)[:, None] * states + k[None, :]
    chunks = (points + CHUNK - 1) // CHUNK
    stored += own * (chunks - 1) * channels * states  # so that tile 0 is that of chunk 0
    rate = tl.load(rates + head)
    h = tl.load(state + tile, mask=inside, other=0.0)
    for i in range(points):
        if i % CHUNK == 0:
            tl.store(stored + tile, h, mask=inside)
            stored += channels * states
        row = batch * points + first + i * stride
        place = (row * heads + head) * channels + p
        value = tl.load(x + place, mask=p < channels, other=0.0)
        _, _, delta, decay, b = _step(gates, steps, near, inputs, rate, row, head, heads, states, k)
        c = tl.load(outputs + row * states + k, mask=k < states, other=0.0)
        h = h * decay[None, :] + value[:, None] * (delta * b)[None, :]
        out = y + part * batches * points * heads * channels + place
        tl.store(out, tl.sum(h * c[None, :], 1), mask=p < channels)
    tl.store(after + tile, h, mask=inside)


@triton.jit
def gradients(
    x,
    gates,
    steps,
    near,
    inputs,
    outputs,
    rates,
    stored,
    grad_y,  # (B, L, H, P)
    grad_after,  # (B, H, P, K)
    scratch,  # (programs, CHUNK, BLOCK_P, BLOCK_K)
    grad_x,  # (parts of the states, B, L, H, P)
    grad_gates,  # (B, L, H, K)
    grad_inputs,  # (B, L, H, K), of each head
    grad_outputs,  # (B, L, H, K), of each head
    grad_rates,  # (parts of the states, B, H)
    grad_state,  # (B, H, P, K)
    batches,
    points,
    heads,
    channels,
    states,
    first,
    stride,
    CHUNK: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Chunk by chunk from the last, whose states are computed again from the stored one."""
    own = tl.program_id(0).to(tl.int64)
    batch, head = own // heads, own % heads
    part = tl.program_id(1).to(tl.int64)
    p = tl.arange(0, BLOCK_P)
    k = part * BLOCK_K + tl.arange(0, BLOCK_K)
    inside = (p < channels)[:, None] & (k < states)[None, :]
    tile = (own * channels + p)[:, None] * states + k[None, :]
    chunks = (points + CHUNK - 1) // CHUNK
    stored += (own + 1) * (chunks - 1) * channels * states  # so that tile 0 is the last chunk's
    program = own * tl.num_programs(1) + part
    room = scratch + program * CHUNK * BLOCK_P * BLOCK_K
    room += tl.arange(0, BLOCK_P)[:, None] * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
    rate = tl.load(rates + head)
    g = tl.load(grad_after + tile, mask=inside, other=0.0)
    of_rate = tl.zeros((BLOCK_K,), tl.float32)
    for done in range(chunks):
        start = (chunks - 1 - done) * CHUNK
        count = tl.minimum(CHUNK, points - start)
        h = tl.load(stored + tile, mask=inside, other=0.0)
        stored -= channels * states
        for j in range(count):
            tl.store(room + j * BLOCK_P * BLOCK_K, h)
            row = batch * points + first + (start + j) * stride
            place = (row * heads + head) * channels + p
            value = tl.load(x + place, mask=p < channels, other=0.0)
            _, _, delta, decay, b = _step(
                gates, steps, near, inputs, rate, row, head, heads, states, k
            )
            h = h * decay[None, :] + value[:, None] * (delta * b)[None, :]
        tl.debug_barrier()  # all states are stored before they are read
        for back in range(count):
            j = count - 1 - back
            row = batch * points + first + (start + j) * stride
            place = (row * heads + head) * channels + p
            value = tl.load(x + place, mask=p < channels, other=0.0)
            z, close, delta, decay, b = _step(
                gates, steps, near, inputs, rate, row, head, heads, states, k
            )
            c = tl.load(outputs + row * states + k, mask=k < states, other=0.0)
            into = tl.load(grad_y + place, mask=p < channels, other=0.0)
            before = tl.load(room + j * BLOCK_P * BLOCK_K)
            after = before * decay[None, :] + value[:, None] * (delta * b)[None, :]
            g += into[:, None] * c[None, :]
            of_given = tl.sum(value[:, None] * g, 0)
            of_exponent = tl.sum(before * g, 0) * decay
            of_delta = of_exponent * rate + of_given * b
            of_rate += of_exponent * delta
            of_x = tl.sum(g * (delta * b)[None, :], 1)
            at = (row * heads + head) * states + k
            gate = of_delta * close / (1.0 + tl.exp(-z))
            tl.store(grad_gates + at, gate, mask=k < states)
            tl.store(grad_inputs + at, of_given * delta, mask=k < states)
            tl.store(grad_outputs + at, tl.sum(into[:, None] * after, 0), mask=k < states)
            out = grad_x + part * batches * points * heads * channels + place
            tl.store(out, of_x, mask=p < channels)
            g = g * decay[None, :]
        tl.debug_barrier()  # all states are read before the next chunk's are stored
    tl.store(grad_rates + part * batches * heads + own, tl.sum(of_rate, 0))
    tl.store(grad_state + tile, g, mask=inside)
