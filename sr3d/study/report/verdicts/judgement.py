"""The judgement of a claim: three codes, the numbers behind them, and their words in print.

The CSV and the attributes of the page hold the values of the codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from sr3d.study.report.paper import Claim, Stated, number, printed_dataset
from sr3d.study.statistics import Comparison, Interval, Ratio


class Verdict(Enum):
    """Whether the claim holds as worded."""

    REPRODUCED = "reproduced"
    DIRECTION_ONLY = "direction_only"  # it states an amount, but only its direction is judged
    NOT_REPRODUCED = "not_reproduced"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not_run"
    NOT_CHECKABLE = "not_checkable"


class Direction(Enum):
    """Whether the effect is there. For a bound or an equivalence, an effect beyond the margin."""

    THERE = "there"
    BEYOND = "beyond_margin"
    ABSENT = "absent"
    OPPOSITE = "opposite"
    INCONCLUSIVE = "inconclusive"
    NOT_JUDGED = "not_judged"


class Size(Enum):
    """Whether the paper's amount lies inside our interval, or why this is not judged."""

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
    """The numbers of a tested claim, in the claim's unit or as a ratio.

    interval: 95 %, without correction. simultaneous: 95 %, simultaneous over the whole family
    (Bonferroni's, `stats.simultaneous`).
    p_for, p_against, p_amount: of the hypotheses that the claim is false, that it is true, and that
    the paper's amount is the true one (None without an amount), adjusted by Holm's rule over the
    family. A one-sided p is doubled, so that each corresponds to an end of the 95 % interval.
    family: number of hypotheses that were adjusted together.
    sharper: Holm's rule decides, although the simultaneous interval does not.
    detectable: the smallest true difference that a single test of this design finds with 80 %
    power. None where that is meaningless.
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
        """The smaller of `p_for` and `p_against`, which tests the direction of our value."""
        return min(self.p_for, self.p_against)


@dataclass(frozen=True)
class Judgement:
    """One claim of the paper, judged on one data set.

    paper_says, ours: in print, `ours` with its simultaneous interval.
    numbers: None if nothing was tested.
    why: one or more sentences that name the data.
    """

    claim: Claim
    verdict: Verdict
    direction: Direction
    size: Size
    paper_says: str
    ours: str
    numbers: Numbers | None
    why: str


NOTHING = "–"
# Added to the reason of a verdict on thin networks of several detectors.
THIN = (
    "These are thin networks of different detectors. The verdict says nothing about the published "
    "networks."
)


@dataclass(frozen=True)
class Words:
    """word: the printed word for a code. meaning: its explanation in a phrase."""

    word: str
    meaning: str


# A metric's name in a sentence, and its unit. For scores both are the metric's name.
_CALLED = {"latency_ms": ("latency", "ms"), "minutes_per_epoch": ("time an epoch", "minutes")}

# The words of each code. {} stands for the data, or for the paper's amount.
VERDICTS = {
    Verdict.REPRODUCED: Words("reproduced", "the claim, as it is worded, also holds on {}"),
    Verdict.DIRECTION_ONLY: Words(
        "direction reproduced",
        "the claim states an amount. On {} its direction holds, and its amount is not judged",
    ),
    Verdict.NOT_REPRODUCED: Words(
        "not reproduced", "the training runs on {} contradict the claim as it is worded"
    ),
    Verdict.INCONCLUSIVE: Words(
        "inconclusive", "the training runs on {} agree with the claim and with its denial"
    ),
    Verdict.NOT_RUN: Words("not run", "nothing on {} that could decide it"),
    Verdict.NOT_CHECKABLE: Words(
        "not checkable here", "no run of ours could decide it, for the reason below each claim"
    ),
}
DIRECTIONS = {
    Direction.THERE: Words("there", "the effect is there"),
    Direction.ABSENT: Words("absent", "an effect beyond the margin is excluded"),
    Direction.BEYOND: Words("beyond the margin", "an effect beyond the margin is there"),
    Direction.OPPOSITE: Words("opposite", "the effect is opposite to the claim"),
    Direction.INCONCLUSIVE: Words("inconclusive", "the direction is open"),
    Direction.NOT_JUDGED: Words("not judged", "nothing to judge by"),
}
SIZES = {
    Size.INSIDE: Words("inside", "the paper's {} lies inside our interval"),
    Size.OUTSIDE: Words("outside", "the paper's {} lies outside our interval"),
    Size.OTHER_DATA: Words(
        "not judged: other data", "the amount is not judged on {}, where the paper has none"
    ),
    Size.OF_BESTS: Words(
        "not judged: of bests",
        "judged on means, so the amount is not judged: a best of many has no interval",
    ),
    Size.NO_AMOUNT: Words("not judged: no amount", "the paper states no amount"),
    Size.NOT_TESTED: Words("not judged", "the amount could not be tested"),
}


@dataclass(frozen=True)
class Place:
    """The data on which a claim is judged. known: whether the paper makes the claim on them."""

    label: str
    known: bool

    def sentence(self, text: str, verdict: Verdict) -> str:
        """The text as a sentence that names the data."""
        if self.known:
            return f"On {self.label}: {text}."
        if verdict in (Verdict.REPRODUCED, Verdict.DIRECTION_ONLY):
            return f"Also holds on {self.label}, where the paper does not claim it: {text}."
        return f"On {self.label}, where the paper does not claim it: {text}."


def place_of(claim: Claim, dataset: str) -> Place:
    """The data on which a claim is judged.

    Raises:
        InputError: an unknown data set.
    """
    return Place(printed_dataset(dataset).label, dataset in claim.datasets)


def called(metric: str) -> str:
    """The metric's name in a sentence."""
    return _CALLED.get(metric, (metric, metric))[0]


def unit(metric: str) -> str:
    """The metric's unit."""
    return _CALLED.get(metric, (metric, metric))[1]


def verb(subjects: Sequence[str], singular: str) -> str:
    """The verb in the form that fits the number of subjects."""
    return singular if len(subjects) == 1 else {"has": "have"}.get(singular, singular[:-1])


def per_step(slope: float) -> str:
    """A slope with three significant digits, because its magnitude is unknown."""
    return f"{slope:+.3g}".replace("-", "−")


def behind(found: Comparison | Ratio) -> str:
    """The training runs behind a comparison."""
    return f"{found.n_a} training runs, paired" if found.paired else versus(found.n_a, found.n_b)


def versus(n_a: int, n_b: int) -> str:
    """The number of training runs on either side."""
    return f"{n_a} vs {n_b} training runs"


def p_value(p: float) -> str:
    """A p-value as text."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def listed(names: Iterable[str]) -> str:
    """'a', 'a and b', 'a, b and c', or '' without names."""
    *first, last = list(names) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def quoted(name: str) -> str:
    """A printed name within a sentence, in quotation marks if it has several words.

    A single word, or "k = 7", has no quotation marks.
    """
    return name if re.fullmatch(r"\S+( = \S+)?", name) else f"“{name}”"


def missed(metric: str, detectable: float) -> str:
    """The true difference that a design can miss."""
    return (
        f"a true difference below {number(metric, detectable)} {unit(metric)} would be missed "
        "more often than one time in five"
    )


def printed_by(paper: Stated, dataset: str, show: Callable[[float], str]) -> str:
    """The paper's number on the data, otherwise all its numbers on its own data, "" without any."""
    known = {d: value for d, value in paper.items() if d == dataset} or paper
    return listed(f"{show(value)} on {printed_dataset(d).label}" for d, value in known.items())
