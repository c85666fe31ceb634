"""What the paper says of its results in words, each statement so that runs can decide it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class BaseClaim:
    """What every claim has.

    id: its name in `tables.yaml`. of: the table or figure that it belongs to. says: the claim in
    our words. where: the place in the paper. datasets: those that the paper makes it for.
    footnote: what to know of it, such as that the paper's own numbers disagree; may be empty.
    """

    id: str
    of: str
    says: str
    where: str
    datasets: tuple[str, ...]
    footnote: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference(BaseClaim):
    """`setting` has a higher (or lower) `metric` than `over`.

    direction: "higher" or "lower". paper: data set -> `setting` minus `over` as the paper has it,
    in the metric's unit; its sign agrees with `direction`; empty where the paper gives no number.
    statistic: what the paper's number is a difference of, "mean" or "best".
    """

    metric: str
    setting: str
    over: str
    direction: str
    paper: Mapping[str, float] = field(default_factory=dict, hash=False)
    statistic: str = "mean"


@dataclass(frozen=True, kw_only=True)
class Highest(BaseClaim):
    """`setting` has the highest mean of `metric`; `among` are the others, without it."""

    metric: str
    setting: str
    among: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Trend(BaseClaim):
    """`metric` falls or rises along a hyper-parameter.

    along: (value, setting) in rising order of the values, at least three. direction: "falls" or
    "rises". log: whether the trend is along the logarithm of the values.
    """

    metric: str
    along: tuple[tuple[float, str], ...]
    direction: str
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class CurveBelow(BaseClaim):
    """The curve of `metric` over the epochs of training lies below that of `over`, throughout."""

    metric: str
    setting: str
    over: str


@dataclass(frozen=True, kw_only=True)
class RatioBelow(BaseClaim):
    """`metric` of `setting`, divided by that of `over`, is below `limit`.

    paper: data set -> the ratio of the paper's own values.
    """

    metric: str
    setting: str
    over: str
    limit: float
    paper: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class Equal(BaseClaim):
    """`metric` of `setting` and of `over` are the same number."""

    metric: str
    setting: str
    over: str


@dataclass(frozen=True, kw_only=True)
class Cited(BaseClaim):
    """A statement that no run here can decide, and the reason why."""

    reason: str


Claim = Difference | Highest | Trend | CurveBelow | RatioBelow | Equal | Cited


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
