"""Writes the viewers of the scenes that a figure shows, and says where each is in the figure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from sr3d.study.report.figures.canvas import Canvas, Viewer
from sr3d.study.report.figures.scenes import SCORE, number_of
from sr3d.study.report.viewer import write_scene_viewer

POINTS = 200_000  # of a scene, at most: 2 MB, as a report has up to seven scenes a data set


def write_viewers(canvas: Canvas, out: Path, file: str) -> tuple[Viewer, ...]:
    """Write `{file}.{scene}.html` for each scene whose points are at hand, and remove those of
    scenes that the figure showed before. The figure must have been saved, so that it is laid out.
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

    What `sr3d prepare` takes for a scene's name is kept; nothing else can be part of a path.
    """
    plain = re.sub(r"[^\w.+-]", "-", scene)
    return f"{file}.{plain}.html"


def viewers_in(out: Path, file: str) -> list[Path]:
    """The viewers of a figure that lie in a folder, in the order of their names."""
    return sorted(out.glob(f"{file}.*.html"))


def _ends(panels: Sequence[Axes]) -> tuple[float, float]:
    """Upper and lower end of panels with their titles, as parts of the figure from its top."""
    figure = panels[0].get_figure(root=True)
    assert figure is not None
    boxes = [box for axes in panels if (box := axes.get_tightbbox()) is not None]
    whole, height = Bbox.union(boxes), figure.bbox.height
    return 1 - whole.y1 / height, 1 - whole.y0 / height
