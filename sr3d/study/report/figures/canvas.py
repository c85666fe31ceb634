"""A figure of the report, the estimates that it shows, and what it lacks."""

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
    """The viewer of a scene that a figure shows: its file, and where the scene's pictures stand.

    top, bottom: their ends, as parts of the figure's height from its upper edge.
    """

    scene: str
    path: Path
    top: float
    bottom: float


@dataclass(frozen=True)
class ReportFigure:
    """One figure on one data set; svg and png are None where nothing of it could be drawn.

    missing: what is not in it, a sentence each. viewers: of its scenes, if it shows scenes and
    their points are at hand.
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
        """Everything that was written of it."""
        drawings = [path for path in (self.svg, self.png) if path is not None]
        return [*drawings, *(viewer.path for viewer in self.viewers)]


@dataclass(frozen=True)
class FigureScene:
    """A scene of a figure, with all that a viewer of it needs.

    found: detections, of any scenes, by the name of their setting in print. panels: its pictures.
    """

    scene: Scene
    found: Mapping[str, BoxSet]
    classes: Sequence[str]
    panels: Sequence[Axes]


@dataclass
class Canvas:
    """A figure in the making: drawing functions fill it. picture stays None if nothing ran.

    undrawn: what is said where it is None. scenes: those whose points are at hand. dark: whether
    the figure has dark colours too; pictures of points keep their white ground.
    """

    title: str
    caption: str = ""
    undrawn: str = "Nothing to draw yet."
    picture: Figure | None = None
    missing: list[str] = field(default_factory=list)
    scenes: list[FigureScene] = field(default_factory=list)
    dark: bool = True

    def first_test(self, findings: Findings, setting: str, label: str) -> ScoredDetections | None:
        """The first test of a setting's first training, if any; what makes it unreadable goes to
        missing.
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
    """mean: over the tests. interval: 95 % over the trainings; None with a single one."""

    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Band:
    """A mean curve and what lies around it, one value an epoch; low and high None if unknown.

    shortest, longest: epochs of the trainings; the curve ends with the shortest.
    """

    means: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    shortest: int
    longest: int


def estimate(findings: Findings, setting: str, metric: str) -> Estimate | None:
    """As the summary has it; None where nothing was measured."""
    found = findings.metric(setting, metric)
    if found is None:
        return None
    interval = found.get("interval")
    return Estimate(float(found["mean"]), None if interval is None else (interval[0], interval[1]))


def band(curves: Sequence[Sequence[float]]) -> Band | None:
    """The mean of curves `[training][epoch]`, in each epoch with its 95 % t-interval.

    With two trainings the band reaches from one to the other: their t-interval is 13 standard
    errors wide and would hide everything.
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
    """What a setting lacks as a whole, in a sentence: any run, any test, or some of its tests."""
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
