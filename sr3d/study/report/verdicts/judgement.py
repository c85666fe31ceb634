"""What is found of a claim: three codes, the numbers behind them, and one sentence of reasons.

The value of a code is what the CSV and the page's attributes hold; `wording` has its words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sr3d.study.report.paper import Claim
from sr3d.study.statistics import Interval


class Verdict(Enum):
    """Whether the claim, as it is worded, holds."""

    REPRODUCED = "reproduced"
    DIRECTION_ONLY = "direction_only"  # it states an amount, and only its direction is judged
    NOT_REPRODUCED = "not_reproduced"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not_run"
    NOT_CHECKABLE = "not_checkable"


class Direction(Enum):
    """Whether the effect is there; of a bound or an equivalence, one beyond the margin."""

    THERE = "there"
    BEYOND = "beyond_margin"
    ABSENT = "absent"
    OPPOSITE = "opposite"
    INCONCLUSIVE = "inconclusive"
    NOT_JUDGED = "not_judged"


class Size(Enum):
    """Whether the paper's amount lies inside our interval, or why that is not judged."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    OTHER_DATA = "not_judged_other_data"
    OF_BESTS = "not_judged_of_bests"
    NO_AMOUNT = "not_judged_no_amount"
    NOT_TESTED = "not_judged_not_tested"

    @property
    def judged(self) -> bool:
        """Whether the amounts were compared."""
        return self in (Size.INSIDE, Size.OUTSIDE)


@dataclass(frozen=True)
class Numbers:
    """The numbers of a claim that was tested; those in the claim's unit, or a ratio.

    interval: 95 %, by itself. simultaneous: 95 % together with the intervals of the whole family
    (Bonferroni's, `stats.simultaneous`).
    p_for, p_against, p_amount: of the hypotheses that the claim is false, that it is true, and that
    the paper's amount is the true one (None without an amount), adjusted by Holm's rule over the
    family. A one-sided p is doubled, so that each corresponds to an end of the 95 % interval.
    family: how many hypotheses were adjusted together.
    sharper: Holm's rule decides what the simultaneous interval leaves open.
    detectable: the smallest true difference that a single test of this design finds with 80 %
    power; None where that has no meaning.
    """

    value: float
    interval: Interval
    simultaneous: Interval
    p_for: float
    p_against: float
    p_amount: float | None
    family: int
    sharper: bool
    detectable: float | None

    @property
    def p(self) -> float:
        """The smaller of `p_for` and `p_against`: of the test in the direction of our value."""
        return min(self.p_for, self.p_against)


@dataclass(frozen=True)
class Judgement:
    """One claim of the paper, judged on one data set.

    paper_says, ours: as they are printed; `ours` with its simultaneous interval.
    numbers: None where nothing was tested.
    why: one sentence or more, which name the data.
    """

    claim: Claim
    verdict: Verdict
    direction: Direction
    size: Size
    paper_says: str
    ours: str
    numbers: Numbers | None
    why: str
