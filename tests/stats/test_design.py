"""What a design can show, against limits known in closed form and brute-force simulation."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from sr3d.study.statistics import detectable_difference, detectable_mean, expected_best
from sr3d.study.statistics.design import welch_error


def test_welch_error_worked_by_hand():
    # Squared errors 4/2 and 9/3: 2 + 3 = 5; df = 5² / (2²/1 + 3²/2) = 25/8.5.
    error, df = welch_error(2.0, 2, 3.0, 3)
    assert error == pytest.approx(math.sqrt(5))
    assert df == pytest.approx(25 / 8.5)


@pytest.mark.parametrize(
    ("sd_a", "n_a", "sd_b", "n_b"),
    [
        (0.6, 5, 0.6, 5),
        (0.6, 10, 0.6, 10),
        (0.9, 5, 0.3, 10),
        (0.3, 5, 0.9, 10),
        (0.0, 5, 1.0, 4),
        (1.0, 3, 1.0, 3),
        (1.0, 2, 1.0, 2),
    ],
)
@pytest.mark.parametrize("power", [0.8, 0.5])
def test_detectable_difference_is_found_as_often_as_promised(sd_a, n_a, sd_b, n_b, power):
    """20,000 designs, 0.3 points of standard error, against scipy's Welch test."""
    rng = np.random.default_rng(0)
    difference = detectable_difference(sd_a, n_a, sd_b, n_b, power)
    a = rng.normal(difference, sd_a, (20_000, n_a))
    a[:, 0] += 1e-9 * rng.normal(size=20_000)  # scipy warns of a side without spread
    b = rng.normal(0, sd_b, (20_000, n_b))
    test = scipy_stats.ttest_ind(a, b, axis=1, equal_var=False)
    found = np.mean((test.pvalue <= 0.05) & (test.statistic > 0))
    assert found == pytest.approx(power, abs=0.012)


def test_five_against_five_with_the_usual_spread_finds_a_point_and_a_quarter():
    assert detectable_difference(0.6, 5, 0.6, 5) == pytest.approx(1.25, abs=0.01)


def test_many_trainings_approach_the_normal_limit():
    # z(0.975) + z(0.8) = 1.959964 + 0.841621.
    expected = 2.801585 * math.sqrt(2 / 4000)
    assert detectable_difference(1, 4000, 1, 4000) == pytest.approx(expected, rel=1e-3)


def test_one_constant_side_is_the_one_sample_problem():
    # Then the noncentral t on n − 1 degrees of freedom is exact.
    shift = detectable_difference(0.0, 5, 1.0, 4) * math.sqrt(4)
    critical = scipy_stats.t.isf(0.025, 3)
    assert scipy_stats.nct.sf(critical, 3, shift) == pytest.approx(0.8, abs=1e-3)


def test_detectable_difference_scales_with_the_spread_and_asks_more_for_more():
    usual = detectable_difference(0.6, 5, 0.6, 5)
    assert detectable_difference(1.2, 5, 1.2, 5) == pytest.approx(2 * usual)
    assert detectable_difference(0.6, 5, 0.6, 5, power=0.9) > usual
    assert detectable_difference(0.6, 5, 0.6, 5, alpha=0.01) > usual
    assert detectable_difference(0.6, 10, 0.6, 10) < usual / math.sqrt(2)
    assert detectable_difference(0.0, 5, 0.0, 5) == 0.0


@pytest.mark.parametrize(("n", "power"), [(5, 0.8), (3, 0.5), (2, 0.8), (10, 0.95)])
def test_detectable_mean_is_found_as_often_as_promised(n, power):
    """20,000 designs, 0.3 points of standard error, against scipy's t-test of one sample."""
    mean = detectable_mean(0.1, n, power)
    test = scipy_stats.ttest_1samp(np.random.default_rng(0).normal(mean, 0.1, (20_000, n)), 0, 1)
    found = np.mean((test.pvalue <= 0.05) & (test.statistic > 0))
    assert found == pytest.approx(power, abs=0.012)


def test_detectable_mean_has_the_normal_limit_and_scales():
    assert detectable_mean(1, 4000) == pytest.approx(2.801585 / math.sqrt(4000), rel=1e-3)
    assert detectable_mean(0.2, 5) == pytest.approx(2 * detectable_mean(0.1, 5))
    assert detectable_mean(0.1, 5, alpha=0.01) > detectable_mean(0.1, 5)
    assert detectable_mean(0.0, 5) == 0.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((1, 1), r"\b1\b"),
        ((-1, 5), "-1"),
        ((math.inf, 5), "inf"),
        ((1, 5, 1.0), r"alpha 0\.05\b.*power 1\.0\b"),
        ((1, 5, 0.8, 0.9), r"alpha 0\.9\b.*power 0\.8\b"),
    ],
)
def test_detectable_mean_names_the_number_that_is_no_design(arguments, named):
    with pytest.raises(ValueError, match=named):
        detectable_mean(*arguments)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((1, 1, 1, 5), r"\b1\b.*\b5\b"),
        ((1, 5, -1, 5), "-1"),
        ((math.nan, 5, 1, 5), "nan"),
        ((1, 5, 1, 5, 1.0), r"alpha 0\.05\b.*power 1\.0\b"),
        ((1, 5, 1, 5, 0.04), r"alpha 0\.05\b.*power 0\.04\b"),
        ((1, 5, 1, 5, 0.8, 0.0), r"alpha 0\.0\b.*power 0\.8\b"),
    ],
)
def test_detectable_difference_names_the_numbers_of_an_impossible_design(arguments, named):
    with pytest.raises(ValueError, match=named):
        detectable_difference(*arguments)


@pytest.mark.parametrize(
    ("trainings", "tests", "between", "within", "expected"),
    [
        # Expected maxima of 2, 3 and 25 standard normals: 1/√π, 3/(2√π) and the tables' 1.96531.
        (2, 1, 1.0, 0.0, 1 / math.sqrt(math.pi)),
        (1, 3, 0.0, 2.0, 3 / math.sqrt(math.pi)),
        (5, 5, 0.0, 1.0, 1.96531),
        (25, 1, 0.6, 0.8, 1.96531),  # one test each: a single normal of spread 1
        (1, 2, 5.0, 1.0, 1 / math.sqrt(math.pi)),  # one training: its own effect averages out
        (2, 5, 1.0, 0.0, 1 / math.sqrt(math.pi)),  # tests that all agree add nothing
        (1, 1, 0.6, 0.2, 0.0),
        (5, 5, 0.0, 0.0, 0.0),
    ],
)
def test_expected_best_in_closed_form(trainings, tests, between, within, expected):
    found = expected_best(trainings, tests, between, within)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("trainings", "tests", "between", "within"),
    [(5, 5, 0.6, 0.2), (5, 5, 0.2, 0.6), (10, 3, 0.5, 0.5), (3, 20, 0.01, 1.0)],
)
def test_expected_best_against_simulation(trainings, tests, between, within):
    rng = np.random.default_rng(2)
    effects = rng.normal(0, between, (40_000, trainings, 1))
    values = effects + rng.normal(0, within, (40_000, trainings, tests))
    best = values.max(axis=(1, 2))
    tolerance = 4 * best.std() / math.sqrt(len(best))
    assert tolerance < 0.012
    assert expected_best(trainings, tests, between, within) == pytest.approx(
        best.mean(), abs=tolerance
    )


def test_expected_best_is_smooth_where_the_larger_effect_changes():
    below, above = expected_best(5, 5, 0.5, 0.5 - 1e-9), expected_best(5, 5, 0.5, 0.5 + 1e-9)
    assert below == pytest.approx(above, abs=1e-7)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0, 5, 1, 1), "0 × 5"),
        ((5, 0, 1, 1), "5 × 0"),
        ((5, 5, -1, 1), "-1"),
        ((5, 5, 1, 1e999), "inf"),
    ],
)
def test_expected_best_names_the_numbers_of_an_impossible_design(arguments, named):
    with pytest.raises(ValueError, match=named):
        expected_best(*arguments)
