"""Ranges of numbers, declared beside the fields of a configuration as `Annotated` types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`. above: whether `low` itself is left out."""

    low: float
    high: float
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies in the range. NaN does not."""
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        low, high = _number(self.low), _number(self.high)
        return f"above {low} and at most {high}" if self.above else f"from {low} to {high}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


# The upper bounds lie far beyond any sensible value. Above them a run overflows or never begins.
Share = Annotated[float, Range(0, 1)]
PositiveShare = Annotated[float, Range(0, 1, above=True)]
Weight = Annotated[float, Range(0, 1000)]
Exponent = Annotated[float, Range(0, 100)]
Count = Annotated[int, Range(1, 10_000)]
ManyOrNone = Annotated[int, Range(0, 10_000_000)]
Many = Annotated[int, Range(1, 10_000_000)]
Factor = Annotated[float, Range(0.01, 100)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
Level = Annotated[int, Range(0, 1)]
