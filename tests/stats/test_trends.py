"""Trends against a regression worked by hand and, for the error rates, against simulation."""

import math

import numpy as np
import pytest

from sr3d.study.statistics import trend


def test_trend_worked_by_hand():
    # Means 1 and 4; Sxx = 4, Sxy = 8, slope 2. Residuals −1 1 0 −1 1 from 2 + 2x: variance 4/3 on
    # 3 df, error √(1/3), t = 2√3. P(|T| < t) on 3 df is 2/π (θ + sin θ cos θ), tan θ = t/√3 = 2.
    found = trend([0, 1, 2], [[1, 3], [4], [5, 7]])
    assert found is not None
    assert found.n == 5
    assert found.slope == pytest.approx(2)
    # t(0.975, 3 df) = 3.182446 from the tables.
    half = 3.182446 / math.sqrt(3)
    assert found.interval == pytest.approx((2 - half, 2 + half), abs=1e-6)
    assert found.p == pytest.approx(1 - 2 / math.pi * (math.atan(2) + 2 / 5))


def test_points_on_a_line_leave_no_doubt():
    found = trend([1, 2, 4], [[70.0], [71.0], [73.0]])
    assert found is not None
    assert found.slope == pytest.approx(1)
    assert found.interval == pytest.approx((1, 1))
    assert found.p < 1e-9


def test_equal_values_have_no_trend():
    found = trend([1, 2, 3], [[70.1, 70.1], [70.1], [70.1]])
    assert found is not None
    assert (found.slope, found.interval, found.p, found.n) == (0.0, (0.0, 0.0), 1.0, 4)


@pytest.mark.parametrize(
    ("x", "groups"),
    [
        ([0, 1], [[1.0], [2.0]]),  # two points
        ([0, 1, 2], [[1.0], [], [2.0]]),
        ([0.1, 0.1], [[1.0, 2.0], [3.0]]),  # one x
        ([], []),
    ],
)
def test_no_trend_through_too_little(x, groups):
    assert trend(x, groups) is None


def test_refuses_unmatched_groups_and_non_finite_values():
    with pytest.raises(ValueError, match="shorter"):
        trend([0, 1, 2], [[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match="finite"):
        trend([0, 1, 2], [[1.0], [2.0], [math.nan]])


def test_false_alarms_and_coverage_on_simulated_designs():
    """Four settings of 5 × 5, sd 0.6 between and 0.2 within; slope 0 and slope 0.3.

    The rates have standard errors of 0.4 points. On the single tests, as if independent, about
    half of the flat designs would show a "trend".
    """
    rng = np.random.default_rng(1)
    x = [1, 2, 4, 8]
    flat = rng.normal(0, 0.6, (3000, 4, 5, 1)) + rng.normal(0, 0.2, (3000, 4, 5, 5))
    means = flat.mean(axis=3)
    found = [trend(x, groups) for groups in means]
    assert np.mean([t.p <= 0.05 for t in found]) == pytest.approx(0.05, abs=0.012)
    rising = [trend(x, groups) for groups in means + 0.3 * np.array(x)[:, None]]
    covered = np.mean([t.interval[0] <= 0.3 <= t.interval[1] for t in rising])
    assert covered == pytest.approx(0.95, abs=0.012)
    careless = [trend(x, tests.reshape(4, 25)) for tests in flat[:1000]]
    assert np.mean([t.p <= 0.05 for t in careless]) > 0.3
