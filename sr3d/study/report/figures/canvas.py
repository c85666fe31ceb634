"""A figure of the report, and what it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sr3d.data.scene import Scene
from sr3d.errors import InputError
from sr3d.evaluate.scored_files import ScoredDetections, read_scored
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.record import DETECTIONS_FILE, run_file
from sr3d.study.report.findings import Findings
from sr3d.study.report.summary_files import runs_of


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
class Drawn:
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
class ShownScene:
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
    scenes: list[ShownScene] = field(default_factory=list)
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
