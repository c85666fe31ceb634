"""How figures look: readable in grey and without colour vision, the same bytes every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sr3d.files import atomic_path

# Okabe and Ito's colours, dark to light as far as they go; never the only difference.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_RC: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "sr3d",
}
GREY = "#767676"


class Look(NamedTuple):
    """What sets one setting apart from the others in a figure."""

    color: str
    marker: str
    line: Any


def look(index: int) -> Look:
    """The look of the index-th setting; marker and line together stay distinct for 49."""
    return Look(_COLORS[index % 7], _MARKERS[index % 7], _LINES[(index + index // 7) % len(_LINES)])


def panels(
    rows: int, columns: int, width: float, height: float, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of equal panels, in inches over all."""
    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [list(row) for row in axes]


def save(figure: Figure, out: Path, name: str) -> tuple[Path, Path]:
    """Write `{name}.svg` and `{name}.png`, each whole or not at all."""
    paths = out / f"{name}.svg", out / f"{name}.png"
    with matplotlib.rc_context(_RC):
        with atomic_path(paths[0]) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
        with atomic_path(paths[1]) as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    return paths


def errors(
    centre: Sequence[float], intervals: Sequence[tuple[float, float] | None]
) -> list[list[float]]:
    """Lengths below and above for error bars; none where there is no interval."""
    pairs = [pair or (c, c) for c, pair in zip(centre, intervals, strict=True)]
    return [
        [c - low for c, (low, _) in zip(centre, pairs, strict=True)],
        [high - c for c, (_, high) in zip(centre, pairs, strict=True)],
    ]
