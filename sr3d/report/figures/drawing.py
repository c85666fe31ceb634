"""Draws the figures that are asked for, each with what it has, and says what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sr3d.report.figures.consistency import draw_consistency
from sr3d.report.figures.drawn import Canvas, Drawn
from sr3d.report.figures.qualitative import draw_qualitative
from sr3d.report.figures.style import save
from sr3d.report.figures.sweep import draw_sweep
from sr3d.report.figures.tradeoff import draw_tradeoff
from sr3d.report.figures.values import draw_curves, draw_strip
from sr3d.report.findings import Findings
from sr3d.report.paper import Consistency, Paper, Sweep, Tradeoff

OWN: dict[str, Callable[[Findings], Canvas]] = {"strip": draw_strip, "curves": draw_curves}


def draw_figures(
    paper: Paper,
    findings: Findings,
    out: Path,
    names: Sequence[str] | None = None,
    data: Path | None = None,
) -> list[Drawn]:
    """Write `{name}_{dataset}.svg` and `.png` of each figure that has anything to show.

    names: figures of the paper, and "strip" (all values) and "curves" (learning curves); by default
    all of them. data: the prepared folder, for the points of scenes.

    Raises:
        InputError: an unreadable record or file of detections.
    """
    drawn = []
    for name in names if names is not None else [*paper.figures, *OWN]:
        canvas = _draw(paper, findings, name, data)
        files: tuple[Path | None, Path | None] = (None, None)
        if canvas.picture is not None:
            files = save(canvas.picture, Path(out), f"{name}_{findings.dataset}")
        drawn.append(
            Drawn(
                name,
                findings.dataset,
                canvas.title,
                " ".join(canvas.caption.split()),
                *files,
                tuple(canvas.missing),
            )
        )
    return drawn


def _draw(paper: Paper, findings: Findings, name: str, data: Path | None) -> Canvas:
    if name in OWN:
        return OWN[name](findings)
    figure = paper.figures[name]
    match figure:
        case Tradeoff():
            return draw_tradeoff(figure, paper, findings)
        case Consistency():
            return draw_consistency(figure, findings)
        case Sweep():
            return draw_sweep(figure, findings)
        case _:
            return draw_qualitative(figure, findings, data)
