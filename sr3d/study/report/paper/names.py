"""How data sets and metrics are called in print, and how their numbers are written."""

from __future__ import annotations

from dataclasses import dataclass

from sr3d.config import did_you_mean
from sr3d.errors import InputError

MINUS = "−"


@dataclass(frozen=True)
class PrintedDataset:
    """How a data set is called in print; scenes: how many the paper tests on it, if it does."""

    label: str
    scenes: int | None = None


OWN_DATA = "own"  # the data set of the user's scans, on which the paper says nothing
DATASETS = {
    "scannet": PrintedDataset("ScanNet V2", 312),
    "sunrgbd": PrintedDataset("SUN RGB-D", 5050),
    "s3dis": PrintedDataset("S3DIS, Area 5"),
    "synthetic": PrintedDataset("procedural rooms"),
    "synthetic_rotated": PrintedDataset("procedural rooms with rotated boxes"),
    "own": PrintedDataset("own scans"),
}


@dataclass(frozen=True)
class PrintedMetric:
    """How a metric is printed.

    label: with its unit. digits: after the point. of_trainings: whether there is one number for
    each training, not for each test. has_best: whether the best of several runs means something.
    """

    label: str
    digits: int
    of_trainings: bool = False
    has_best: bool = False


PARAMETERS = "parameters"
METRICS = {
    "AP25": PrintedMetric("AP25 (%)", 1, has_best=True),
    "AP50": PrintedMetric("AP50 (%)", 1, has_best=True),
    "PCE": PrintedMetric("PCE", 3),
    "AIC": PrintedMetric("AIC of the last epoch", 3, of_trainings=True),
    "latency_ms": PrintedMetric("latency (ms a scene)", 0),
    "minutes_per_epoch": PrintedMetric("training time (minutes an epoch)", 1, of_trainings=True),
    PARAMETERS: PrintedMetric("parameters", 0, of_trainings=True),
}


def printed_dataset(name: str) -> PrintedDataset:
    """The data set of that name.

    Raises:
        InputError: there is none.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set '{name}'{did_you_mean(name, list(DATASETS))}")
    return DATASETS[name]


def number(metric: str, value: float) -> str:
    """A value as the metric is printed: 73.2, 0.123, 42, 14.7M."""
    text = _digits(metric, abs(value))
    return MINUS + text if value < 0 and not _is_zero(text) else text


def signed(metric: str, value: float) -> str:
    """A difference with its sign; none where it rounds to zero."""
    text = number(metric, value)
    return text if value < 0 or _is_zero(text) else f"+{text}"


def _is_zero(text: str) -> bool:
    return not any(letter in text for letter in "123456789")


def _digits(metric: str, value: float) -> str:
    if metric == PARAMETERS:
        return f"{value / 1e6:.1f}M" if abs(value) >= 1e5 else f"{value:,.0f}"
    return f"{value:.{METRICS[metric].digits}f}"
