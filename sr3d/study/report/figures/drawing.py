"""Draw the requested figures, and write the viewers of their scenes.

Each figure shows the available results and lists the missing ones.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from sr3d.errors import InputError, Kind
from sr3d.study.report.figures.canvas import Canvas, ReportFigure, Viewer
from sr3d.study.report.figures.class_plots import (
    CLASSES_TITLE,
    ERRORS_TITLE,
    PRECISION_RECALL_TITLE,
    draw_classes,
    draw_errors,
    draw_precision_recall,
)
from sr3d.study.report.figures.metric_plots import (
    CURVES_TITLE,
    STRIP_TITLE,
    draw_curves,
    draw_strip,
    draw_sweep,
)
from sr3d.study.report.figures.scene_choice import SCORE, before, number_of, same_as
from sr3d.study.report.figures.scene_plots import WORST_TITLE, draw_qualitative, draw_worst
from sr3d.study.report.figures.score_plots import draw_consistency
from sr3d.study.report.figures.style import names_of, save, styled
from sr3d.study.report.figures.tradeoff import draw_tradeoff
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import (
    Consistency,
    Paper,
    Qualitative,
    Sweep,
    Tradeoff,
    printed_dataset,
)
from sr3d.study.report.viewer import write_scene_viewer
from sr3d.validation import did_you_mean

# Figures that are not the paper's, with their titles. Every report has them.
OWN = {
    "strip": STRIP_TITLE,
    "classes": CLASSES_TITLE,
    "precision_recall": PRECISION_RECALL_TITLE,
    "errors": ERRORS_TITLE,
    "worst": WORST_TITLE,
    "curves": CURVES_TITLE,
}
_OWN_DRAWN = {
    "strip": draw_strip,
    "classes": draw_classes,
    "precision_recall": draw_precision_recall,
    "errors": draw_errors,
    "curves": draw_curves,
}


def draw_figures(
    paper: Paper,
    findings: Findings,
    out: Path,
    names: Sequence[str] | None = None,
    data: Path | None = None,
    cited: Collection[str] = (),
) -> list[ReportFigure]:
    """Write `{name}_{dataset}.svg` and `.png` of each figure that has anything to show.

    Figures of scenes also get viewers (`write_viewers`) if their points are available. Files of an
    earlier call that cannot be made again are removed. names: figures of the paper and of `OWN`,
    by default all. data: the prepared folder, for the points of scenes. cited: settings that were
    not meant to run, so that nothing misses them.

    Raises:
        InputError: an unknown name, or an unreadable record.
    """
    known = [*paper.figures, *OWN]
    for name in names or ():
        if name not in known:
            problem = f"unknown figure '{name}'{did_you_mean(name, known)}"
            raise InputError(problem, kind=Kind.UNKNOWN)
    asked = list(known if names is None else dict.fromkeys(names))
    return [_drawn(paper, findings, Path(out), name, asked, data, cited) for name in asked]


def _drawn(
    paper: Paper,
    findings: Findings,
    out: Path,
    name: str,
    asked: Sequence[str],
    data: Path | None,
    cited: Collection[str],
) -> ReportFigure:
    file = f"{name}_{findings.dataset}"
    svg: Path | None = None
    png: Path | None = None
    with styled():
        canvas = _draw(paper, findings, name, asked, data, cited)
        if canvas.picture is not None:
            svg, png = save(canvas.picture, out, file, canvas.dark)
        else:
            for suffix in ("svg", "png"):
                (out / f"{file}.{suffix}").unlink(missing_ok=True)
        viewers = write_viewers(canvas, out, file)
    return ReportFigure(
        name=name,
        dataset=findings.dataset,
        title=canvas.title,
        caption=_caption(paper, findings, name, canvas),
        svg=svg,
        png=png,
        missing=tuple(canvas.missing),
        viewers=viewers,
    )


def _draw(
    paper: Paper,
    findings: Findings,
    name: str,
    asked: Sequence[str],
    data: Path | None,
    cited: Collection[str],
) -> Canvas:
    names = names_of(paper)
    if name == "worst":
        return draw_worst(findings, names, data)
    if name not in paper.figures:
        return _OWN_DRAWN[name](findings, names)
    match paper.figures[name]:
        case Tradeoff() as figure:
            return draw_tradeoff(figure, paper, findings, names, cited)
        case Consistency() as figure:
            return draw_consistency(figure, findings, names)
        case Sweep() as figure:
            return draw_sweep(figure, findings)
        case Qualitative() as figure:
            every = [one for key, one in paper.figures.items() if key in asked]
            scenes = [one for one in every if isinstance(one, Qualitative)]
            if (shown := same_as(figure, scenes, findings.dataset)) is not None:
                return _same(figure, shown, findings.dataset)
            earlier = before(figure, scenes, findings.dataset)
            return draw_qualitative(figure, findings, names, data, earlier)


def _same(figure: Qualitative, shown: Qualitative, dataset: str) -> Canvas:
    """An empty canvas, because the figure would repeat another one."""
    place = printed_dataset(dataset).label
    undrawn = f"Not drawn: on {place} it would be the same as {number_of(shown.title)}."
    return Canvas(figure.title, undrawn=undrawn)


def _caption(paper: Paper, findings: Findings, name: str, canvas: Canvas) -> str:
    """The content, the data if they differ from the paper's, and the figure's footnotes."""
    if canvas.picture is None:
        return canvas.undrawn
    parts = [canvas.caption]
    figure = paper.figures.get(name)
    if figure is not None:
        theirs = [printed_dataset(dataset).label for dataset in figure.datasets]
        if findings.dataset not in figure.datasets:
            ours = printed_dataset(findings.dataset).label
            parts.append(f"Here on {ours}. The paper's figure is on {' and '.join(theirs)}.")
        parts += figure.footnotes
    return " ".join(" ".join(parts).split())


POINTS = 200_000  # per scene at most: 2 MB, since a report has up to seven scenes per data set


def write_viewers(canvas: Canvas, out: Path, file: str) -> tuple[Viewer, ...]:
    """Write `{file}.{scene}.html` for each scene with available points.

    Viewers of scenes that the figure no longer shows are removed. The figure must have been saved,
    because saving computes its layout.
    """
    viewers = tuple(
        Viewer(shown.scene.id, out / viewer_name(file, shown.scene.id), *_ends(shown.panels))
        for shown in canvas.scenes
    )
    for path in set(viewers_in(out, file)).difference(viewer.path for viewer in viewers):
        path.unlink()
    for shown, viewer in zip(canvas.scenes, viewers, strict=True):
        title = f"{number_of(canvas.title)}: {shown.scene.id}"
        write_scene_viewer(
            viewer.path, title, shown.scene, shown.found, shown.classes, score=SCORE, most=POINTS
        )
    return viewers


def viewer_name(file: str, scene: str) -> str:
    """File name of a viewer, "fig5_scannet.scene0011_00.html".

    Characters that `sr3d prepare` accepts in a scene's name are kept. All others are replaced,
    because they could be part of a path.
    """
    plain = re.sub(r"[^\w.+-]", "-", scene)
    return f"{file}.{plain}.html"


def viewers_in(out: Path, file: str) -> list[Path]:
    """The viewers of a figure in a folder, in the order of their names."""
    return sorted(out.glob(f"{file}.*.html"))


def _ends(panels: Sequence[Axes]) -> tuple[float, float]:
    """Upper and lower end of panels with their titles, as fractions of the figure from its top."""
    figure = panels[0].get_figure(root=True)
    assert figure is not None
    boxes = [box for axes in panels if (box := axes.get_tightbbox()) is not None]
    whole, height = Bbox.union(boxes), figure.bbox.height
    return 1 - whole.y1 / height, 1 - whole.y0 / height
