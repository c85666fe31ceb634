"""Pairs of training means, against values worked by hand, scipy's test and literal flips."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from sr3d.study.statistics import TEstimate, compare, detectable_mean, ratio


def test_pairs_worked_by_hand():
    # Differences 1, 2, 3: mean 2, variance 1, error √(1/3), df 2, t = 2√3; two-sided p on 2 df is
    # 1 − t / √(t² + 2) = 1 − √(6/7). Of the eight flips of signs, all + and all − are as far off.
    found = compare([71, 80, 63], [70, 78, 60], paired=True)
    assert found is not None
    assert (found.paired, found.n_a, found.n_b, found.df) == (True, 3, 3, 2)
    assert found.difference == pytest.approx(2)
    half = 4.302653 / math.sqrt(3)  # t(0.975, 2 df) from the tables
    assert found.interval == pytest.approx((2 - half, 2 + half))
    assert found.p_t == pytest.approx(1 - math.sqrt(6 / 7))
    assert found.p_permutation == pytest.approx(2 / 8)
    assert found.detectable == pytest.approx(detectable_mean(1, 3))
    apart = compare([71, 80, 63], [70, 78, 60])
    assert apart is not None
    assert not apart.paired
    assert apart.difference == pytest.approx(2)
    assert apart.p_t > 0.5 > found.p_t


@pytest.mark.parametrize("n", [2, 5, 10])
def test_the_test_is_scipys(n):
    rng = np.random.default_rng(n)
    b = rng.normal(72, 0.6, n)
    a = b + rng.normal(0.2, 0.1, n)
    found = compare(a.tolist(), b.tolist(), paired=True)
    expected = scipy_stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert found is not None
    assert found.df == expected.df
    assert found.p_t == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx((interval.low, interval.high))


def literal_flips(differences: list[int]) -> float:
    """By whole numbers: the share of all signs whose sum is at least as far from 0."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(total >= observed for total in sums) / len(sums)


pairs = st.lists(st.tuples(st.integers(700, 712), st.integers(700, 712)), min_size=2, max_size=7)


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_permutation_flips_the_sign_of_each_difference(values):
    a, b = zip(*values, strict=True)
    found = compare([v / 10 for v in a], [v / 10 for v in b], paired=True)
    assert found is not None
    exact = literal_flips([x - y for x, y in values])
    assert found.p_permutation == pytest.approx(exact)


def test_five_pairs_never_come_below_two_in_thirty_two():
    found = compare([90.1, 91.2, 92.3, 93.1, 94.0], [10, 11, 12, 13, 14], paired=True)
    assert found is not None
    assert found.p_permutation == 2 / 32
    assert found.p_t < 1e-6


def test_many_pairs_are_sampled_with_a_fixed_seed():
    rng = np.random.default_rng(1)
    differences = rng.integers(-20, 30, 16).tolist()  # 65,536 flips
    exact = literal_flips(differences)
    a, b = [d / 10 for d in differences], [0.0] * 16
    found = compare(a, b, paired=True)
    assert found is not None
    assert found == compare(a, b, paired=True)
    assert 0.01 < exact < 0.5
    assert found.p_permutation != exact
    assert found.p_permutation == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000))


def test_swapping_sides_mirrors_the_comparison():
    a, b = [71.2, 72.9, 72.0], [70.4, 70.9, 71.1]
    one, other = compare(a, b, paired=True), compare(b, a, paired=True)
    assert one is not None
    assert other is not None
    assert other.difference == pytest.approx(-one.difference)
    assert other.interval == pytest.approx((-one.interval[1], -one.interval[0]))
    assert (other.p_t, other.p_permutation) == pytest.approx((one.p_t, one.p_permutation))


def test_the_same_values_do_not_differ():
    found = compare([70.1, 71.3, 70.7], [70.1, 71.3, 70.7], paired=True)
    assert found is not None
    assert (found.difference, found.interval) == (0.0, (0.0, 0.0))
    assert (found.p_t, found.p_permutation, found.detectable) == (1.0, 1.0, 0.0)


def test_a_constant_difference_has_no_spread_whatever_its_rounding():
    a = [70.1, 71.3, 70.7]
    found = compare([v + 0.3 for v in a], a, paired=True)
    assert found is not None
    assert not found.estimate.has_spread
    assert TEstimate(0.0, 1e-6, 4.0).has_spread
    apart = compare([v + 0.3 for v in a], a)
    assert apart is not None
    assert apart.estimate.has_spread


def test_refuses_pairs_that_lack_a_side_and_too_few():
    with pytest.raises(ValueError, match=r"\b3\b.*\b2\b"):
        compare([1.0, 2.0, 3.0], [1.0, 2.0], paired=True)
    with pytest.raises(ValueError, match="finite"):
        compare([1.0, math.nan], [1.0, 2.0], paired=True)
    assert compare([1.0], [2.0], paired=True) is None
    assert ratio([1.0], [2.0], paired=True) is None


def test_a_paired_ratio_worked_by_hand():
    # Ratios 2, 4, 8: logarithms of spread ln 2 about ln 4, error ln 2 / √3, 2 df.
    found = ratio([2.0, 40.0, 800.0], [1.0, 10.0, 100.0], paired=True)
    assert found is not None
    assert found.paired
    assert found.ratio == pytest.approx(4)
    factor = 2 ** (4.302653 / math.sqrt(3))
    assert found.interval == pytest.approx((4 / factor, 4 * factor), rel=1e-5)
    assert found.p_t == pytest.approx(1 - math.sqrt(6 / 7))
    apart = ratio([2.0, 40.0, 800.0], [1.0, 10.0, 100.0])
    assert apart is not None
    assert apart.p_t > found.p_t
