"""Settings that differ in one quantity: does the value rise or fall with it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sr3d.stats.summary import CONFIDENCE


@dataclass(frozen=True)
class Trend:
    """What `trend` finds.

    slope: change of the value per unit of x; interval: its 95 % interval.
    p: two-sided, against no slope; n: points (trainings over all settings).
    """

    slope: float
    interval: tuple[float, float]
    p: float
    n: int


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
        return Trend(slope=0.0, interval=(0.0, 0.0), p=1.0, n=len(points))
    line = stats.linregress(across, up)
    slope = float(line.slope)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(points) - 2) * line.stderr)
    return Trend(slope, (slope - half, slope + half), float(line.pvalue), len(points))
