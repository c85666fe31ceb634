"""Area of the intersection of two rotated rectangles, exact, vectorised and differentiable.

Seen from rectangle A, B's outline is pushed into A: every point of it moves to the nearest point of
A. Pushing a closed curve onto a half plane keeps the area that it winds around inside that half
plane, so by Green's theorem the area of the intersection is the integral of clamp(x) over
clamp(y) along B's four edges, in closed form. Nothing has to be sorted, and no case is special:
the result is continuous in both rectangles, so coincident edges and shared corners need no
tie-breaking. (Clipping edges against half planes, the usual way, loses or doubles an edge there.)
"""

from __future__ import annotations

import torch
from torch import Tensor

# Shorter than this (metres) counts as no length where a length divides; see `_safe`.
_NO_LENGTH = 1e-12
# B's corners counter-clockwise, in half sizes.
_CORNERS = ((1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0))


def footprint_intersection(a: Tensor, b: Tensor) -> Tensor:
    """Area (m²) that the footprints of boxes `(…, 7)` share, seen from above; `(…)`, float64.

    The shapes broadcast. Exact up to rounding; gradients are finite everywhere, also where the
    area has a kink (coincident edges).
    """
    a, b = a.double(), b.double()
    width, depth = a[..., 3] / 2, a[..., 4] / 2
    x, y = _corners_seen_from(a, b)
    x_next, y_next = x.roll(-1, 0), y.roll(-1, 0)
    rise = _safe(y_next - y)
    # The part of each edge with |y| below A's half depth; the rest is pushed onto one y.
    bottom = torch.clamp(y, -depth, depth)
    top = torch.clamp(y_next, -depth, depth)
    slope = (x_next - x) / rise
    start = x + (bottom - y) * slope
    end = x_next - (y_next - top) * slope
    parts = (_mean_clamped(start, end, width) * (top - bottom)).unbind(0)
    return (parts[0] + parts[1] + parts[2] + parts[3]).clamp(min=0)


def _corners_seen_from(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """x and y, each `(4, …)`, of B's corners in the frame with A's centre and A's axes.

    The corners come first, so that every operation runs along the boxes; counter-clockwise.
    """
    cos, sin = torch.cos(a[..., 6]), torch.sin(a[..., 6])
    dx, dy = b[..., 0] - a[..., 0], b[..., 1] - a[..., 1]
    x, y = dx * cos + dy * sin, dy * cos - dx * sin
    turn = b[..., 6] - a[..., 6]
    cos, sin = torch.cos(turn), torch.sin(turn)
    width, depth = b[..., 3] / 2, b[..., 4] / 2
    along_x, along_y = width * cos, width * sin
    across_x, across_y = depth * sin, depth * cos
    right, left = x + along_x, x - along_x
    up, down = y + along_y, y - along_y
    return (
        torch.stack([right - across_x, left - across_x, left + across_x, right + across_x]),
        torch.stack([up + across_y, down + across_y, down - across_y, up - across_y]),
    )


def _mean_clamped(start: Tensor, end: Tensor, limit: Tensor) -> Tensor:
    """Mean of clamp(x, -limit, limit) for x uniform between `start` and `end`."""
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    length = _safe(high - low)
    below = ((-limit - low) / length).clamp(0, 1)  # share of the segment left of -limit
    above = ((high - limit) / length).clamp(0, 1)
    inside = (torch.clamp(low, -limit, limit) + torch.clamp(high, -limit, limit)) / 2
    return inside + above * (limit - inside) - below * (limit + inside)


def _safe(length: Tensor) -> Tensor:
    """The length, or 1 where there is none: every quotient that uses it is then multiplied by 0."""
    return torch.where(length.abs() > _NO_LENGTH, length, 1.0)
