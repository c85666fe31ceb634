"""What a figure shows of a metric: its mean over the tests, its interval over the trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from sr3d.study.report.findings import Findings
from sr3d.study.statistics import t_interval


@dataclass(frozen=True)
class Estimate:
    """mean: over the tests. interval: 95 % over the trainings; None with a single one."""

    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Band:
    """A mean curve and what lies around it, one value an epoch; low and high None if unknown.

    shortest, longest: epochs of the trainings; the curve ends with the shortest.
    """

    means: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    shortest: int
    longest: int


def estimate(findings: Findings, setting: str, metric: str) -> Estimate | None:
    """As the summary has it; None where nothing was measured."""
    found = findings.metric(setting, metric)
    if found is None:
        return None
    interval = found.get("interval")
    return Estimate(float(found["mean"]), None if interval is None else (interval[0], interval[1]))


def band(curves: Sequence[Sequence[float]]) -> Band | None:
    """The mean of curves `[training][epoch]`, in each epoch with its 95 % t-interval.

    With two trainings the band reaches from one to the other: their t-interval is 13 standard
    errors wide and would hide everything.
    """
    lengths = [len(curve) for curve in curves]
    if not lengths or not min(lengths):
        return None
    epochs = list(zip(*curves, strict=False))
    low = high = None
    if len(curves) > 1:
        ends = [_ends(values) for values in epochs]
        low, high = tuple(a for a, _ in ends), tuple(b for _, b in ends)
    return Band(tuple(fmean(values) for values in epochs), low, high, min(lengths), max(lengths))


def incomplete(findings: Findings, setting: str, label: str) -> list[str]:
    """What a setting lacks as a whole, in a sentence: any run, any test, or some of its tests."""
    summary = findings.summary(setting)
    if summary is None:
        return [f"{label}: not run"]
    expected = (summary.get("expected") or {}).get("runs")
    runs = summary.get("runs", 0)
    if runs == 0:
        return [f"{label}: no test"]
    return [f"{label}: {runs} of {expected} tests"] if expected and runs < expected else []


def _ends(values: Sequence[float]) -> tuple[float, float]:
    interval = t_interval(values) if len(values) > 2 else None
    return interval or (min(values), max(values))
