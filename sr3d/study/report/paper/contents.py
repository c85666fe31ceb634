"""What `workflow/tables.yaml` holds: the paper's tables, its figures and its claims, as data.

A claim is a statement of the paper about its results, in a form that runs can decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from annotated_types import Interval

from sr3d.config import DatasetName
from sr3d.value_types import ByField, FromKey, LeftOut, Line, Validated

MetricName = Literal["AP25", "AP50", "PCE", "AIC", "latency_ms", "minutes_per_epoch", "parameters"]
Statistic = Literal["best", "mean", "median"]
Prints = Literal["mean", "best_mean"]
STATISTICS: tuple[str, ...] = get_args(Statistic)
PRINTS: tuple[str, ...] = get_args(Prints)

Datasets = tuple[DatasetName, ...]
Metrics = tuple[MetricName, ...]
Values = Mapping[DatasetName, Mapping[MetricName, Mapping[Statistic, float]]]
Stated = Mapping[DatasetName, float]
Positive = Annotated[int, Interval(ge=1)]
AboveZero = Annotated[float, Interval(gt=0)]


@dataclass(frozen=True)
class _FromMapping:
    """The file has a mapping of values to settings. They become pairs in rising order."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        # The keys of JSON are text, which a strict schema does not convert.
        value = core_schema.float_schema(strict=False, allow_inf_nan=False)
        mapping = core_schema.dict_schema(value, handler.generate_schema(Line))
        return core_schema.no_info_after_validator_function(_rising, mapping)


def _rising(points: Mapping[float, str]) -> tuple[tuple[float, str], ...]:
    values = list(points)
    if any(low >= high for low, high in pairwise(values)):
        raise ValueError(f"expected values in rising order, got {values}")
    return tuple(points.items())


Points = Annotated[tuple[tuple[float, str], ...], _FromMapping()]


@dataclass(frozen=True, kw_only=True)
class PaperRow(Validated):
    """One line of a table.

    setting: what we run for it; None for a method that is not run here, whose figures are cited.
    group: the heading that it stands under, or "". ticks: the components that it has.
    only_on: the only data sets that the setting is for, or () for any; on others the row is left
    out. paper: data set -> metric -> statistic -> number. note: what to know of the row, or "".
    """

    label: Line
    setting: LeftOut[Line] = None
    group: Line = ""
    ticks: tuple[Line, ...] = ()
    only_on: Datasets = ()
    paper: Values = field(default_factory=dict, hash=False)
    note: Line = ""

    def belongs_on(self, dataset: str) -> bool:
        """Whether its setting is one for these data."""
        return not self.only_on or dataset in self.only_on

    def value(self, dataset: str, metric: str, statistic: str) -> float | None:
        """The paper's number, if it has that one."""
        numbers: Mapping[Any, Mapping[Any, Mapping[Any, float]]] = self.paper
        return numbers.get(dataset, {}).get(metric, {}).get(statistic)


@dataclass(frozen=True, kw_only=True)
class PaperTable(Validated):
    """One table.

    datasets: where the paper has it; empty for a table of our own. prints: what a cell of the
    paper holds, "mean" or "best_mean" (as in "74.0 (73.2)"). trainings, tests: of the paper's
    protocol. reference: the setting that differences are taken to, if any. components: columns
    that rows tick.
    """

    name: Annotated[str, FromKey()] = ""
    title: Line
    source: Line
    datasets: Datasets
    metrics: Metrics
    prints: Prints
    trainings: Positive
    tests: Positive
    reference: LeftOut[Line] = None
    components: tuple[Line, ...] = ()
    rows: tuple[PaperRow, ...]
    footnotes: tuple[Line, ...] = ()

    def settings(self) -> tuple[str, ...]:
        """The settings of its rows, each once, in order."""
        return tuple(dict.fromkeys(row.setting for row in self.rows if row.setting))


@dataclass(frozen=True, kw_only=True)
class BaseFigure(Validated):
    """What every figure has; datasets: where the paper has it."""

    kind: str
    name: Annotated[str, FromKey()] = ""
    title: Line
    source: Line
    datasets: Datasets
    footnotes: tuple[Line, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tradeoff(BaseFigure):
    """The rows of a table as points: metric `y` over metric `x`."""

    kind: Literal["tradeoff"] = "tradeoff"
    table: Line
    x: MetricName
    y: MetricName


@dataclass(frozen=True, kw_only=True)
class Consistency(BaseFigure):
    """AIC over training, confidence against IoU, and PCE; of the `top_n` boxes of each class."""

    kind: Literal["consistency"] = "consistency"
    settings: tuple[Line, ...]
    top_n: Positive


@dataclass(frozen=True, kw_only=True)
class Panel(Validated):
    """One hyper-parameter: its symbol, and (value, setting) in rising order of the values."""

    parameter: Line
    metrics: Metrics
    points: Points
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Sweep(BaseFigure):
    """Metrics along hyper-parameters, a panel for each."""

    kind: Literal["sweep"] = "sweep"
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Qualitative(BaseFigure):
    """Predicted boxes of two settings in `count` scenes; rule: how the scenes are chosen."""

    kind: Literal["qualitative"] = "qualitative"
    settings: tuple[Line, Line]
    rule: Line
    count: Positive


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
class BaseClaim(Validated):
    """What every claim has.

    kind: how its wording is judged. id: its name in `tables.yaml`. of: the table or figure that it
    belongs to. says: the claim in our words. where: the place in the paper. datasets: those that
    the paper makes it for.
    footnote: what to know of it, such as that the paper's own numbers disagree; may be empty.
    """

    kind: str
    id: Annotated[str, FromKey()] = ""
    of: Line
    says: Line
    where: Line
    datasets: Datasets
    footnote: Line = ""


@dataclass(frozen=True, kw_only=True)
class DifferenceClaim(BaseClaim):
    """`setting` has a higher (or lower) `metric` than `over`: the words state a direction.

    direction: "higher" or "lower". paper: data set -> `setting` minus `over` as the paper has it,
    in the metric's unit; its sign agrees with `direction`; empty where the paper gives no number.
    """

    kind: Literal["difference"] = "difference"
    metric: MetricName
    setting: Line
    over: Line
    direction: Literal["higher", "lower"]
    paper: Stated = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class AmountClaim(BaseClaim):
    """`metric` of `setting` is higher (or lower) than that of `over` by so much.

    The fields are those of `DifferenceClaim`; `paper` has at least one number. statistic: what the
    paper's number is a difference of, "mean" or "best".
    """

    kind: Literal["amount"] = "amount"
    metric: MetricName
    setting: Line
    over: Line
    direction: Literal["higher", "lower"]
    paper: Stated = field(hash=False)
    statistic: Statistic = "mean"


@dataclass(frozen=True, kw_only=True)
class EquivalenceClaim(BaseClaim):
    """`metric` of `setting` and of `over` is about the same.

    scale: "difference" or "ratio", which is how the two are compared. margin: the largest change
    that still counts as about the same: so much in the metric's unit, or a factor above 1.
    margin_reason: why so much. paper: data set -> the paper's own difference or ratio.
    """

    kind: Literal["equivalence"] = "equivalence"
    metric: MetricName
    setting: Line
    over: Line
    scale: Literal["difference", "ratio"]
    margin: AboveZero
    margin_reason: Line
    paper: Stated = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class AtMostClaim(BaseClaim):
    """`metric` of `setting`, divided by that of `over`, is at most `limit`.

    limit_reason: where the limit is from. paper: data set -> the ratio of the paper's own values.
    """

    kind: Literal["at_most"] = "at_most"
    metric: MetricName
    setting: Line
    over: Line
    limit: AboveZero
    limit_reason: Line
    paper: Stated = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class HighestClaim(BaseClaim):
    """`setting` has the highest mean of `metric`; `among` are the others, without it."""

    kind: Literal["highest"] = "highest"
    metric: MetricName
    setting: Line
    among: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class TrendClaim(BaseClaim):
    """`metric` falls or rises along a hyper-parameter.

    along: (value, setting) in rising order of the values, at least three. direction: "falls" or
    "rises". log: whether the trend is along the logarithm of the values.
    """

    kind: Literal["trend"] = "trend"
    metric: MetricName
    along: Points
    direction: Literal["falls", "rises"]
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class CurveBelowClaim(BaseClaim):
    """The curve of `metric` over the epochs of training lies below that of `over`, throughout."""

    kind: Literal["curve_below"] = "curve_below"
    metric: MetricName
    setting: Line
    over: Line


@dataclass(frozen=True, kw_only=True)
class EqualClaim(BaseClaim):
    """`metric` of `setting` and of `over` are the same number."""

    kind: Literal["equal"] = "equal"
    metric: MetricName
    setting: Line
    over: Line


@dataclass(frozen=True, kw_only=True)
class CitedClaim(BaseClaim):
    """A statement that no run here can decide, and the reason why."""

    kind: Literal["cited"] = "cited"
    reason: Line


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
class Paper(Validated):
    """Everything that `tables.yaml` holds, each by its name, in the order of the file."""

    tables: dict[str, PaperTable]
    figures: dict[str, Annotated[Figure, ByField("kind")]]
    claims: dict[str, Annotated[Claim, ByField("kind")]]


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
