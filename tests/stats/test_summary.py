"""One setting's statistics against values worked by hand and scipy's own ANOVA and t-interval."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from sr3d.study.statistics import group, summarise, t_interval, variance_components

# Three trainings of two tests. Means 11, 14, 17; grand mean 14.
# SS_within = 2 + 2 + 2 = 6 on 3 df, so MS_within = 2.
# SS_between = 2 (9 + 0 + 9) = 36 on 2 df, so MS_between = 18; between = (18 − 2) / 2 = 8.
BY_HAND = [[10.0, 12.0], [13.0, 15.0], [16.0, 18.0]]


def test_worked_by_hand():
    s = summarise(BY_HAND)
    assert (s.n_trainings, s.n_tests) == (3, 6)
    assert (s.best, s.mean, s.median) == (18.0, 14.0, 14.0)
    assert s.training_means == (11.0, 14.0, 17.0)
    assert s.sd_between == pytest.approx(math.sqrt(8))
    assert s.sd_within == pytest.approx(math.sqrt(2))
    assert s.icc == pytest.approx(0.8)
    # t(0.975, 2 df) = 4.302653 from the tables; standard error = 3 / √3.
    assert s.interval == pytest.approx((14 - 4.302653 * math.sqrt(3), 14 + 4.302653 * math.sqrt(3)))


def test_mean_squares_agree_with_scipy_on_ragged_values():
    rows = [[1.0, 2.5, 2.0], [4.0, 3.0], [6.5, 7.0, 5.0, 6.0]]
    between, within = variance_components(rows)
    assert between is not None
    assert within is not None
    f = scipy_stats.f_oneway(*rows).statistic
    pooled = sum((len(r) - 1) * np.var(r, ddof=1) for r in rows) / (9 - 3)
    n0 = (9 - (9 + 4 + 16) / 9) / 2
    assert within == pytest.approx(pooled)
    assert between == pytest.approx((f - 1) * pooled / n0)


def test_ragged_mean_is_over_all_tests_and_interval_over_training_means():
    s = summarise([[1.0, 1.0, 1.0], [5.0], []])
    assert (s.n_trainings, s.n_tests) == (2, 4)
    assert s.mean == pytest.approx(2.0)
    assert s.interval is not None
    assert sum(s.interval) / 2 == pytest.approx(3.0)


def test_t_interval_is_scipys():
    values = [70.1, 71.4, 70.9, 72.0, 70.6]
    expected = scipy_stats.t.interval(
        0.95, df=4, loc=np.mean(values), scale=scipy_stats.sem(values)
    )
    assert t_interval(values) == pytest.approx(expected)


def test_negative_between_variance_is_clamped_to_zero():
    # Equal training means: MS_between = 0 < MS_within.
    s = summarise([[1.0, 3.0], [1.0, 3.0], [1.0, 3.0]])
    assert s.sd_between == 0.0
    assert s.sd_within == pytest.approx(math.sqrt(2))
    assert s.icc == 0.0


@pytest.mark.parametrize(
    ("values", "interval", "between", "within"),
    [
        ([[50.0]], False, False, False),  # one run
        ([[50.0, 52.0]], False, False, True),  # one training
        ([[50.0], [52.0], [51.0]], True, False, False),  # one test each: 10 × 1
    ],
)
def test_what_a_design_cannot_tell_is_none(values, interval, between, within):
    s = summarise(values)
    assert (s.interval is not None) == interval
    assert (s.sd_between is not None) == between
    assert (s.sd_within is not None) == within
    assert s.icc is None


def test_no_variance_at_all():
    s = summarise([[50.0, 50.0], [50.0, 50.0]])
    assert s.interval == (50.0, 50.0)
    assert (s.sd_between, s.sd_within, s.icc) == (0.0, 0.0, None)


@pytest.mark.parametrize("values", [[], [[], []], [[1.0, float("nan")]], [[float("inf")]]])
def test_refuses_nothing_and_non_finite(values):
    with pytest.raises(ValueError, match="value"):
        summarise(values)


def test_group_orders_trainings_and_keeps_the_order_of_tests():
    assert group([2, 0, 2, 1], [1.0, 2.0, 3.0, 4.0]) == [[2.0], [4.0], [1.0, 3.0]]
