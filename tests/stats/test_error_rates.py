"""How often the methods err, on simulated designs of 5 trainings × 5 tests.

True values are known here: spread 0.6 between trainings, 0.2 between tests of one. Each rate is
set beside that of the careless method which treats the 25 values as independent.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from sr3d.study.statistics import (
    compare,
    comparison,
    detectable_mean,
    holm,
    ratio,
    summarise,
    t_interval,
)

DESIGNS = 20_000  # standard error of a rate of 5 %: 0.15 points


def simulate(seed: int, *designs: int) -> np.ndarray:
    """Values `(*designs, 5 trainings, 5 tests)` about 0."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.6, (*designs, 5, 1)) + rng.normal(0, 0.2, (*designs, 5, 5))


def welch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """scipy's p for each row of `a` against the same row of `b`."""
    return scipy_stats.ttest_ind(a, b, axis=-1, equal_var=False).pvalue


def permutation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Exact p for each row: all splits at once, by a matrix of signs."""
    n_a, n_b = a.shape[1], b.shape[1]
    splits = itertools.combinations(range(n_a + n_b), n_a)  # the first is the observed one
    weights = [[1 / n_a if i in s else -1 / n_b for i in range(n_a + n_b)] for s in splits]
    distances = np.abs(np.concatenate([a, b], axis=1) @ np.array(weights).T)
    return (distances >= distances[:, :1] - 1e-9).mean(axis=1)


def test_interval_covers_the_true_mean():
    values = simulate(0, DESIGNS)
    intervals = np.array([t_interval(means) for means in values.mean(axis=2)])
    covered = np.mean((intervals[:, 0] <= 0) & (intervals[:, 1] >= 0))
    assert covered == pytest.approx(0.95, abs=0.006)
    flat = values.reshape(DESIGNS, 25)
    careless = scipy_stats.t.ppf(0.975, 24) * scipy_stats.sem(flat, axis=1)
    assert np.mean(np.abs(flat.mean(axis=1)) <= careless) == pytest.approx(0.58, abs=0.015)


def test_comparisons_rarely_find_differences_that_are_not_there():
    values = simulate(1, DESIGNS, 2)
    a, b = values.mean(axis=3).transpose(1, 0, 2)
    by_welch, by_permutation = welch(a, b), permutation(a, b)
    for i in range(50):
        found = compare(a[i].tolist(), b[i].tolist())
        assert found is not None
        assert found.p_t == pytest.approx(by_welch[i])
        assert found.p_permutation == pytest.approx(by_permutation[i])
    assert 0.038 <= np.mean(by_welch <= 0.05) <= 0.05
    # 12 of 252 splits is the largest share below 5 %.
    assert np.mean(by_permutation <= 0.05) == pytest.approx(12 / 252, abs=0.006)
    flat = values.reshape(DESIGNS, 2, 25)
    careless = welch(flat[:, 0], flat[:, 1])
    assert np.mean(careless <= 0.05) == pytest.approx(0.40, abs=0.02)


@pytest.mark.parametrize(("n_b", "sd_b"), [(5, 0.2), (10, 0.2), (10, 1.8)])
def test_welch_takes_unequal_spreads(n_b, sd_b):
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 0.6, (DESIGNS, 5)), rng.normal(0, sd_b, (DESIGNS, n_b))
    assert 0.04 <= np.mean(welch(a, b) <= 0.05) <= 0.06


def test_permutation_and_pooled_t_do_not_take_unequal_spreads():
    """As `Comparison` says of the permutation test: 7 % and 17 %."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 0.6, (5000, 5)), rng.normal(0, 0.2, (5000, 10))
    assert np.mean(permutation(a, b[:, :5]) <= 0.05) == pytest.approx(0.07, abs=0.012)
    assert np.mean(permutation(a, b) <= 0.05) == pytest.approx(0.17, abs=0.02)
    assert np.mean(scipy_stats.ttest_ind(a, b, axis=1).pvalue <= 0.05) > 0.12


def pairs(seed: int, difference: float = 0.0, n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Means of two settings that test the same trainings: their spread of 0.6 is common to both,
    each has 0.1 of its own in a training, and the spread of its tests.
    """
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.6, (DESIGNS, n, 1))
    own = rng.normal(0, 0.1, (DESIGNS, n, 2)) + rng.normal(0, 0.2 / math.sqrt(5), (DESIGNS, n, 2))
    a, b = (common + own).transpose(2, 0, 1)
    return a + difference, b


def paired_intervals(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`compare` on each of the first 3,000 designs, its permutation left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "_permutation", lambda *sides: 1.0)
        patch.setattr(comparison, "detectable_mean", lambda *design: 0.0)
        found = [compare(x, y, paired=True) for x, y in zip(a[:3000], b[:3000], strict=True)]
    return np.array([[*one.interval, one.p_t] for one in found if one is not None])


def test_pairs_keep_their_level_where_welch_finds_nothing():
    a, b = pairs(8)
    p = scipy_stats.ttest_rel(a, b, axis=1).pvalue
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.006)
    assert np.mean(welch(a, b) <= 0.05) < 0.001
    found = paired_intervals(a, b)
    assert found[:, 2] == pytest.approx(p[:3000])


def test_the_paired_interval_covers_the_true_difference():
    """3,000 designs, 0.4 points of standard error. Welch's is far too wide."""
    low, high, _ = paired_intervals(*pairs(9, 0.3)).T
    assert np.mean((low <= 0.3) & (high >= 0.3)) == pytest.approx(0.95, abs=0.012)
    a, b = pairs(9, 0.3)
    apart = [compare(x, y).interval for x, y in zip(a[:50], b[:50], strict=True)]
    assert np.mean(np.diff(apart)) > 3 * np.mean(high - low)


def test_pairs_find_a_small_difference_as_often_as_promised():
    sd = math.sqrt(2 * (0.1**2 + 0.2**2 / 5))
    a, b = pairs(10, detectable_mean(sd, 5))
    test = scipy_stats.ttest_rel(a, b, axis=1)
    assert np.mean((test.pvalue <= 0.05) & (test.statistic > 0)) == pytest.approx(0.8, abs=0.012)
    assert np.mean(welch(a, b) <= 0.05) < 0.05


@pytest.mark.parametrize(("n", "rate"), [(5, 0.0), (6, 2 / 64), (8, 12 / 256)])
def test_flips_of_signs_keep_their_level(n, rate):
    """The largest share of 2^n flips below 5 %, of which there is none of five pairs."""
    a, b = pairs(11, n=n)
    signs = np.array(list(itertools.product((1, -1), repeat=n)))  # the first is the observed one
    sums = np.abs((a - b) @ signs.T)
    p = (sums >= sums[:, :1] - 1e-9).mean(axis=1)
    assert np.mean(p <= 0.05) == pytest.approx(rate, abs=0.006)
    for i in range(50):
        found = compare(a[i].tolist(), b[i].tolist(), paired=True)
        assert found is not None
        assert found.p_permutation == pytest.approx(p[i])


@pytest.mark.parametrize(("family", "plain"), [(4, 0.12), (10, 0.2)])
def test_holm_keeps_the_family_of_a_table(family, plain):
    """All settings equal; each against one reference row, so the tests depend on one another."""
    means = simulate(4, DESIGNS, family + 1).mean(axis=3)
    p = welch(means[:, 1:], means[:, :1])
    assert np.mean((p <= 0.05).any(axis=1)) > plain
    assert np.mean([min(holm(row)) <= 0.05 for row in p]) <= 0.05


@pytest.mark.parametrize("family", [4, 10])
def test_holm_uses_up_its_five_per_cent(family):
    """Independent tests of true nulls: 1 − (1 − 0.05/m)^m. Two true effects do not dilute it."""
    p = np.random.default_rng(5).uniform(size=(DESIGNS, family))
    expected = 1 - (1 - 0.05 / family) ** family
    assert np.mean([min(holm(row)) <= 0.05 for row in p]) == pytest.approx(expected, abs=0.005)
    beside_effects = [min(holm([0.0, *row, 0.0])[1:-1]) <= 0.05 for row in p]
    assert np.mean(beside_effects) == pytest.approx(expected, abs=0.005)


def test_ratio_interval_covers_the_true_ratio():
    """Seconds per epoch, log-normal; 3,000 designs, 0.4 points of standard error."""
    rng = np.random.default_rng(6)
    a = 90 * np.exp(rng.normal(0, 0.05, (3000, 5)))
    b = 60 * np.exp(rng.normal(0, 0.15, (3000, 8)))
    intervals = np.array([ratio(*pair).interval for pair in zip(a, b, strict=True)])
    covered = np.mean((intervals[:, 0] <= 1.5) & (intervals[:, 1] >= 1.5))
    assert covered == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize("tests", [(5, 5, 5, 5, 5), (5, 4, 3, 5, 1)])
def test_variance_components_are_unbiased(tests):
    designs = simulate(7, 4000)
    found = [
        summarise([row[:n] for row, n in zip(d, tests, strict=True)]) for d in designs.tolist()
    ]
    assert np.mean([s.sd_between**2 for s in found]) == pytest.approx(0.36, rel=0.04)
    assert np.mean([s.sd_within**2 for s in found]) == pytest.approx(0.04, rel=0.02)
