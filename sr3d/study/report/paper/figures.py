"""The paper's figures as data: what each shows, of which settings."""

from __future__ import annotations

from dataclasses import dataclass


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
