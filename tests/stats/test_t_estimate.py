"""Tests and intervals of an estimate, against scipy's and against each other."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from sr3d.study.statistics import TEstimate, holm, simultaneous

numbers = st.floats(-50, 50)
estimates = st.builds(TEstimate, numbers, st.floats(0.01, 20), st.floats(1.5, 60))


@settings(max_examples=100, deadline=None)
@given(estimates, numbers)
def test_p_values_are_those_of_students_t(estimate, number):
    t = (estimate.value - number) / estimate.error
    assert estimate.p_at_most(number) == pytest.approx(scipy_stats.t.sf(t, estimate.df))
    assert estimate.p_at_least(number) == pytest.approx(scipy_stats.t.cdf(t, estimate.df))
    assert estimate.p_equal(number) == pytest.approx(2 * scipy_stats.t.sf(abs(t), estimate.df))


@settings(max_examples=100, deadline=None)
@given(estimates, numbers, st.sampled_from([0.9, 0.95, 0.995]))
def test_an_interval_holds_the_numbers_that_its_test_leaves(estimate, number, confidence):
    low, high = estimate.interval(confidence)
    p = estimate.p_equal(number)
    if not math.isclose(p, 1 - confidence, rel_tol=1e-6):
        assert (low <= number <= high) == (p > 1 - confidence)


@settings(max_examples=100, deadline=None)
@given(st.lists(estimates, min_size=1, max_size=6))
def test_holms_rule_rejects_what_simultaneous_intervals_exclude(family):
    """Bonferroni's intervals are never sharper than Holm's decisions."""
    adjusted = holm([one.p_equal(0.0) for one in family])
    for one, p in zip(family, adjusted, strict=True):
        low, high = one.interval(simultaneous(len(family)))
        if not low <= 0 <= high:
            assert p < 0.05 + 1e-9


def test_without_error_the_number_is_read_literally():
    sure = TEstimate(1.0, 0.0, 8.0)
    assert sure.interval() == (1.0, 1.0)
    assert (sure.p_equal(1.0), sure.p_equal(2.0)) == (1.0, 0.0)
    assert (sure.p_at_most(0.5), sure.p_at_most(1.0), sure.p_at_least(1.0)) == (0.0, 1.0, 1.0)
    assert not sure.has_spread


def test_simultaneous_confidence():
    assert simultaneous(1) == pytest.approx(0.95)
    assert simultaneous(10) == pytest.approx(0.995)
    for estimates_, confidence in ((0, 0.95), (3, 1.0)):
        with pytest.raises(ValueError, match=rf"\b{estimates_}\b.*\b{confidence}\b"):
            simultaneous(estimates_, confidence)


def test_simultaneous_intervals_hold_together():
    """Ten settings against one baseline, 5 vs 5: no interval misses in 95 % of the designs.

    4,000 designs: 0.34 points of standard error, and three of them are allowed. The intervals
    without adjustment miss together in far more.
    """
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.6, (4000, 11, 5))
    means, variances = values.mean(axis=2), values.var(axis=2, ddof=1) / 5
    difference, total = means[:, 1:] - means[:, :1], variances[:, 1:] + variances[:, :1]
    df = total**2 / ((variances[:, 1:] ** 2 + variances[:, :1] ** 2) / 4)
    t = np.abs(difference) / np.sqrt(total)

    def missed(confidence):
        return np.mean((t > scipy_stats.t.isf((1 - confidence) / 2, df)).any(axis=1))

    assert missed(simultaneous(10)) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
    assert missed(0.95) > 0.2
