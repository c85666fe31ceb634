"""The style of figures: readable in grey and without colour vision, and bitwise reproducible.

A setting has the same name and look in every figure.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageColor

from sr3d.runs.files import write_bytes, write_text
from sr3d.study.report.figures.canvas import Estimate
from sr3d.study.report.paper import Paper, labels_of

WIDTH = 8.0  # inches of every figure, so that text has one size on a page
SMALL = 8  # points, the smallest letters
GREY = "#6b6b6b"
INK_ON_PICTURE = "#111111"  # of text on an embedded picture, which dark mode does not change
# Colours in an SVG and their substitutes in dark mode, as on the page. The other colours have
# enough contrast on both backgrounds.
_DARK = {
    "#ffffff": "#16181b", "#000000": "#e4e2dd", "#404040": "#c8c6c1", GREY: "#a9adb2",
    "#e4e4e4": "#3a3e44",
}  # fmt: skip
_STYLE_END = "</style>"
_DPI = 160  # of PNGs, and of clouds of dots inside SVGs
_EXACT = 64  # the maximum number of colours of a PNG that stay unchanged
# Okabe and Ito's colours without yellow, which is invisible on white. Markers differ as well.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d")
_LINES: tuple[Any, ...] = (
    "-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 4)), (0, (10, 3)),
    (0, (8, 2, 1, 2, 1, 2)), (0, (1, 4)),
)  # fmt: skip
_RC: Any = {
    "font.size": 9,
    # A font family with alternatives, because the reader of the SVG may lack the first.
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica", "sans-serif"],
    "axes.titlesize": 9,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "lines.markersize": 5,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "svg.fonttype": "none",
    "svg.hashsalt": "sr3d",
}


class Look(NamedTuple):
    """The look that distinguishes a setting from the others."""

    color: str
    marker: str
    line: Any


def look(index: int) -> Look:
    """The look of the index-th setting. Marker and line together are unique up to 104 settings."""
    # 13 markers and 8 lines have no common factor, so both can advance together.
    return Look(
        _COLORS[index % len(_COLORS)],
        _MARKERS[index % len(_MARKERS)],
        _LINES[index % len(_LINES)],
    )


@contextmanager
def styled() -> Iterator[None]:
    """Figures are made and written in this style within the block."""
    with matplotlib.rc_context(_RC):
        yield


def new_figure(height: float) -> Figure:
    """An empty figure, `height` inches high."""
    return Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")


def grid(figure: Figure, rows: int, columns: int, **options: Any) -> list[list[Axes]]:
    """Equal panels."""
    return [list(row) for row in figure.subplots(rows, columns, squeeze=False, **options)]


def draw_estimate(
    axes: Axes, x: float, estimate: Estimate, look: Look, upright: bool = True
) -> None:
    """Draw a mean at `x` with its interval as a bar. Without an interval the mark is hollow.

    upright: values go up. If False, they go to the right, and `x` is the height.
    """
    places = [x], [estimate.mean]
    ends: tuple[Any, Any] = ([x, x], estimate.interval)
    if not upright:
        places, ends = places[::-1], ends[::-1]
    if estimate.interval is not None:
        axes.plot(*ends, color=look.color, linewidth=1.4, marker="_" if upright else "|")
    axes.plot(
        *places, look.marker, color=look.color, zorder=3,
        markerfacecolor="white" if estimate.interval is None else look.color,
    )  # fmt: skip


def epoch_ticks(axes: Axes) -> None:
    """Ticks at whole numbers on the horizontal axis."""
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def spans_decades(values: list[float]) -> bool:
    """Whether positive values are better shown on a logarithmic axis."""
    return min(values) > 0 and max(values) > 10 * min(values)


def number_ticks(axes: Axes, ticks: list[float]) -> None:
    """Exactly these ticks on the horizontal axis, as plain numbers."""
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def round_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within a positive range, ends included."""
    every = [m * 10.0**e for e, m in product(range(-4, 8), (1, 2, 5))]
    return [tick for tick in every if low <= tick <= high]


def save(figure: Figure, out: Path, name: str, dark: bool = True) -> tuple[Path, Path]:
    """Write `{name}.svg` and `{name}.png`, each atomically.

    dark: whether the SVG has dark colours for readers who prefer them.
    """
    svg, png = out / f"{name}.svg", out / f"{name}.png"
    drawing = io.StringIO()
    figure.savefig(drawing, format="svg", dpi=_DPI, metadata={"Date": None, "Creator": None})
    write_text(svg, with_dark_mode(drawing.getvalue()) if dark else drawing.getvalue())
    pixels = io.BytesIO()
    figure.savefig(pixels, format="png", dpi=_DPI, pil_kwargs={"compress_level": 1})
    lines = {to_hex(line.get_color()) for line in figure.findobj(Line2D)}
    picture, small = few_colors(Image.open(pixels).convert("RGB"), sorted(lines)), io.BytesIO()
    picture.save(small, format="png", optimize=True)
    write_bytes(png, small.getbuffer())
    return svg, png


def with_dark_mode(svg: str) -> str:
    """An SVG of matplotlib with a style sheet for `prefers-color-scheme: dark`.

    matplotlib writes colours as inline styles and omits black for text.
    """
    rules = [
        f'[style*="{what}: {light}"]{{{what}:{dark} !important}}'
        for light, dark in _DARK.items()
        for what in ("fill", "stroke")
    ]
    rules.append(f'text:not([style*="fill:"]){{fill:{_DARK["#000000"]}}}')
    sheet = f"@media screen and (prefers-color-scheme: dark){{{''.join(rules)}}}"
    before, _, after = svg.partition(_STYLE_END)
    return before + sheet + _STYLE_END + after


def few_colors(picture: Image.Image, exact: Sequence[str]) -> Image.Image:
    """An RGB picture in 256 colours. With drawn points this takes a quarter of the bytes.

    exact: colours of the legend as "#rrggbb", which stay unchanged.
    """
    kept = [ImageColor.getrgb(color) for color in exact[:_EXACT]]
    rest = picture.quantize(256 - len(kept))
    index = np.asarray(rest) + np.uint8(len(kept))
    colors = np.asarray(picture)
    for i, color in enumerate(kept):
        index[(colors == color).all(axis=2)] = i
    few = Image.fromarray(index, "P")
    few.putpalette([value for color in kept for value in color] + (rest.getpalette() or []))
    return few


@dataclass(frozen=True)
class Names:
    """labels: setting -> its printed name, in the order of the paper's tables and figures."""

    labels: dict[str, str]

    def label(self, setting: str) -> str:
        """The printed name, or the setting's name if the paper has none."""
        return self.labels.get(setting, setting)

    def lines(self, setting: str, width: int) -> str:
        """The printed name in lines of at most `width` letters, without breaks in formulas."""
        whole = re.sub(r" ([=−]) ", "\u00a0\\1\u00a0", self.label(setting))
        return textwrap.fill(whole, width, break_long_words=False)

    def look(self, setting: str) -> Look:
        """The look of the setting, the same in every figure."""
        order = list(self.labels)
        return look(order.index(setting) if setting in order else len(order))


def names_of(paper: Paper) -> Names:
    """The names as tables and sweeps of the paper print them (`labels_of`)."""
    return Names(labels_of(paper))
