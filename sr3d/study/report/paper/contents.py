"""What `workflow/tables.yaml` holds: the paper's tables, its figures and its claims, as data.

A claim is a statement of the paper about its results, in a form that runs can decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

STATISTICS = ("best", "mean", "median")
PRINTS = ("mean", "best_mean")
Values = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """One line of a table.

    setting: what we run for it; None for a method that is not run here, whose figures are cited.
    group: the heading that it stands under, or "". ticks: the components that it has.
    only_on: the only data sets that the setting is for, or () for any; on others the row is left
    out. paper: data set -> metric -> statistic -> number. note: what to know of the row, or "".
    """

    label: str
    setting: str | None
    group: str = ""
    ticks: tuple[str, ...] = ()
    only_on: tuple[str, ...] = ()
    paper: Values
    note: str = ""

    def belongs_on(self, dataset: str) -> bool:
        """Whether its setting is one for these data."""
        return not self.only_on or dataset in self.only_on

    def value(self, dataset: str, metric: str, statistic: str) -> float | None:
        """The paper's number, if it has that one."""
        return self.paper.get(dataset, {}).get(metric, {}).get(statistic)


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """One table.

    datasets: where the paper has it; empty for a table of our own. prints: what a cell of the
    paper holds, "mean" or "best_mean" (as in "74.0 (73.2)"). trainings, tests: of the paper's
    protocol. reference: the setting that differences are taken to, if any. components: columns
    that rows tick.
    """

    name: str
    title: str
    source: str
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    prints: str
    trainings: int
    tests: int
    reference: str | None
    components: tuple[str, ...] = ()
    rows: tuple[PaperRow, ...]
    footnotes: tuple[str, ...] = ()

    def settings(self) -> tuple[str, ...]:
        """The settings of its rows, each once, in order."""
        return tuple(dict.fromkeys(row.setting for row in self.rows if row.setting))


@dataclass(frozen=True, kw_only=True)
class BaseFigure:
    """What every figure has; datasets: where the paper has it."""

    name: str
    title: str
    source: str
    datasets: tuple[str, ...]
    footnotes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tradeoff(BaseFigure):
    """The rows of a table as points: metric `y` over metric `x`."""

    table: str
    x: str
    y: str


@dataclass(frozen=True, kw_only=True)
class Consistency(BaseFigure):
    """AIC over training, confidence against IoU, and PCE; of the `top_n` boxes of each class."""

    settings: tuple[str, ...]
    top_n: int


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One hyper-parameter: its symbol, and (value, setting) in rising order of the values."""

    parameter: str
    metrics: tuple[str, ...]
    points: tuple[tuple[float, str], ...]
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Sweep(BaseFigure):
    """Metrics along hyper-parameters, a panel for each."""

    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Qualitative(BaseFigure):
    """Predicted boxes of two settings in `count` scenes; rule: how the scenes are chosen."""

    settings: tuple[str, str]
    rule: str
    count: int


Figure = Tradeoff | Consistency | Sweep | Qualitative


def settings_of_figure(figure: Figure) -> tuple[str, ...]:
    """The settings that a figure shows, each once; none where it shows those of a table."""
    match figure:
        case Sweep():
            points = [setting for panel in figure.panels for _, setting in panel.points]
            return tuple(dict.fromkeys(points))
        case Tradeoff():
            return ()
        case _:
            return tuple(figure.settings)


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
class DifferenceClaim(BaseClaim):
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
class AmountClaim(BaseClaim):
    """`metric` of `setting` is higher (or lower) than that of `over` by so much.

    The fields are those of `DifferenceClaim`; `paper` has at least one number. statistic: what the
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
class EquivalenceClaim(BaseClaim):
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
class AtMostClaim(BaseClaim):
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
class HighestClaim(BaseClaim):
    """`setting` has the highest mean of `metric`; `among` are the others, without it."""

    kind: ClassVar[str] = "highest"
    metric: str
    setting: str
    among: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrendClaim(BaseClaim):
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
class CurveBelowClaim(BaseClaim):
    """The curve of `metric` over the epochs of training lies below that of `over`, throughout."""

    kind: ClassVar[str] = "curve_below"
    metric: str
    setting: str
    over: str


@dataclass(frozen=True, kw_only=True)
class EqualClaim(BaseClaim):
    """`metric` of `setting` and of `over` are the same number."""

    kind: ClassVar[str] = "equal"
    metric: str
    setting: str
    over: str


@dataclass(frozen=True, kw_only=True)
class CitedClaim(BaseClaim):
    """A statement that no run here can decide, and the reason why."""

    kind: ClassVar[str] = "cited"
    reason: str


MeasuredClaim = (
    DifferenceClaim
    | AmountClaim
    | EquivalenceClaim
    | AtMostClaim
    | HighestClaim
    | TrendClaim
    | CurveBelowClaim
    | EqualClaim
)
Claim = MeasuredClaim | CitedClaim


def settings_of_claim(claim: Claim) -> tuple[str, ...]:
    """The settings that a claim is about, each once."""
    match claim:
        case HighestClaim():
            return (claim.setting, *claim.among)
        case TrendClaim():
            return tuple(setting for _, setting in claim.along)
        case CitedClaim():
            return ()
        case _:
            return (claim.setting, claim.over)


@dataclass(frozen=True)
class Paper:
    """Everything that `tables.yaml` holds, each by its name, in the order of the file."""

    tables: dict[str, PaperTable]
    figures: dict[str, Figure]
    claims: dict[str, Claim]


def settings_of(paper: Paper, name: str) -> tuple[str, ...]:
    """The settings that a table or figure shows, each once, in order."""
    if name in paper.tables:
        return paper.tables[name].settings()
    figure = paper.figures[name]
    if isinstance(figure, Tradeoff):
        return paper.tables[figure.table].settings()
    return settings_of_figure(figure)


def title_of(paper: Paper, name: str) -> str:
    """The title of a table or figure."""
    return (paper.tables[name] if name in paper.tables else paper.figures[name]).title
