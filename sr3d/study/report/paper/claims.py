"""What the paper says of its results in words, each statement so that runs can decide it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class BaseClaim:
    """What every claim has.

    kind: how its wording is judged. id: its name in `tables.yaml`. of: the table or figure that it
    belongs to. says: the claim in our words. where: the place in the paper. datasets: those that
    the paper makes it for.
    footnote: what to know of it, such as that the paper's own numbers disagree; may be empty.
    """

    kind: ClassVar[str]
    id: str
    of: str
    says: str
    where: str
    datasets: tuple[str, ...]
    footnote: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference(BaseClaim):
    """`setting` has a higher (or lower) `metric` than `over`: the words state a direction.

    direction: "higher" or "lower". paper: data set -> `setting` minus `over` as the paper has it,
    in the metric's unit; its sign agrees with `direction`; empty where the paper gives no number.
    """

    kind: ClassVar[str] = "difference"
    metric: str
    setting: str
    over: str
    direction: str
    paper: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class Amount(BaseClaim):
    """`metric` of `setting` is higher (or lower) than that of `over` by so much.

    The fields are those of `Difference`; `paper` has at least one number. statistic: what the
    paper's number is a difference of, "mean" or "best".
    """

    kind: ClassVar[str] = "amount"
    metric: str
    setting: str
    over: str
    direction: str
    paper: Mapping[str, float] = field(hash=False)
    statistic: str = "mean"


@dataclass(frozen=True, kw_only=True)
class Equivalence(BaseClaim):
    """`metric` of `setting` and of `over` is about the same.

    scale: "difference" or "ratio", which is how the two are compared. margin: the largest change
    that still counts as about the same: so much in the metric's unit, or a factor above 1.
    margin_reason: why so much. paper: data set -> the paper's own difference or ratio.
    """

    kind: ClassVar[str] = "equivalence"
    metric: str
    setting: str
    over: str
    scale: str
    margin: float
    margin_reason: str
    paper: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class AtMost(BaseClaim):
    """`metric` of `setting`, divided by that of `over`, is at most `limit`.

    limit_reason: where the limit is from. paper: data set -> the ratio of the paper's own values.
    """

    kind: ClassVar[str] = "at_most"
    metric: str
    setting: str
    over: str
    limit: float
    limit_reason: str
    paper: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class Highest(BaseClaim):
    """`setting` has the highest mean of `metric`; `among` are the others, without it."""

    kind: ClassVar[str] = "highest"
    metric: str
    setting: str
    among: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Trend(BaseClaim):
    """`metric` falls or rises along a hyper-parameter.

    along: (value, setting) in rising order of the values, at least three. direction: "falls" or
    "rises". log: whether the trend is along the logarithm of the values.
    """

    kind: ClassVar[str] = "trend"
    metric: str
    along: tuple[tuple[float, str], ...]
    direction: str
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class CurveBelow(BaseClaim):
    """The curve of `metric` over the epochs of training lies below that of `over`, throughout."""

    kind: ClassVar[str] = "curve_below"
    metric: str
    setting: str
    over: str


@dataclass(frozen=True, kw_only=True)
class Equal(BaseClaim):
    """`metric` of `setting` and of `over` are the same number."""

    kind: ClassVar[str] = "equal"
    metric: str
    setting: str
    over: str


@dataclass(frozen=True, kw_only=True)
class Cited(BaseClaim):
    """A statement that no run here can decide, and the reason why."""

    kind: ClassVar[str] = "cited"
    reason: str


Measured = Difference | Amount | Equivalence | AtMost | Highest | Trend | CurveBelow | Equal
Claim = Measured | Cited


def settings_of_claim(claim: Claim) -> tuple[str, ...]:
    """The settings that a claim is about, each once."""
    match claim:
        case Highest():
            return (claim.setting, *claim.among)
        case Trend():
            return tuple(setting for _, setting in claim.along)
        case Cited():
            return ()
        case _:
            return (claim.setting, claim.over)
