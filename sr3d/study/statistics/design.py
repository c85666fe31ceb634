"""What a number of training and evaluation runs can show, before or after they were run."""

from __future__ import annotations

import math

import numpy as np
from scipy import integrate, optimize, stats


def welch_error(sd_a: float, n_a: int, sd_b: float, n_b: int) -> tuple[float, float]:
    """Standard error and degrees of freedom of a difference of two means (Welch–Satterthwaite).

    Each side has its own standard deviation and number of values. Without any spread the error is
    0, and the degrees of freedom are n_a + n_b − 2 as in the pooled test.

    Raises:
        ValueError: a side with fewer than two values, or a spread that is negative or not finite.
    """
    if min(n_a, n_b) < 2:
        raise ValueError(f"a spread needs two training runs a side, not {n_a} and {n_b}")
    _check_spreads(sd_a, sd_b)
    error = math.hypot(sd_a / math.sqrt(n_a), sd_b / math.sqrt(n_b))
    if error == 0:
        return 0.0, float(n_a + n_b - 2)
    return error, float(_satterthwaite((sd_a / error) ** 2 / n_a, n_a, n_b))


def detectable_difference(
    sd_a: float, n_a: int, sd_b: float, n_b: int, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest true difference that Welch's two-sided test at `alpha` finds with this `power`.

    sd_a, sd_b: true standard deviations of the training means. n_a, n_b: training runs. Exact for
    normal values, up to quadrature. The usual shortcut is a noncentral t with the degrees of
    freedom of the true spreads. It promises too much: its "80 %" are 78 % with 5 against 5, and
    70 % with 3 against 3. A significant difference of the wrong sign does not count as found.

    Raises:
        ValueError: as `welch_error`, or not 0 < alpha < power < 1.
    """
    _check_levels(power, alpha)
    error, _ = welch_error(sd_a, n_a, sd_b, n_b)
    if error == 0:
        return 0.0
    # The test sees sample variances instead of the true ones: all pairs of them, with weights.
    # They are independent of the means, so given them the power is a normal probability.
    nodes, weights = np.polynomial.legendre.leggauss(48)
    seen_a, seen_b = (
        (sd / error) ** 2 / n * stats.chi2.ppf((nodes + 1) / 2, n - 1) / (n - 1)
        for sd, n in ((sd_a, n_a), (sd_b, n_b))
    )
    seen = seen_a[:, None] + seen_b  # squared standard error, 1 being the true one
    df = _satterthwaite(seen_a[:, None] / seen, n_a, n_b)
    needed = np.sqrt(seen) * stats.t.isf(alpha / 2, df)

    def excess(shift: float) -> float:
        return float(weights @ stats.norm.cdf(shift - needed) @ weights) / 4 - power

    enough = float(needed.max() + stats.norm.ppf(power))
    return error * float(optimize.brentq(excess, 0.0, enough))


def detectable_mean(sd: float, n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest true mean of `n` normal values that the two-sided t-test finds with this `power`.

    For pairs, sd is the true standard deviation of their differences. Exact, by the noncentral t.
    A significant mean of the wrong sign does not count as found.

    Raises:
        ValueError: as `detectable_difference`.
    """
    _check_levels(power, alpha)
    if n < 2:
        raise ValueError(f"a spread needs two values, not {n}")
    _check_spreads(sd)
    if sd == 0:
        return 0.0
    needed = float(stats.t.isf(alpha / 2, n - 1))

    def excess(shift: float) -> float:
        return float(stats.nct.sf(needed, n - 1, shift)) - power

    # A small enough spread and a large enough mean each have probability √power here.
    each = math.sqrt(power)
    enough = needed * math.sqrt(stats.chi2.ppf(each, n - 1) / (n - 1)) + stats.norm.ppf(each)
    return sd / math.sqrt(n) * float(optimize.brentq(excess, 0.0, enough))


def expected_best(n_trainings: int, n_tests: int, sd_between: float, sd_within: float) -> float:
    """How far the best of all evaluation runs lies above the mean by chance, in the spreads' unit.

    The expected maximum of `training[i] + test[i, j]`, both normal with mean 0, over `n_trainings`
    training runs with `n_tests` evaluation runs each. Computed by numerical integration.

    Raises:
        ValueError: no training or evaluation run, or a spread that is negative or not finite.
    """
    if min(n_trainings, n_tests) < 1:
        raise ValueError(
            f"needs a training run and an evaluation run, not {n_trainings} × {n_tests}"
        )
    _check_spreads(sd_between, sd_within)
    scale = max(sd_between, sd_within)
    if scale == 0:
        return 0.0
    # F(x), the chance that the best evaluation of one training run stays below x, as a mean over
    # the smaller of the two effects (z). The integrand then varies slowly whatever their ratio.
    reach = 15.0  # in units of the larger spread. The density beyond it is negligible.
    x = np.linspace(-reach, reach, 1501)
    z = np.linspace(-9.0, 9.0, 601)
    below = stats.norm.cdf(x[:, None] - min(sd_between, sd_within) / scale * z)
    density = stats.norm.pdf(z)
    if sd_within <= sd_between:  # z is the effect of the best evaluation of the training run
        density = density * n_tests * stats.norm.cdf(z) ** (n_tests - 1)
    else:  # z is the effect of the training run
        below = below**n_tests
    one_training = integrate.trapezoid(below * density, z, axis=1)
    # ∫ x dFⁿ by parts. Fⁿ is 0 at the lower end and 1 at the upper end.
    return scale * (reach - float(integrate.trapezoid(one_training**n_trainings, x)))


def _satterthwaite(share_a: float | np.ndarray, n_a: int, n_b: int) -> float | np.ndarray:
    """Degrees of freedom if a contributes this share of the variance of the difference."""
    return 1 / (share_a**2 / (n_a - 1) + (1 - share_a) ** 2 / (n_b - 1))


def _check_spreads(*spreads: float) -> None:
    if not all(math.isfinite(s) and s >= 0 for s in spreads):
        raise ValueError(f"a standard deviation is negative or not finite: {spreads}")


def _check_levels(power: float, alpha: float) -> None:
    if not 0 < alpha < power < 1:
        raise ValueError(f"needs 0 < alpha < power < 1, not alpha {alpha} and power {power}")
