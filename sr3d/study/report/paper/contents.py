"""The content of `workflow/tables.yaml`: the paper's tables, figures and claims, as data.

A claim is a statement of the paper about its results, in a form that can be tested with runs.
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
    """The file maps values to settings. The mapping becomes pairs in rising order."""

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

    setting: the setting that we run for it, None for a method that is only cited. group: the
    heading above it, or "". ticks: its components. only_on: the data sets to which the setting
    applies, or () for all. On other data sets the row is omitted. paper: data set -> metric ->
    statistic -> number. note: a remark on the row, or "".
    """

    label: Line
    setting: LeftOut[Line] = None
    group: Line = ""
    ticks: tuple[Line, ...] = ()
    only_on: Datasets = ()
    paper: Values = field(default_factory=dict, hash=False)
    note: Line = ""

    def belongs_on(self, dataset: str) -> bool:
        """Whether its setting applies to these data."""
        return not self.only_on or dataset in self.only_on

    def value(self, dataset: str, metric: str, statistic: str) -> float | None:
        """The paper's number, None if there is none."""
        numbers: Mapping[Any, Mapping[Any, Mapping[Any, float]]] = self.paper
        return numbers.get(dataset, {}).get(metric, {}).get(statistic)


@dataclass(frozen=True, kw_only=True)
class PaperTable(Validated):
    """One table.

    datasets: on which the paper has the table, empty for our own tables. prints: the content of the
    paper's cells, "mean" or "best_mean" (as in "74.0 (73.2)"). trainings, tests: of the paper's
    protocol. reference: the setting that differences refer to, if any. components: columns that
    rows tick.
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
    """The fields of all figures. datasets: on which the paper has the figure."""

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
    """AIC over training, confidence against IoU, and PCE, of the `top_n` boxes of each class."""

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
    """Metrics along hyper-parameters, one panel each."""

    kind: Literal["sweep"] = "sweep"
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Qualitative(BaseFigure):
    """Predicted boxes of two settings in `count` scenes. rule: for the choice of the scenes."""

    kind: Literal["qualitative"] = "qualitative"
    settings: tuple[Line, Line]
    rule: Line
    count: Positive


Figure = Tradeoff | Consistency | Sweep | Qualitative


def settings_of_figure(figure: Figure) -> tuple[str, ...]:
    """The settings of a figure, each once. Empty if the figure shows those of a table."""
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
    """The fields of all claims.

    kind: the kind of statement, which decides the test. id: its name in `tables.yaml`. of: its
    table or figure. says: the claim in our words. where: the place in the paper. datasets: for
    which the paper claims it. footnote: a remark, for instance that the paper's own numbers
    disagree. May be empty.
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
    """`setting` has a higher (or lower) `metric` than `over`. The claim states a direction only.

    direction: "higher" or "lower". paper: data set -> the paper's `setting` minus `over`, in the
    metric's unit. Its sign agrees with `direction`. Empty if the paper gives no number.
    """

    kind: Literal["difference"] = "difference"
    metric: MetricName
    setting: Line
    over: Line
    direction: Literal["higher", "lower"]
    paper: Stated = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class AmountClaim(BaseClaim):
    """`metric` of `setting` is higher (or lower) than that of `over` by the paper's amount.

    The fields are those of `DifferenceClaim`, and `paper` has at least one number. statistic: the
    paper's number is a difference of this statistic, "mean" or "best".
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

    scale: "difference" or "ratio", by which the two are compared. margin: the largest change that
    counts as about the same, in the metric's unit or as a factor above 1. margin_reason: the reason
    for this margin. paper: data set -> the paper's own difference or ratio.
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

    limit_reason: the source of the limit. paper: data set -> the ratio of the paper's own values.
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
    """`setting` has the highest mean of `metric`. `among`: the other settings, without it."""

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
    """The curve of `metric` over the epochs lies below that of `over` in every epoch."""

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
    """A statement that no run can test here, and the reason."""

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
    """The settings of a claim, each once."""
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
    """The whole content of `tables.yaml` by name, in the order of the file."""

    tables: dict[str, PaperTable]
    figures: dict[str, Annotated[Figure, ByField("kind")]]
    claims: dict[str, Annotated[Claim, ByField("kind")]]


def settings_of(paper: Paper, name: str) -> tuple[str, ...]:
    """The settings of a table or figure, each once, in order."""
    if name in paper.tables:
        return paper.tables[name].settings()
    figure = paper.figures[name]
    if isinstance(figure, Tradeoff):
        return paper.tables[figure.table].settings()
    return settings_of_figure(figure)


def title_of(paper: Paper, name: str) -> str:
    """The title of a table or figure."""
    return (paper.tables[name] if name in paper.tables else paper.figures[name]).title
