"""Compare two settings by the means of their training runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sr3d.study.statistics.design import detectable_difference, detectable_mean, welch_error
from sr3d.study.statistics.t_estimate import Interval, TEstimate

# Up to this many splits of the pooled values are enumerated. Beyond it, this many are sampled.
MOST_SPLITS = 20_000


@dataclass(frozen=True)
class Comparison:
    """The difference of settings a and b, in the unit of the values.

    estimate: mean of a's training means minus mean of b's, with Welch's t-test (which assumes no
        equal spreads) or the paired t-test.
    p_permutation: two-sided p of the permutation test. Unpaired, it is at least 2/252 with 5
        against 5. It assumes equal spreads, but not normality. If a spreads three times as much as
        b, its rate of false alarms is 7 % with 5 against 5 and 17 % with 5 against 10. The rate of
        Welch's test stays below 6 % there. Paired, the test flips signs. With five pairs p is at
        least 2/32, so fewer than six pairs never reach 5 %.
    n_a, n_b: training runs. For pairs both are the number of pairs.
    detectable: smallest true difference that 80 % of such designs would find at the 5 % level, if
        the true spreads equal the observed ones. It says nothing about the difference of a and b.
    paired: whether a and b evaluate the same training runs and are compared run by run.
    """

    estimate: TEstimate
    p_permutation: float
    n_a: int
    n_b: int
    detectable: float
    paired: bool

    @property
    def difference(self) -> float:
        """The estimated difference."""
        return self.estimate.value

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the difference, without correction for other comparisons."""
        return self.estimate.interval()

    @property
    def df(self) -> float:
        """The degrees of freedom of the t-test."""
        return self.estimate.df

    @property
    def p_t(self) -> float:
        """Two-sided p of the t-test, without correction for other comparisons."""
        return self.estimate.p_equal(0.0)


@dataclass(frozen=True)
class Ratio:
    """The ratio of the geometric means of a and b.

    log: the logarithm of the ratio, as an estimate.
    """

    log: TEstimate
    n_a: int
    n_b: int
    paired: bool

    @property
    def ratio(self) -> float:
        """The estimated ratio."""
        return math.exp(self.log.value)

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the ratio, without correction for other comparisons."""
        low, high = self.log.interval()
        return math.exp(low), math.exp(high)

    @property
    def p_t(self) -> float:
        """Two-sided p of the hypothesis that the ratio is 1."""
        return self.log.p_equal(0.0)


def compare(a: Sequence[float], b: Sequence[float], paired: bool = False) -> Comparison | None:
    """Compare two settings by their training means. Returns None if either has fewer than two.

    paired: a[i] and b[i] are means of evaluation runs of the same training run. The effect of
    training run i then cancels, and the t-test is on the differences.

    Without any spread the t-test takes the values literally. Equal constants have difference 0 and
    p 1. Different constants have exactly their difference, an interval of width 0, and p 0. The
    permutation test keeps its meaning.

    Raises:
        ValueError: a value is not finite, or paired sides differ in length.
    """
    values_a, values_b = _sides(a, b, paired)
    if min(len(values_a), len(values_b)) < 2:
        return None
    sizes = len(values_a), len(values_b)
    if paired:
        detectable = detectable_mean(_sd(values_a - values_b), sizes[0])
    else:
        detectable = detectable_difference(_sd(values_a), sizes[0], _sd(values_b), sizes[1])
    return Comparison(
        estimate=_difference(values_a, values_b, paired),
        p_permutation=_permutation(values_a, values_b, paired),
        n_a=sizes[0],
        n_b=sizes[1],
        detectable=detectable,
        paired=paired,
    )


def ratio(a: Sequence[float], b: Sequence[float], paired: bool = False) -> Ratio | None:
    """Compare positive quantities (seconds per epoch, say) by their ratio: `compare` on logarithms.

    Returns None if either side has fewer than two values, one per training run.

    Raises:
        ValueError: as `compare`, or a value is not above 0.
    """
    values_a, values_b = _sides(a, b, paired)
    if (values_a <= 0).any() or (values_b <= 0).any():
        raise ValueError("a ratio needs values above 0")
    if min(len(values_a), len(values_b)) < 2:
        return None
    return Ratio(
        log=_difference(np.log(values_a), np.log(values_b), paired),
        n_a=len(values_a),
        n_b=len(values_b),
        paired=paired,
    )


def holm(p: Sequence[float]) -> list[float]:
    """Adjust a family of p-values, in input order (Holm 1979, step-down Bonferroni).

    Rejecting where the adjusted p is at most 0.05 keeps the chance of any false rejection in the
    family at 5 %, whatever the dependence between the tests.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values lie in [0, 1]: {list(p)}")
    order = np.argsort(values, kind="stable")
    still_open = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    # The running maximum: no p-value is rejected before a smaller one.
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(still_open * values[order]))
    return adjusted.tolist()


def _difference(a: np.ndarray, b: np.ndarray, paired: bool) -> TEstimate:
    """The difference of means.

    `scipy.stats.ttest_ind(equal_var=False)` gives the same interval, p and degrees of freedom to
    1e-12. It has no result for values without spread, and it does not return the standard error,
    which the tests against a margin or a limit need. `design` has no values to pass to it.
    """
    if paired:
        pairs = a - b
        return TEstimate(_mean(pairs), _sd(pairs) / math.sqrt(len(pairs)), len(pairs) - 1.0)
    error, df = welch_error(_sd(a), len(a), _sd(b), len(b))
    return TEstimate(_mean(a) - _mean(b), error, df)


def _permutation(a: np.ndarray, b: np.ndarray, paired: bool) -> float:
    """Share of the splits of the pooled values whose means differ at least as much, either way.

    Paired, only those splits count that put one value of each pair on either side. Exact up to
    `MOST_SPLITS` splits, otherwise Monte Carlo with a fixed seed.
    """
    pooled = np.concatenate([a, b])
    pooled = pooled - pooled[0]
    if not pooled.any():
        return 1.0
    pooled = (pooled - pooled.mean()) / pooled.std()

    def distance(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        # Rounded, so that splits with mathematically equal distances tie here too.
        return np.round(np.abs(x.mean(axis=axis) - y.mean(axis=axis)), 9)

    found = stats.permutation_test(
        (pooled[: len(a)], pooled[len(a) :]),
        distance,
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=MOST_SPLITS,
        alternative="greater",
        random_state=0,
    )
    return float(found.pvalue)


# Both subtract the first value: equal values then have exactly their mean, and no spread.
def _mean(values: np.ndarray) -> float:
    return float(values[0] + (values - values[0]).mean())


def _sd(values: np.ndarray) -> float:
    return float((values - values[0]).std(ddof=1))


def _sides(a: Sequence[float], b: Sequence[float], paired: bool) -> tuple[np.ndarray, np.ndarray]:
    sides = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not all(np.isfinite(values).all() for values in sides):
        raise ValueError("a value is not finite")
    if paired and len(a) != len(b):
        raise ValueError(f"pairs of {len(a)} and {len(b)} values")
    return sides
