"""A figure of the report, the estimates in it, and what is missing from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sr3d.data.scene import Scene
from sr3d.errors import InputError
from sr3d.evaluate.scored_files import ScoredDetections, read_scored
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.record import DETECTIONS_FILE, run_file
from sr3d.study.report.findings import Findings, runs_of
from sr3d.study.statistics import t_interval


@dataclass(frozen=True)
class Viewer:
    """The viewer of a scene in a figure: its file, and the position of the scene's pictures.

    top, bottom: of the pictures, as fractions of the figure's height from its upper edge.
    """

    scene: str
    path: Path
    top: float
    bottom: float


@dataclass(frozen=True)
class ReportFigure:
    """One figure on one data set. svg and png are None if nothing could be drawn.

    missing: one sentence per missing part. viewers: of its scenes, if it shows scenes and their
    points are available.
    """

    name: str
    dataset: str
    title: str
    caption: str
    svg: Path | None
    png: Path | None
    missing: tuple[str, ...]
    viewers: tuple[Viewer, ...] = ()

    def files(self) -> list[Path]:
        """All files of the figure."""
        drawings = [path for path in (self.svg, self.png) if path is not None]
        return [*drawings, *(viewer.path for viewer in self.viewers)]


@dataclass(frozen=True)
class FigureScene:
    """A scene of a figure, with the content of its viewer.

    found: detections in any scenes, by the printed name of their setting. panels: its pictures.
    """

    scene: Scene
    found: Mapping[str, BoxSet]
    classes: Sequence[str]
    panels: Sequence[Axes]


@dataclass
class Canvas:
    """A figure that drawing functions fill. picture stays None if nothing ran.

    undrawn: the text in place of the picture if it is None. scenes: with available points. dark:
    whether the figure also has dark colours. Pictures of points keep their white background.
    """

    title: str
    caption: str = ""
    undrawn: str = "Nothing to draw yet."
    picture: Figure | None = None
    missing: list[str] = field(default_factory=list)
    scenes: list[FigureScene] = field(default_factory=list)
    dark: bool = True

    def first_test(self, findings: Findings, setting: str, label: str) -> ScoredDetections | None:
        """The first evaluation of a setting's first training run, None if there is none.

        If it cannot be read, the reason is added to `missing`.
        """
        runs = runs_of(findings.results / findings.dataset / setting)
        first = next((run for run in runs if run.test is not None), None)
        if first is None:
            return None
        try:
            return read_scored(run_file(findings.results / first.key, first, DETECTIONS_FILE))
        except InputError as error:
            self.missing.append(f"{label}: {str(error).removeprefix(f'{findings.results}/')}")
            return None


@dataclass(frozen=True)
class Estimate:
    """mean: over the evaluations. interval: 95 % over training runs, None with a single one."""

    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Band:
    """A mean curve with its band, one value per epoch. low and high are None if unknown.

    shortest, longest: epochs of the training runs. The curve has the shortest length.
    """

    means: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    shortest: int
    longest: int


def estimate(findings: Findings, setting: str, metric: str) -> Estimate | None:
    """The estimate of the summary, None if the metric was not measured."""
    found = findings.metric(setting, metric)
    if found is None:
        return None
    interval = found.get("interval")
    return Estimate(float(found["mean"]), None if interval is None else (interval[0], interval[1]))


def band(curves: Sequence[Sequence[float]]) -> Band | None:
    """The mean of curves `[training][epoch]`, with the 95 % t-interval of each epoch.

    With two training runs the band reaches from one to the other, because their t-interval is 13
    standard errors wide and would cover the whole figure.
    """
    lengths = [len(curve) for curve in curves]
    if not lengths or not min(lengths):
        return None
    epochs = list(zip(*curves, strict=False))
    low = high = None
    if len(curves) > 1:
        ends = [_interval_ends(values) for values in epochs]
        low, high = tuple(a for a, _ in ends), tuple(b for _, b in ends)
    return Band(tuple(fmean(values) for values in epochs), low, high, min(lengths), max(lengths))


def incomplete(findings: Findings, setting: str, label: str) -> list[str]:
    """A sentence about missing runs of a setting: all runs, all evaluations, or some of them."""
    summary = findings.summary(setting)
    if summary is None:
        return [f"{label}: not run"]
    expected = (summary.get("expected") or {}).get("runs")
    runs = summary.get("runs", 0)
    if runs == 0:
        return [f"{label}: no evaluation"]
    return [f"{label}: {runs} of {expected} evaluations"] if expected and runs < expected else []


def _interval_ends(values: Sequence[float]) -> tuple[float, float]:
    interval = t_interval(values) if len(values) > 2 else None
    return interval or (min(values), max(values))
