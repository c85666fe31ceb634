"""An estimate whose error follows Student's t, with its tests and confidence intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from sr3d.study.statistics.summary import CONFIDENCE

Interval = tuple[float, float]


@dataclass(frozen=True)
class TEstimate:
    """An estimated number with its standard error and degrees of freedom.

    With a standard error of 0 the tests take the number literally: a hypothesis that it fulfils
    has p 1, any other has p 0.
    """

    value: float
    error: float
    df: float

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """The two-sided confidence interval."""
        half = -float(special.stdtrit(self.df, (1 - confidence) / 2)) * self.error
        return self.value - half, self.value + half

    def p_equal(self, number: float) -> float:
        """Two-sided p of the hypothesis that the true number is this one."""
        return min(1.0, 2 * min(self.p_at_most(number), self.p_at_least(number)))

    def p_at_most(self, bound: float) -> float:
        """One-sided p of the hypothesis that the true number is this or lower."""
        return self._above(self.value - bound)

    def p_at_least(self, bound: float) -> float:
        """One-sided p of the hypothesis that the true number is this or higher."""
        return self._above(bound - self.value)

    def _above(self, excess: float) -> float:
        if self.error == 0:
            return 0.0 if excess > 0 else 1.0
        return float(special.stdtr(self.df, -excess / self.error))

    @property
    def has_spread(self) -> bool:
        """Whether the values behind the estimate differ by more than rounding."""
        low, high = self.interval()
        return not math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-9)


def simultaneous(estimates: int, confidence: float = CONFIDENCE) -> float:
    """The confidence of each of several intervals that hold together with `confidence`.

    These are Bonferroni's intervals (Dunn 1961, "Multiple comparisons among means"). Holm's rule
    rejects whatever they exclude, and sometimes more. Strassburger and Bretz (2008) and Guilbaud
    (2008) give intervals that always agree with Holm's rule. But for a rejected hypothesis these
    show only the side, unless all hypotheses of the family are rejected.

    Raises:
        ValueError: fewer than one estimate, or a confidence outside (0, 1).
    """
    if estimates < 1 or not 0 < confidence < 1:
        raise ValueError(f"no intervals of {estimates} estimates with confidence {confidence}")
    return 1 - (1 - confidence) / estimates
