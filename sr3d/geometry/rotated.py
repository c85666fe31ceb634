"""Area of the intersection of two rotated rectangles, exact, vectorised and differentiable.

Seen from rectangle A, the outline of B is clamped into A: every point moves to the nearest point of
A. Clamping a closed curve to a half plane keeps the area that it encloses inside that half plane.
So by Green's theorem the area of the intersection is the integral of clamp(x) over clamp(y) along
the four edges of B, in closed form. It needs no sorting and no special cases: the result is
continuous in both rectangles, so coincident edges and shared corners need no tie-breaking. (The
usual clipping of edges against half planes loses or doubles an edge there.)
"""

from __future__ import annotations

import torch
from torch import Tensor

# Shorter lengths (metres) count as no length in a division, see `_safe`.
_NO_LENGTH = 1e-12


def footprint_intersection(a: Tensor, b: Tensor) -> Tensor:
    """Area (m²) of the intersection of the footprints of boxes `(…, 7)`, `(…)`, float64.

    The shapes broadcast. Exact up to rounding. Gradients are finite everywhere, also at a kink of
    the area (coincident edges).
    """
    a, b = a.double(), b.double()
    width, depth = a[..., 3] / 2, a[..., 4] / 2
    x, y = _corners_seen_from(a, b)
    x_next, y_next = x.roll(-1, 0), y.roll(-1, 0)
    rise = _safe(y_next - y)
    # The part of each edge with |y| below A's half depth. The rest is clamped to one y.
    bottom = torch.clamp(y, -depth, depth)
    top = torch.clamp(y_next, -depth, depth)
    slope = (x_next - x) / rise
    start = x + (bottom - y) * slope
    end = x_next - (y_next - top) * slope
    parts = (_mean_clamped(start, end, width) * (top - bottom)).unbind(0)
    return (parts[0] + parts[1] + parts[2] + parts[3]).clamp(min=0)


def _corners_seen_from(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """x and y, each `(4, …)`, of B's corners in the frame of A, counter-clockwise.

    The dimension of corners comes first, so every operation runs along the boxes.
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
    """The length, or 1 if it is zero. Every quotient with it is then multiplied by 0."""
    return torch.where(length.abs() > _NO_LENGTH, length, 1.0)
