"""One setting against another, training means against training means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sr3d.stats.design import detectable_difference, welch_error
from sr3d.stats.summary import CONFIDENCE

# More splits of the pooled values than this are sampled, that many, instead of enumerated.
MOST_SPLITS = 20_000


@dataclass(frozen=True)
class Comparison:
    """What `compare` finds of settings a and b, in the unit of the values.

    difference: mean of a's training means minus mean of b's.
    interval: its 95 % interval, Welch's; df: the degrees of freedom behind it.
    p_welch: two-sided p of Welch's t-test, which allows a and b spreads of their own.
    p_permutation: two-sided p of the permutation test, 2/252 at least with 5 against 5. It assumes
        no normality but equal spreads: where a spreads three times as much as b, 5 against 5 gives
        7 % of false alarms and 5 against 10 gives 17 %. Welch's test stays below 6 % there.
    n_a, n_b: trainings.
    detectable: smallest true difference that 80 % of such designs would find at the 5 % level, if
        the spreads are truly as they came out here. It is no result about a and b.
    """

    difference: float
    interval: tuple[float, float]
    df: float
    p_welch: float
    p_permutation: float
    n_a: int
    n_b: int
    detectable: float


@dataclass(frozen=True)
class Ratio:
    """What `ratio` finds: geometric mean of a over that of b, its 95 % interval, Welch's p."""

    ratio: float
    interval: tuple[float, float]
    p_welch: float
    n_a: int
    n_b: int


def compare(a: Sequence[float], b: Sequence[float]) -> Comparison | None:
    """Compare two settings by their training means; None when either has fewer than two.

    Where neither varies, Welch's test has nothing to go by and is read literally: equal constants
    differ by 0 with p 1, different ones by exactly their difference, interval of width 0, p 0. The
    permutation test keeps its meaning there.

    Raises:
        ValueError: a value is not finite.
    """
    values_a, values_b = _finite(a), _finite(b)
    if min(len(values_a), len(values_b)) < 2:
        return None
    difference, interval, df, p = _welch(values_a, values_b)
    sizes = len(values_a), len(values_b)
    return Comparison(
        difference=difference,
        interval=interval,
        df=df,
        p_welch=p,
        p_permutation=_permutation(values_a, values_b),
        n_a=sizes[0],
        n_b=sizes[1],
        detectable=detectable_difference(_sd(values_a), sizes[0], _sd(values_b), sizes[1]),
    )


def ratio(a: Sequence[float], b: Sequence[float]) -> Ratio | None:
    """Compare positive quantities (seconds per epoch, say) by their ratio: Welch on logarithms.

    None when either side has fewer than two values, one per training.

    Raises:
        ValueError: a value is not finite, or not above 0.
    """
    values_a, values_b = _finite(a), _finite(b)
    if (values_a <= 0).any() or (values_b <= 0).any():
        raise ValueError("a ratio needs values above 0")
    if min(len(values_a), len(values_b)) < 2:
        return None
    difference, (low, high), _, p = _welch(np.log(values_a), np.log(values_b))
    return Ratio(
        ratio=math.exp(difference),
        interval=(math.exp(low), math.exp(high)),
        p_welch=p,
        n_a=len(values_a),
        n_b=len(values_b),
    )


def holm(p: Sequence[float]) -> list[float]:
    """Adjust a family of p-values, in input order (Holm 1979, step-down Bonferroni).

    Calling those at or below 0.05 keeps the chance of any false call in the family at 5 %,
    however the tests depend on one another.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values lie in [0, 1]: {list(p)}")
    order = np.argsort(values, kind="stable")
    still_open = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    # The running maximum: no p-value is called before a smaller one.
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(still_open * values[order]))
    return adjusted.tolist()


def _welch(a: np.ndarray, b: np.ndarray) -> tuple[float, tuple[float, float], float, float]:
    """Difference of means, its interval, degrees of freedom and two-sided p."""
    difference = _mean(a) - _mean(b)
    error, df = welch_error(_sd(a), len(a), _sd(b), len(b))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * error
    if error == 0:
        p = 1.0 if difference == 0 else 0.0
    else:
        p = 2 * float(stats.t.sf(abs(difference) / error, df))
    return difference, (difference - half, difference + half), df, p


def _permutation(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the splits of the pooled values whose means differ at least as much, either way.

    Exact up to `MOST_SPLITS` splits, else Monte Carlo with a fixed seed.
    """
    pooled = np.concatenate([a, b])
    pooled = pooled - pooled[0]
    if not pooled.any():
        return 1.0
    pooled = (pooled - pooled.mean()) / pooled.std()

    def distance(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        # Rounded, so that splits that tie on paper tie here too.
        return np.round(np.abs(x.mean(axis=axis) - y.mean(axis=axis)), 9)

    found = stats.permutation_test(
        (pooled[: len(a)], pooled[len(a) :]),
        distance,
        vectorized=True,
        n_resamples=MOST_SPLITS,
        alternative="greater",
        random_state=0,
    )
    return float(found.pvalue)


# Both count from the first value: equal values then have exactly their mean, and no spread.
def _mean(values: np.ndarray) -> float:
    return float(values[0] + (values - values[0]).mean())


def _sd(values: np.ndarray) -> float:
    return float((values - values[0]).std(ddof=1))


def _finite(values: Sequence[float]) -> np.ndarray:
    found = np.asarray(values, dtype=np.float64)
    if not np.isfinite(found).all():
        raise ValueError("a value is not finite")
    return found
