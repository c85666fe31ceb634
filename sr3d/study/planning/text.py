"""A budget as text: one row a setting, the totals, and where the numbers come from."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from sr3d.study.planning.budget import Budget, Source

_COLUMNS = (
    "data set", "setting", "trainings", "tests", "iterations", "hours a training", "hours in all"
)  # fmt: skip
_UNITS = {"iteration": "an iteration", "scene": "a tested scene", "detections": "a tested scene"}


def describe(plan: Budget) -> str:
    """The table, the totals below it, then notes."""
    rows = [
        (
            line.dataset,
            line.setting,
            _count(line.trainings),
            _count(line.tests),
            _count(line.iterations),
            hours(line.hours_a_training) if line.trainings else "–",
            hours(line.hours),
        )
        for line in plan.lines
    ]
    return "\n".join([*_aligned([_COLUMNS, *rows]), "", *_totals(plan), "", *_notes(plan)])


def hours(value: float) -> str:
    """Three significant digits, without an exponent."""
    digits = 0 if value >= 99.5 else 1 if value >= 9.95 else 2 if value >= 0.995 else 3
    return f"{value:,.{digits}f}"


def size(value: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def _totals(plan: Budget) -> list[str]:
    days = f" ({plan.wall_hours / 24:.1f} days)" if plan.wall_hours >= 48 else ""
    done = f"trainings {plan.done_trainings}, tests {plan.done_tests}; not counted above"
    disk = plan.disk
    parts = (
        f"models {size(disk.models)}, detections {size(disk.detections)}, curves "
        f"{size(disk.curves)}, and checkpoints {size(disk.checkpoints)} while they train"
    )
    return [
        f"jobs        {plan.trainings + plan.tests:,}: {plan.trainings:,} trainings, "
        f"{plan.tests:,} tests",
        f"computing   {hours(plan.compute_hours)} hours",
        f"wall clock  {hours(plan.wall_hours)} hours{days}, {plan.slots} at a time",
        f"disk        {size(disk.total)}: {parts}",
        f"done        {done}",
    ]


def _notes(plan: Budget) -> list[str]:
    scenes = "; ".join(
        f"{name}: {train:,} scenes to train on, {test:,} to test"
        for name, (train, test) in plan.scenes.items()
    )
    notes = [scenes, *(_source(source) for source in plan.sources)]
    if plan.start_seconds:
        notes.append(f"each job: {plan.start_seconds:.1f} s until it computes")
    notes.append(
        "not counted: downloads, preparing data, tables, the MLflow store, and how jobs side by "
        "side on one machine slow each other down"
    )
    return ["Where the numbers come from:"] + [
        fill(note, 100, initial_indent="- ", subsequent_indent="  ") for note in notes
    ]


def _source(source: Source) -> str:
    value = size(source.value) if source.what == "detections" else f"{source.value:.3g} s"
    settings = ", ".join(source.settings)
    return f"{source.dataset}, {value} {_UNITS[source.what]} ({source.source}): {settings}"


def _count(number: int) -> str:
    return f"{number:,}" if number else "–"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
