"""Puts names where they cover neither each other nor points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

Array = npt.NDArray[Any]
Point = tuple[float, float]

# Where a name may stand: points to the right and up of its point, and how it is aligned there.
# The first that is free is taken.
_PLACES = (
    (6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 5, "center", "bottom"),
    (0, -5, "center", "top"), (5, 4, "left", "bottom"), (5, -4, "left", "top"),
    (-5, 4, "right", "bottom"), (-5, -4, "right", "top"),
)  # fmt: skip
_RADIUS = 5.0  # points around a point that names keep off
_OUTSIDE = 10.0  # how much worse it is to leave the panel than to cover something


def place_names(
    axes: Axes,
    points: Sequence[Point],
    names: Sequence[str],
    others: Sequence[Point] = (),
    *,
    size: float,
    color: str,
) -> None:
    """Write each name beside its point, which is drawn already; `others` are to be kept free, too.

    Greedy, from left to right: of eight places the one that covers least. The limits of the axes
    must stand.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # so that the panel has its place
    renderer = canvas.get_renderer()
    radius = _RADIUS * figure.dpi / 72
    inside = axes.get_window_extent()
    taken = [
        Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)
        for x, y in axes.transData.transform([*points, *others])
    ]
    for i in sorted(range(len(points)), key=lambda i: points[i]):
        occupied = [box for j, box in enumerate(taken) if j != i]
        choices = []
        for rank, (right, up, across, along) in enumerate(_PLACES):
            note = axes.annotate(
                names[i], points[i], (right, up), textcoords="offset points", ha=across, va=along,
                fontsize=size, color=color,
            )  # fmt: skip
            note.set_in_layout(False)
            box = note.get_window_extent(renderer)
            out = box.width * box.height - _shared(box, inside)
            cost = sum(_shared(box, other) for other in occupied) + _OUTSIDE * out
            choices.append((cost, rank, note, box))
        best = min(choices, key=lambda choice: choice[:2])
        for choice in choices:
            if choice is not best:
                choice[2].remove()
        taken.append(best[3])


def _shared(a: Bbox, b: Bbox) -> float:
    """The area that two boxes have in common."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)


def place_apart(places: Array, sizes: Array) -> Array:
    """(K, 2) where labels of such sizes (K, 2) stand, each of them on one of its places (K, P, 2).

    Greedy: on the first place where it covers none before it, or else on the one where it covers
    least.
    """
    chosen = np.empty((len(places), 2))
    for i, (own, size) in enumerate(zip(places, sizes, strict=True)):
        reach = (size + sizes[:i]) / 2 - np.abs(own[:, None] - chosen[:i])  # (P, i, 2)
        shared = np.minimum(reach, np.minimum(size, sizes[:i])).clip(min=0)
        chosen[i] = own[shared.prod(axis=2).sum(axis=1).argmin()]
    return chosen
