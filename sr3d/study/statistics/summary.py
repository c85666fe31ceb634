"""Statistics of one setting: several training runs, each evaluated several times.

The model has one-way random effects: `value[i, j] = mean + training[i] + test[i, j]`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Statistics of one setting. All but the counts and `icc` are in the unit of the values.

    n_trainings: training runs with an evaluation. n_tests: evaluation runs of all of them.
    best, mean, median: over all evaluation runs, as papers report ("the average of 25 trials").
    training_means: mean over the evaluation runs of each training run, in the order given.
    interval: 95 % confidence interval of the mean over training runs, None with a single one.
    sd_between, sd_within: standard deviations of the training effect and the evaluation effect.
        None if they cannot be estimated: sd_between needs a second training run, sd_within a
        training run with a second evaluation.
    icc: share of the variance that lies between training runs (intraclass correlation). None if
        either part is unknown or nothing varies.
    """

    n_trainings: int
    n_tests: int
    best: float
    mean: float
    median: float
    training_means: tuple[float, ...]
    interval: tuple[float, float] | None
    sd_between: float | None
    sd_within: float | None
    icc: float | None


def summarise(values: Sequence[Sequence[float]]) -> Summary:
    """Summarise `values[training][test]`. Rows may differ in length, and empty rows are ignored.

    The interval is Student's t on the training means (df = training runs − 1). Of the usual
    intervals it alone keeps its 95 % with five training runs. It is centred on the mean of the
    training means. If evaluation runs are missing, this centre differs from `mean`, which weighs
    every evaluation run alike, and the interval is approximate.

    Raises:
        ValueError: no values, or a value that is not finite.
    """
    rows = [np.asarray(row, dtype=np.float64) for row in values if len(row)]
    if not rows:
        raise ValueError("no values to summarise")
    every = np.concatenate(rows)
    if not np.isfinite(every).all():
        raise ValueError("a value is not finite")
    means = np.array([row.mean() for row in rows])
    between, within = variance_components(rows)
    return Summary(
        n_trainings=len(rows),
        n_tests=len(every),
        best=float(every.max()),
        mean=float(every.mean()),
        median=float(np.median(every)),
        training_means=tuple(means.tolist()),
        interval=t_interval(means.tolist()),
        sd_between=None if between is None else math.sqrt(between),
        sd_within=None if within is None else math.sqrt(within),
        icc=_share(between, within),
    )


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % t-interval of the mean of independent values. None with fewer than two values."""
    if len(values) < 2:
        return None
    sample = np.asarray(values, dtype=np.float64)
    centre = float(sample.mean())
    error = float(sample.std(ddof=1)) / math.sqrt(len(sample))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(sample) - 1)) * error
    return centre - half, centre + half


def variance_components(
    values: Sequence[Sequence[float] | np.ndarray],
) -> tuple[float | None, float | None]:
    """Variance between and within the rows of `values[training][test]`, by one-way ANOVA.

    Rows may differ in length but are not empty. n₀ replaces the number of evaluations as in the
    textbook. The variance between is (MS_between − MS_within) / n₀. Chance makes this negative if
    training runs hardly differ, and it is then set to 0. A part that cannot be estimated is None.
    """
    rows = [np.asarray(row, dtype=np.float64) for row in values]
    sizes = np.array([len(row) for row in rows])
    groups, total = len(rows), int(sizes.sum())
    if total == groups:
        return None, None
    means = np.array([row.mean() for row in rows])
    squares_within = sum(float(((row - m) ** 2).sum()) for row, m in zip(rows, means, strict=True))
    within = squares_within / (total - groups)
    if groups == 1:
        return None, within
    grand = float((sizes * means).sum()) / total
    ms_between = float((sizes * (means - grand) ** 2).sum()) / (groups - 1)
    n0 = (total - float((sizes**2).sum()) / total) / (groups - 1)
    return max(0.0, (ms_between - within) / n0), within


def group(trainings: Sequence[int], values: Sequence[float]) -> list[list[float]]:
    """Arrange flat values as `values[training][test]`, training runs in rising order."""
    rows: dict[int, list[float]] = {index: [] for index in sorted(set(trainings))}
    for index, value in zip(trainings, values, strict=True):
        rows[index].append(value)
    return list(rows.values())


def _share(between: float | None, within: float | None) -> float | None:
    if between is None or within is None or between + within == 0:
        return None
    return between / (between + within)
