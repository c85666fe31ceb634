"""One setting against another, training means against training means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sr3d.study.statistics.design import detectable_difference, detectable_mean, welch_error
from sr3d.study.statistics.t_estimate import Interval, TEstimate

# More splits of the pooled values than this are sampled, that many, instead of enumerated.
MOST_SPLITS = 20_000


@dataclass(frozen=True)
class Comparison:
    """What `compare` finds of settings a and b, in the unit of the values.

    estimate: mean of a's training means minus mean of b's. Its t-test is Welch's, which allows a
        and b spreads of their own, or that of pairs.
    p_permutation: two-sided p of the permutation test. Of unpaired values it is 2/252 at least with
        5 against 5; it assumes no normality but equal spreads: where a spreads three times as much
        as b, 5 against 5 gives 7 % of false alarms and 5 against 10 gives 17 %. Welch's test stays
        below 6 % there. Of pairs it flips signs and is 2/32 at least with five of them, so that
        fewer than six never come below 5 %.
    n_a, n_b: trainings; of pairs both are their number.
    detectable: smallest true difference that 80 % of such designs would find at the 5 % level, if
        the spreads are truly as they came out here. It is no result about a and b.
    paired: whether a and b are tests of the same trainings, compared training by training.
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
        """The 95 % interval of the difference, by itself."""
        return self.estimate.interval()

    @property
    def df(self) -> float:
        """The degrees of freedom of the t-test."""
        return self.estimate.df

    @property
    def p_t(self) -> float:
        """Two-sided p of the t-test, by itself."""
        return self.estimate.p_equal(0.0)


@dataclass(frozen=True)
class Ratio:
    """What `ratio` finds: geometric mean of a over that of b.

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
        """The 95 % interval of the ratio, by itself."""
        low, high = self.log.interval()
        return math.exp(low), math.exp(high)

    @property
    def p_t(self) -> float:
        """Two-sided p of the hypothesis that the ratio is 1."""
        return self.log.p_equal(0.0)


def compare(a: Sequence[float], b: Sequence[float], paired: bool = False) -> Comparison | None:
    """Compare two settings by their training means; None when either has fewer than two.

    paired: a[i] and b[i] are means of tests of one and the same training. Then what training i has
    in common cancels, and the t-test is on the differences.

    Where nothing varies, the t-test has nothing to go by and is read literally: equal constants
    differ by 0 with p 1, different ones by exactly their difference, interval of width 0, p 0. The
    permutation test keeps its meaning there.

    Raises:
        ValueError: a value is not finite, or pairs lack a side.
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

    None when either side has fewer than two values, one per training.

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


def _difference(a: np.ndarray, b: np.ndarray, paired: bool) -> TEstimate:
    """The difference of means.

    `scipy.stats.ttest_ind(equal_var=False)` gives the same interval, p and degrees of freedom to
    1e-12. It does not give the standard error, which the tests against a margin or a limit need, it
    has no result for values without spread, and `design` has no values to give it.
    """
    if paired:
        pairs = a - b
        return TEstimate(_mean(pairs), _sd(pairs) / math.sqrt(len(pairs)), len(pairs) - 1.0)
    error, df = welch_error(_sd(a), len(a), _sd(b), len(b))
    return TEstimate(_mean(a) - _mean(b), error, df)


def _permutation(a: np.ndarray, b: np.ndarray, paired: bool) -> float:
    """Share of the splits of the pooled values whose means differ at least as much, either way; of
    pairs, those splits alone that leave one of each pair on either side.

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
        permutation_type="samples" if paired else "independent",
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


def _sides(a: Sequence[float], b: Sequence[float], paired: bool) -> tuple[np.ndarray, np.ndarray]:
    sides = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not all(np.isfinite(values).all() for values in sides):
        raise ValueError("a value is not finite")
    if paired and len(a) != len(b):
        raise ValueError(f"pairs of {len(a)} and {len(b)} values")
    return sides
