"""Comparisons against values worked by hand, scipy's Welch test and literal permutation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from sr3d.study.statistics import compare, detectable_difference, holm, ratio


def test_comparison_worked_by_hand():
    # Variance 4 on both sides: error √(4/3 + 4/3), df 4, t = −3 / 1.63299 = −1.83712.
    # P(|T| < t) on 4 df is s (1 + c²/2) with s² = t²/(t² + 4) = 27/59 and c² = 1 − s² = 32/59.
    # Of the 20 splits of 10 12 13 14 15 17, {10 12 13}, {10 12 14} and their mirrors differ by 3.
    found = compare([10, 12, 14], [13, 15, 17])
    assert found is not None
    assert (found.n_a, found.n_b) == (3, 3)
    assert found.difference == pytest.approx(-3)
    assert found.df == pytest.approx(4)
    # t(0.975, 4 df) = 2.776445 from the tables.
    half = 2.776445 * math.sqrt(8 / 3)
    assert found.interval == pytest.approx((-3 - half, -3 + half))
    assert found.p_t == pytest.approx(1 - math.sqrt(27 / 59) * (1 + 16 / 59))
    assert found.p_permutation == pytest.approx(4 / 20)


@pytest.mark.parametrize(("n_a", "n_b", "sd_b"), [(5, 5, 0.6), (5, 10, 0.1), (2, 7, 2.0)])
def test_welch_is_scipys(n_a, n_b, sd_b):
    rng = np.random.default_rng(n_b)
    a, b = rng.normal(73, 0.6, n_a), rng.normal(72, sd_b, n_b)
    found = compare(a.tolist(), b.tolist())
    expected = scipy_stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found is not None
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.df == pytest.approx(expected.df, rel=1e-12)
    assert found.p_t == pytest.approx(expected.pvalue, rel=1e-12)
    assert found.interval == pytest.approx((interval.low, interval.high), rel=1e-12)
    sds = np.std(a, ddof=1), np.std(b, ddof=1)
    assert found.detectable == pytest.approx(detectable_difference(sds[0], n_a, sds[1], n_b))


def literal_permutation(a: list[int], b: list[int]) -> float:
    """By whole numbers, without rounding: |mean difference| · n_a · n_b of every split."""
    pooled, total = a + b, sum(a + b)
    observed = abs(sum(a) * len(b) - sum(b) * len(a))
    distances = [
        abs(sum(split) * len(b) - (total - sum(split)) * len(a))
        for split in itertools.combinations(pooled, len(a))
    ]
    return sum(d >= observed for d in distances) / len(distances)


tenths = st.lists(st.integers(700, 712), min_size=2, max_size=5)


@settings(max_examples=60, deadline=None)
@given(tenths, tenths)
def test_permutation_counts_ties_that_binary_fractions_hide(a, b):
    found = compare([v / 10 for v in a], [v / 10 for v in b])
    assert found is not None
    assert found.p_permutation == pytest.approx(literal_permutation(a, b))


def test_many_splits_are_sampled_with_a_fixed_seed():
    rng = np.random.default_rng(3)
    a, b = rng.integers(700, 730, 10).tolist(), rng.integers(708, 738, 10).tolist()
    exact = literal_permutation(a, b)  # 184,756 splits
    found, again = compare(a, b), compare(a, b)
    assert found is not None
    assert found == again
    assert 0.01 < exact < 0.5
    assert found.p_permutation != exact
    # Four standard errors of 20,000 draws.
    assert found.p_permutation == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000))


def test_swapping_sides_mirrors_the_comparison():
    a, b = [71.2, 72.9, 72.0], [70.4, 70.9, 71.1, 70.2]
    one, other = compare(a, b), compare(b, a)
    assert one is not None
    assert other is not None
    assert other.difference == pytest.approx(-one.difference)
    assert other.interval == pytest.approx((-one.interval[1], -one.interval[0]))
    assert (other.p_t, other.p_permutation) == pytest.approx((one.p_t, one.p_permutation))


def test_equal_constants_do_not_differ():
    found = compare([70.1] * 6, [70.1] * 3)  # the plain mean of six is not 70.1
    assert found is not None
    assert (found.difference, found.interval, found.df) == (0.0, (0.0, 0.0), 7.0)
    assert (found.p_t, found.p_permutation, found.detectable) == (1.0, 1.0, 0.0)


def test_different_constants_differ_for_certain():
    found = compare([70.1] * 5, [70.3] * 5)
    assert found is not None
    assert found.difference == pytest.approx(-0.2)
    assert found.interval == (found.difference, found.difference)
    assert (found.p_t, found.detectable) == (0.0, 0.0)
    assert found.p_permutation == pytest.approx(2 / 252)


def test_one_constant_side_leaves_the_other_sides_degrees_of_freedom():
    found = compare([70.1, 70.1, 70.1], [71.0, 72.0, 73.0, 74.0])
    assert found is not None
    assert found.df == pytest.approx(3)
    # The one-sample t-test of b against 70.1.
    expected = scipy_stats.ttest_1samp([71.0, 72.0, 73.0, 74.0], 70.1)
    assert found.p_t == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0]), ([], [1.0, 2.0])])
def test_one_training_compares_with_nothing(a, b):
    assert compare(a, b) is None
    assert ratio(a, b) is None


@pytest.mark.parametrize("function", [compare, ratio])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_refuses_values_that_are_not_finite(function, bad):
    with pytest.raises(ValueError, match="finite"):
        function([1.0, 2.0], [1.0, bad])


def test_ratio_worked_by_hand():
    # Logarithms: means ln 4 and ln 2, variance (ln 4)²/2 on both sides, error ln 4 / √2, df 2,
    # t = ln 2 · √2 / ln 4 = √½; two-sided p on 2 df is 1 − t / √(t² + 2) = 1 − √0.2.
    found = ratio([2.0, 8.0], [1.0, 4.0])
    assert found is not None
    assert (found.n_a, found.n_b) == (2, 2)
    assert found.ratio == pytest.approx(2)
    factor = math.exp(4.302653 * math.log(4) / math.sqrt(2))
    assert found.interval == pytest.approx((2 / factor, 2 * factor), rel=1e-5)
    assert found.p_t == pytest.approx(1 - math.sqrt(0.2))


def test_ratio_does_not_depend_on_the_unit():
    seconds_a, seconds_b = [61.0, 64.0, 60.5], [40.0, 44.0, 41.0, 47.0]
    minutes = ratio([s / 60 for s in seconds_a], [s / 60 for s in seconds_b])
    found = ratio(seconds_a, seconds_b)
    assert found is not None
    assert minutes is not None
    assert (minutes.ratio, *minutes.interval) == pytest.approx((found.ratio, *found.interval))


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_ratio_refuses_values_that_are_not_positive(bad):
    with pytest.raises(ValueError, match="above 0"):
        ratio([1.0, 2.0], [1.0, bad])


def test_holm_worked_by_hand():
    # Sorted 0.005 0.01 0.03 0.04 times 4 3 2 1 are 0.02 0.03 0.06 0.04; the last waits for 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_stops_at_one_and_takes_small_families():
    assert holm([0.9, 0.4, 0.8]) == [1.0, 1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_p_value(bad):
    with pytest.raises(ValueError, match="p-values"):
        holm([0.5, bad])
