"""A figure of the report, and what it lacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from sr3d.errors import InputError
from sr3d.metrics.scored_files import ScoredTest, read_scored
from sr3d.records import DETECTIONS_FILE
from sr3d.report.findings import Findings


@dataclass(frozen=True)
class Drawn:
    """One figure on one data set; svg and png are None where nothing of it could be drawn.

    missing: what is not in it, a sentence each.
    """

    name: str
    dataset: str
    title: str
    caption: str
    svg: Path | None
    png: Path | None
    missing: tuple[str, ...]


@dataclass
class Canvas:
    """A figure in the making: drawing functions fill it. picture stays None if nothing ran."""

    title: str
    caption: str
    picture: Figure | None = None
    missing: list[str] = field(default_factory=list)

    def first_test(self, findings: Findings, setting: str) -> ScoredTest | None:
        """The first test of the first training of a setting; what keeps it away goes to missing."""
        folder = findings.results / findings.dataset / setting
        paths = sorted(folder.glob(f"train*/test*/{DETECTIONS_FILE}"))
        if not paths:
            self.missing.append(f"{setting}: no stored detections")
            return None
        try:
            return read_scored(paths[0])
        except InputError as error:
            self.missing.append(str(error))
            return None
