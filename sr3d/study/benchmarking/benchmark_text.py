"""Print a benchmark as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from textwrap import fill

from sr3d.study.benchmarking.measures import (
    Benchmark,
    Detection,
    SizedDetection,
    Times,
    TrainingSteps,
    Work,
    stage_table,
)
from sr3d.text_tables import text_table

_TIMES = ("median", "p95", "min", "n")


def describe(found: Benchmark) -> str:
    """Tables of the measurements, and notes on the subject and the method."""
    return "\n".join(_lines(found))


def _lines(found: Benchmark) -> Iterator[str]:
    yield from _subject(found)
    yield ""
    yield from _detection(found.detection)
    if found.training:
        yield ""
        yield from _training(found.training)
    if found.scaling:
        yield ""
        yield from _scaling(found.scaling, found.detection.unit)
    if found.candidates:
        yield ""
        yield from _candidates(found.candidates)
    yield ""
    yield from _notes(found)


def _subject(found: Benchmark) -> list[str]:
    facts, scenes = found.facts, found.detection.scenes
    machine = facts["machine"]
    where = machine["gpus"][0] if facts["device"] == "cuda" else machine["processor"]
    busy = " (busy)" if facts["busy"] else ""
    runner = "compiled" if facts["compiled"] else "eager"
    counts = zip(*((s.points, s.size, s.boxes) for s in scenes), strict=True)
    points, size, boxes = (f"{fmean(column):,.0f}" for column in counts)
    return [
        f"{facts['setting']} on {facts['dataset']}: {facts['parameters']:,} parameters, "
        f"weights {facts['weights']}, {runner}, {facts['precision']}",
        f"{facts['device']}: {where}, {facts['threads']} of {machine['cores']} CPU threads, "
        f"torch {facts['versions']['torch']}, load average {facts['load_average']:.1f}{busy}",
        f"{len(scenes)} scene{'s' * (len(scenes) > 1)}: {facts['source']}. On average {points} "
        f"points, {size} {found.detection.unit}, {boxes} boxes found",
    ]


def _detection(found: Detection) -> list[str]:
    rows = [("milliseconds a scene", *_TIMES), ("points to boxes", *_times(found.latency))]
    if found.network:
        rows.append(("network alone", *_times(found.network)))
    lines = [*text_table(rows), ""]
    if found.stages:
        lines += [*_stages("stage of a scene", found.stages), ""]
    if found.work:
        lines += _roofline(found.work)
    memory = found.memory
    return [*lines, f"peak memory  {memory.peak:,.0f} MB, weights {memory.weights:,.1f} MB"]


def _roofline(work: Work) -> list[str]:
    return [
        f"roofline     {work.gflop:,.3g} GFLOP in sparse convolutions, {number(work.floor)} ms as "
        f"a dense product here ({work.peak:,.4g} GFLOP/s)",
        f"             {work.reached:,.4g} GFLOP/s over {work.span}: "
        f"{work.reached / work.peak:.1%} of that",
    ]


def _training(found: TrainingSteps) -> list[str]:
    return [
        *text_table(
            [
                (f"milliseconds a step of {found.batch}", *_TIMES),
                ("scenes to updated weights", *_times(found.step)),
            ]
        ),
        "",
        *_stages("part of a step", found.stages),
        "",
        f"throughput   {found.scenes_per_second:,.3g} scenes/s, "
        f"{found.size:,} {found.unit} a batch",
        f"peak memory  {found.memory.peak:,.0f} MB",
    ]


def _scaling(rows: Sequence[SizedDetection], unit: str) -> list[str]:
    each = f"µs a {unit.removesuffix('s')}"
    table = [("points of a floor", unit, "boxes", "median ms", each, "peak MB")]
    for row in rows:
        found = row.detection
        if found is None:
            table.append((f"{row.size:,}", "–", "–", "out of memory", "–", "–"))
            continue
        (scene,) = found.scenes
        median = found.latency.median
        table.append(
            (
                f"{row.size:,}",
                f"{scene.size:,}",
                f"{scene.boxes:,}",
                number(median),
                f"{1000 * median / scene.size:.3g}",
                f"{found.memory.peak:,.0f}",
            )
        )
    return text_table(table)


def _candidates(rows: Sequence[SizedDetection]) -> list[str]:
    table = [("boxes kept for NMS", "boxes found", "median ms", "of it selection", "peak MB")]
    for row in rows:
        found = row.detection
        if found is None:
            table.append((f"{row.size:,}", "–", "out of memory", "–", "–"))
            continue
        table.append(
            (
                f"{row.size:,}",
                f"{fmean(scene.boxes for scene in found.scenes):,.0f}",
                number(found.latency.median),
                number(found.stages["selection"]) if found.stages else "–",
                f"{found.memory.peak:,.0f}",
            )
        )
    return text_table(table)


def _notes(found: Benchmark) -> list[str]:
    notes = [
        f"Points are already on the device. The times include the {found.detection.unit}, network "
        "and NMS, but no loading. The device is synchronised before and after each run, after a "
        "warm-up.",
        f"Peak memory: {found.detection.memory.what}.",
    ]
    if found.detection.stages:
        notes.append(
            "Stages are timed in separate passes, synchronised at every change of stage. Their sum "
            "may exceed the latency."
        )
    return [fill(note, 100, initial_indent="- ", subsequent_indent="  ") for note in notes]


def _stages(title: str, stages: Mapping[str, float]) -> list[str]:
    rows = [(title, "ms", "share")]
    for name, value in stage_table(stages).items():
        rows.append((name, number(value["ms"]), f"{value['share']:.1%}"))
    rows.append(("sum", number(sum(stages.values())), ""))
    return text_table(rows)


def _times(times: Times) -> tuple[str, ...]:
    values = (number(value) for value in (times.median, times.p95, times.least))
    return (*values, str(len(times.runs)))


def number(milliseconds: float) -> str:
    """Three significant digits, without an exponent."""
    digits = 0 if milliseconds >= 99.5 else 1 if milliseconds >= 9.95 else 2
    return f"{milliseconds:,.{digits}f}"
