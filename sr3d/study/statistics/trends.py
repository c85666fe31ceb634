"""Settings that differ in one quantity: does the value rise or fall with it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sr3d.study.statistics.t_estimate import Interval, TEstimate


@dataclass(frozen=True)
class Trend:
    """What `trend` finds.

    estimate: change of the value per unit of x. n: points (trainings over all settings).
    """

    estimate: TEstimate
    n: int

    @property
    def slope(self) -> float:
        """The estimated slope."""
        return self.estimate.value

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the slope, by itself."""
        return self.estimate.interval()

    @property
    def p(self) -> float:
        """Two-sided p of the hypothesis that there is no slope, by itself."""
        return self.estimate.p_equal(0.0)


def trend(x: Sequence[float], groups: Sequence[Sequence[float]]) -> Trend | None:
    """Regress training means on `x` by ordinary least squares.

    groups[k] holds the training means of the setting at x[k]; each is one point, so the spread
    between trainings is what the slope is measured against. None with fewer than three points, or
    where x takes one value only. Values that are all equal give slope 0 and p 1.

    Raises:
        ValueError: x and groups differ in length, or a number is not finite.
    """
    points = [(at, y) for at, ys in zip(x, groups, strict=True) for y in ys]
    if len(points) < 3:
        return None
    across, up = np.asarray(points, dtype=np.float64).T
    if not (np.isfinite(across).all() and np.isfinite(up).all()):
        raise ValueError("a value is not finite")
    # From the first point on, so that equal numbers have exactly no spread.
    across, up = across - across[0], up - up[0]
    if not across.any():
        return None
    if not up.any():  # scipy leaves this case open
        return Trend(TEstimate(0.0, 0.0, len(points) - 2.0), len(points))
    line = stats.linregress(across, up)
    estimate = TEstimate(float(line.slope), float(line.stderr), len(points) - 2.0)
    return Trend(estimate, len(points))
