"""What the CUDA kernels of the point-based detectors do, one thread and one point at a time."""

import numpy as np


def squared_distance(a, b):
    """float32 throughout, each product and sum rounded."""
    x, y, z = np.float32(a) - np.float32(b)
    return np.float32(np.float32(x * x + y * y) + z * z)


def furthest_points(cloud, count, skip_origin=True, threads=None):
    """A block of `threads` reduces in a tree, where the lower slot wins. None: the lowest index."""
    block = 1
    while threads and block * 2 <= min(len(cloud), threads):
        block *= 2
    least = [np.float32(1e10)] * len(cloud)
    skipped = [skip_origin and squared_distance(p, (0, 0, 0)) <= np.float32(1e-3) for p in cloud]
    chosen = [0]
    while len(chosen) < count:
        slots = []
        for thread in range(block):
            best, best_at = np.float32(-1), 0
            for k in range(thread, len(cloud), block):
                if skipped[k]:
                    continue
                least[k] = min(least[k], squared_distance(cloud[k], cloud[chosen[-1]]))
                if least[k] > best:
                    best, best_at = least[k], k
            slots.append((best, best_at))
        half = block // 2
        while half:
            for slot in range(half):
                if slots[slot + half][0] > slots[slot][0]:
                    slots[slot] = slots[slot + half]
            half //= 2
        chosen.append(slots[0][1])
    return chosen


def ball_query(cloud, centres, radius, count):
    """-1 in a ball without points."""
    limit = np.float32(radius) * np.float32(radius)
    rows = []
    for centre in centres:
        hits = [k for k, point in enumerate(cloud) if squared_distance(centre, point) < limit]
        rows.append((hits[:count] + [hits[0]] * count)[:count] if hits else [-1] * count)
    return rows


def nearest(cloud, queries, k):
    """Pairs (squared distance, index)."""
    missing = [(np.inf, 0)] * k
    return [
        (sorted((squared_distance(q, p), i) for i, p in enumerate(cloud)) + missing)[:k]
        for q in queries
    ]
