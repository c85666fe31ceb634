"""An inspection as plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from sr3d.data.inspection.facts import Inspection, SplitFacts, Triple
from sr3d.text_tables import text_table

WIDTH, NAME = 100, 20  # maximum width of a line, and of a name in a table, in letters


def describe(inspection: Inspection, contents: str = "") -> str:
    """Plain text of at most 100 letters a line: facts, classes and suspicions.

    contents: a line on the contents of the scenes.
    """
    kind = "boxes with a yaw" if inspection.rotated else "axis-aligned boxes"
    about = {
        "folder": inspection.folder,
        "data set": f"{inspection.dataset}, {kind}",
        "source": inspection.source,
        "digest": inspection.digest,
        "labels": inspection.labels,
        "contents": contents,
        "left out": _counted(inspection.left_out),
        "deviations": inspection.deviations,
    }
    lines = []
    for name, value in about.items():
        if value:
            lines += _wrapped(f"{name:<12}", _plain(value))
    for i in range(0, len(inspection.splits), 2):  # as many as fit side by side
        pair = inspection.splits[i : i + 2]
        lines += ["", *text_table(_overview(pair)), "", *text_table(_class_rows(pair))]
    lines.append("")
    if not inspection.suspicions:
        return "\n".join([*lines, "Nothing suspicious."]) + "\n"
    lines.append("Suspicious:")
    for sentence in inspection.suspicions:
        lines += _wrapped("- ", sentence)
    return "\n".join(lines) + "\n"


def _overview(splits: Sequence[SplitFacts]) -> list[list[str]]:
    rows: tuple[tuple[str, Callable[[SplitFacts], str]], ...] = (
        ("split", lambda s: _short(s.name)),
        ("scenes", lambda s: f"{s.scenes:,}"),
        ("  without a box", lambda s: f"{len(s.without_boxes):,}"),
        ("  with NaN or infinity", lambda s: f"{len(s.not_finite):,}"),
        ("  up along x, y, z", lambda s: ", ".join(map(str, s.up))),
        ("points", lambda s: f"{s.points:,}"),
        ("  least, median, most", lambda s: " ".join(f"{n:,.0f}" for n in s.points_a_scene)),
        ("  median extents (m)", lambda s: _size(s.extents)),
        ("  red", lambda s: _shades(s, 0)),
        ("  green", lambda s: _shades(s, 1)),
        ("  blue", lambda s: _shades(s, 2)),
        ("boxes", lambda s: f"{s.boxes:,}"),
        ("  without points inside", lambda s: f"{len(s.without_points):,}"),
        ("  outside the points", lambda s: f"{len(s.outside):,}"),
    )
    return [[name, *map(cell, splits)] for name, cell in rows]


def _shades(split: SplitFacts, channel: int) -> str:
    least, mean, most = (color[channel] for color in split.colors)
    return f"{least:.3g} to {most:.3g}, mean {mean:.3g}"


def _class_rows(splits: Sequence[SplitFacts]) -> list[list[str]]:
    """Three columns a split. The column `empty` counts boxes without points inside."""
    over, head = [""], ["class"]
    for split in splits:
        over += ["", "", _short(split.name)]
        head += ["boxes", "empty", "median size (m)"]
    rows = [over, head]
    for facts in zip(*(split.classes for split in splits), strict=True):
        rows.append([_short(facts[0].name)])
        for one in facts:
            size = _size(one.median_size) if one.median_size else "–"
            rows[-1] += [str(one.boxes), str(one.without_points), size]
    return rows


def _size(lengths: Triple) -> str:
    return " × ".join(f"{v:.2f}" if v < 1000 else f"{v:.0f}" for v in lengths)


def _short(name: str) -> str:
    return name if len(name) <= NAME else name[: NAME - 1] + "…"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_plain(item)}" for name, item in value.items())
    return "; ".join(map(_plain, value)) if isinstance(value, (list, tuple)) else str(value)


def _counted(value: Any) -> str:
    """A text as it is, or the number of several things and the first three."""
    if not value or isinstance(value, str):
        return value or ""
    first = dict(list(value.items())[:3]) if isinstance(value, dict) else list(value)[:3]
    return f"{len(value)}: {_plain(first)}" + "; …" * (len(value) > 3)


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
