"""One setting: several trainings, each tested several times.

The model is the one-way random-effects one, `value[i, j] = mean + training[i] + test[i, j]`.
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
    """What `summarise` finds; every number is in the unit of the values.

    n_trainings, n_tests: trainings that were tested, and tests over all of them.
    best, mean, median: over all tests, as the papers count ("the average of 25 trials").
    training_means: mean of each training's tests, in the order given.
    interval: 95 % interval of the mean over trainings, or None with a single training.
    sd_between, sd_within: standard deviations of the training and of the test effect. None where
        the design cannot tell: no second training, or no training with a second test.
    icc: share of the variance that lies between trainings; None where either part is unknown or
        nothing varies.
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
    """Summarise `values[training][test]`. Rows may differ in length; empty ones do not count.

    The interval is Student's t on the training means (df = trainings − 1), the only one of the
    usual ones that keeps its 95 % with five trainings. It is centred on the mean of the training
    means; where tests are missing that differs from `mean`, which weighs every test alike, and the
    interval is then approximate.

    Raises:
        ValueError: no value at all, or one that is not finite.
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
    """95 % t-interval of the mean of independent values; None with fewer than two."""
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

    Rows may differ in length (the textbook's n₀ stands for the number of tests); none is empty.
    The estimate between is (MS_between − MS_within) / n₀, which chance makes negative where
    trainings hardly differ; it is clamped to 0 then. None where there is nothing to estimate from.
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
    """Sort flat values into `values[training][test]`, trainings in rising order."""
    rows: dict[int, list[float]] = {index: [] for index in sorted(set(trainings))}
    for index, value in zip(trainings, values, strict=True):
        rows[index].append(value)
    return list(rows.values())


def _share(between: float | None, within: float | None) -> float | None:
    if between is None or within is None or between + within == 0:
        return None
    return between / (between + within)
