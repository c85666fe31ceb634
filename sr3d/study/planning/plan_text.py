"""Print a budget as one page: settings by cost, stages, totals, and sources of the numbers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from textwrap import shorten

from sr3d.study.planning.budget import Budget, PlanInput, SettingBudget
from sr3d.text_tables import text_table

WIDTH = 100  # columns of the page
_ROWS = 20  # of the first table. The remaining settings share the last row.
_NAMED = 22  # characters for the names of settings
_UNITS = {"iteration": "training iteration", "scene": "scene", "detections": "scene (detections)"}
_EXAMPLE = "iteration=0.67,scene=0.04,gpus=4,price=2.5"


def describe(plan: Budget, experiment: Path, written: Path) -> str:
    """The page. experiment: the planned file. written: the file with the whole plan."""
    parts = (_settings(plan), _stages(plan), _totals(plan), _origins(plan))
    blocks = ["\n".join(part) for part in parts]
    hint = (
        f"All settings: {written}\n"
        f"To assume other seconds (iteration, scene), GPUs or price per hour, pass for example:\n"
        f"  sr3d plan {experiment} --assume {_EXAMPLE}\n"
        f"  snakemake plan --config assume={_EXAMPLE}"
    )
    return "\n\n".join([*blocks, hint])


def hours(value: float) -> str:
    """Three significant digits, without an exponent."""
    digits = 0 if value >= 99.5 else 1 if value >= 9.95 else 2 if value >= 0.995 else 3
    return f"{value:,.{digits}f}"


def size(value: float) -> str:
    """Bytes in a readable unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def _settings(plan: Budget) -> list[str]:
    """The table of settings. Settings of the same cost share a row."""
    groups: dict[Hashable, list[SettingBudget]] = {}
    for line in plan.lines:
        runs = line.trainings, line.tests, line.epochs, line.iterations
        alike = (line.dataset, *runs, hours(line.hours))
        groups.setdefault(alike, []).append(line)
    ordered = sorted(groups.values(), key=lambda lines: -sum(line.hours for line in lines))
    shown = ordered if len(ordered) <= _ROWS else ordered[: _ROWS - 1]
    rows = [_row(lines) for lines in shown]
    if len(shown) < len(ordered):
        rows.append(_row([line for lines in ordered[_ROWS - 1 :] for line in lines]))
    unit = f"{plan.unit}-hours"
    columns = (
        "data set", "settings", "trainings", "epochs", "iterations", "hours each", "evaluations",
        unit,
    )  # fmt: skip
    return text_table([columns, *rows], left=2)


def _row(lines: Sequence[SettingBudget]) -> tuple[str, ...]:
    datasets, iterations = _same(line.dataset for line in lines), {x.iterations for x in lines}
    training = hours(lines[0].hours_a_training) if lines[0].trainings else "–"
    one, epochs = len(iterations) == 1, {line.epochs for line in lines}
    return (
        datasets,
        _names([line.setting for line in lines]),
        _count(sum(line.trainings for line in lines)),
        _count(lines[0].epochs) if len(epochs) == 1 else "varies",
        _count(lines[0].iterations) if one else "varies",
        training if one else "varies",
        _count(sum(line.tests for line in lines)),
        hours(sum(line.hours for line in lines)),
    )


def _same(names: Iterable[str]) -> str:
    found = dict.fromkeys(names)
    return next(iter(found)) if len(found) == 1 else "several"


def _names(names: Sequence[str]) -> str:
    """As many names as fit, and the number of omitted names."""
    for shown in range(len(names), 0, -1):
        others = f" and {len(names) - shown} more" if shown < len(names) else ""
        text = ", ".join(names[:shown]) + others
        if len(text) <= _NAMED:
            return text
    return shorten(names[0], _NAMED) if len(names) == 1 else f"{len(names)} settings"


def _stages(plan: Budget) -> list[str]:
    training, disk = plan.training_hours, plan.disk
    rows = [
        ("stage", "", "jobs", f"{plan.unit}-hours", "disk"),
        ("training", "", _count(plan.trainings), hours(training), size(disk.models + disk.curves)),
        (
            "evaluation",
            "",
            _count(plan.tests),
            hours(plan.compute_hours - training),
            size(disk.detections),
        ),
        (
            "total",
            "",
            _count(plan.trainings + plan.tests),
            hours(plan.compute_hours),
            size(disk.total),
        ),
    ]
    return text_table(rows, left=2)


def _totals(plan: Budget) -> list[str]:
    days = f" ({plan.wall_hours / 24:.1f} days)" if plan.wall_hours >= 48 else ""
    unit = plan.unit if plan.slots == 1 else f"{plan.unit}s"
    money = "not priced"
    if plan.cost is not None:
        money = f"{plan.cost:,.2f} at {plan.price:g} for each {plan.unit}-hour"
    return [
        f"wall clock  {hours(plan.wall_hours)} hours{days}, assuming {plan.slots} {unit} "
        "with one job on each",
        f"money       {money}",
        f"disk        the total includes {size(plan.disk.checkpoints)} of checkpoints, which are "
        "temporary",
        f"finished    {plan.done_trainings:,} training runs and {plan.done_tests:,} evaluations "
        "(not counted above)",
    ]


def _origins(plan: Budget) -> list[str]:
    """One line for each data set and kind of number."""
    found: dict[tuple[str, str], list[PlanInput]] = {}
    for source in plan.sources:
        found.setdefault((source.dataset, source.what), []).append(source)
    rows = ["Where the numbers come from:"]
    for (dataset, what), sources in found.items():
        least, most = (f(s.value for s in sources) for f in (min, max))
        shown = [_value(what, value) for value in dict.fromkeys((least, most))]
        more = f" and {len(sources) - 1} more sources" if len(sources) > 1 else ""
        text = f"- {dataset}: {' to '.join(shown)} per {_UNITS[what]} ({sources[0].source}){more}"
        rows.append(shorten(text, WIDTH, placeholder=" …"))
    if plan.start_seconds:
        rows.append(f"- each job: {plan.start_seconds:.1f} s until it computes")
    return [
        *rows,
        "- not counted: downloads, preparation, the report, jobs that slow each other down",
    ]


def _value(what: str, value: float) -> str:
    return size(value) if what == "detections" else f"{value:.3g} s"


def _count(number: int) -> str:
    return f"{number:,}" if number else "–"
