"""Trend of a value over settings that differ in one quantity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sr3d.study.statistics.t_estimate import Interval, TEstimate


@dataclass(frozen=True)
class Trend:
    """The slope of a value over settings.

    estimate: change of the value per unit of x. n: points (training runs of all settings).
    """

    estimate: TEstimate
    n: int

    @property
    def slope(self) -> float:
        """The estimated slope."""
        return self.estimate.value

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the slope, without correction for other tests."""
        return self.estimate.interval()

    @property
    def p(self) -> float:
        """Two-sided p of the hypothesis that the slope is 0, without correction for other tests."""
        return self.estimate.p_equal(0.0)


def trend(x: Sequence[float], groups: Sequence[Sequence[float]]) -> Trend | None:
    """Regress training means on `x` by ordinary least squares.

    groups[k] holds the training means of the setting at x[k]. Each mean is one point, so the slope
    is tested against the spread between training runs. Returns None with fewer than three points,
    or if x takes one value only. Values that are all equal give slope 0 and p 1.

    Raises:
        ValueError: x and groups differ in length, or a number is not finite.
    """
    points = [(at, y) for at, ys in zip(x, groups, strict=True) for y in ys]
    if len(points) < 3:
        return None
    across, up = np.asarray(points, dtype=np.float64).T
    if not (np.isfinite(across).all() and np.isfinite(up).all()):
        raise ValueError("a value is not finite")
    # Subtract the first point, so that equal numbers have exactly no spread.
    across, up = across - across[0], up - up[0]
    if not across.any():
        return None
    if not up.any():  # scipy leaves this case undefined
        return Trend(TEstimate(0.0, 0.0, len(points) - 2.0), len(points))
    line = stats.linregress(across, up)
    estimate = TEstimate(float(line.slope), float(line.stderr), len(points) - 2.0)
    return Trend(estimate, len(points))
