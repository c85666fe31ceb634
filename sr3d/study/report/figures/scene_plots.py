"""Detections in scenes beside the ground truth, as in the paper's Figs. 5, 9 and 10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sr3d.data.datasets import dataset_of
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.detectors.configuration import config_from_dict
from sr3d.errors import InputError
from sr3d.evaluate.scored_files import ScoredDetections
from sr3d.geometry.boxes import Boxes
from sr3d.study.report.figures.canvas import Canvas, FigureScene, incomplete
from sr3d.study.report.figures.scene_choice import (
    IOU,
    RULE,
    SCORE,
    ConfidentBoxes,
    choose_next,
    confident,
    f1_scores,
    number_of,
)
from sr3d.study.report.figures.style import SMALL, WIDTH, Names, grid, new_figure
from sr3d.study.report.figures.views import ABOVE, OBLIQUE, SceneView, draw_boxes
from sr3d.study.report.findings import Findings
from sr3d.study.report.headline import settings_of_result
from sr3d.study.report.paper import Qualitative
from sr3d.study.report.scene_pictures import class_style, extent, sample

Array = npt.NDArray[Any]

VIEWS = (OBLIQUE, ABOVE)  # one below the other
_POINTS = 60_000  # drawn per scene, at most
_PANEL = WIDTH / 3 - 0.15  # inches across
_ROW = (1.5, 2.7)  # least and greatest height of a row in inches
_LEGEND = 6  # classes in a line of the legend
_GROUND = "#b8b8b8"


@dataclass(frozen=True)
class SceneRow:
    """A scene: its cloud if there is one, as points and colours (N, 3), and the boxes and title of
    each panel.
    """

    cloud: tuple[Array, Array] | None
    panels: tuple[ConfidentBoxes, ...]
    titles: tuple[str, ...]

    def room(self) -> tuple[Array, Array]:
        """(3,) lowest and highest corner of the points or, without any, of `_corners`."""
        if self.cloud is not None:
            return extent(self.cloud[0])
        corners = self._corners()
        return (corners.min(axis=0), corners.max(axis=0)) if len(corners) else extent(corners)

    def limits(self, view: SceneView) -> tuple[Array, Array]:
        """(2,) left and bottom, right and top of a view, with a margin.

        They enclose the points, the floor, the ground truth and the right boxes. Wrong boxes may
        lie anywhere, so they do not count.
        """
        seen = [view.project(self._corners()), view.project(floor(*self.room()))]
        if self.cloud is not None:
            points = self.cloud[0]
            seen += [end[None] for end in extent(view.project(points[view.shows(points)]))]
        ends = np.concatenate(seen)[:, :2]
        low, high = ends.min(axis=0), ends.max(axis=0)
        margin = 0.04 * float((high - low).max()) + 1e-3
        return low - margin, high + margin

    def _corners(self) -> Array:
        """(N, 3) corners of the ground truth and of right boxes."""
        boxes = np.concatenate([panel.boxes.box[panel.right] for panel in self.panels])
        return Boxes.from_array(boxes).corners().numpy().reshape(-1, 3).astype(np.float64)


def draw_qualitative(
    figure: Qualitative,
    findings: Findings,
    names: Names,
    data: Path | None,
    before: Sequence[Qualitative] = (),
) -> Canvas:
    """Two rows per scene: ground truth, then both settings.

    before: figures whose scenes this figure omits.
    """
    canvas = Canvas(figure.title, dark=False)
    labels = [names.label(setting) for setting in figure.settings]
    tests = []
    for setting, label in zip(figure.settings, labels, strict=True):
        canvas.missing += incomplete(findings, setting, label)
        if (test := canvas.first_test(findings, setting, label)) is not None:
            tests.append(test)
    if len(tests) < 2:
        return canvas
    scores = [f1_scores(test) for test in tests]
    if apart := len(scores[0].keys() ^ scores[1].keys()):
        canvas.missing.append(f"scenes that only one of the two was evaluated on ({apart})")
    both = scores[0].keys() & scores[1].keys()
    gains = {scene: scores[1][scene] - scores[0][scene] for scene in both}
    scenes = choose_next(gains, figure.count, [one.count for one in before])
    if not scenes:
        if gains:
            canvas.undrawn = f"Not drawn: every evaluated scene is in {_numbers(before)}."
        return canvas
    # The paper's method first, because the first layer of a viewer has solid edges.
    layers = tuple(reversed(figure.settings))
    show_scenes(
        canvas,
        findings,
        names,
        dict(zip(figure.settings, tests, strict=True)),
        scenes,
        data,
        layers,
    )
    canvas.caption = _caption(labels, bool(canvas.scenes), before)
    return canvas


def show_scenes(
    canvas: Canvas,
    findings: Findings,
    names: Names,
    tests: Mapping[str, ScoredDetections],
    scenes: Sequence[str],
    data: Path | None,
    layers: Sequence[str] | None = None,
) -> None:
    """Draw scenes into a canvas: ground truth, then the detections of each setting.

    tests: evaluations by setting, in the order of the columns. They have the same ground truth.
    data: the prepared folder, for points and viewers. layers: settings in the order of a viewer's
    layers, by default the order of the columns.
    """
    first = next(iter(tests))
    there = _scenes(canvas, findings, first, scenes, data)
    panels = [_truth(tests[first]), *(confident(test) for test in tests.values())]
    scores = {names.label(setting): f1_scores(test) for setting, test in tests.items()}
    rows = [
        SceneRow(
            sample(there[scene], _POINTS) if scene in there else None,
            tuple(panel.of(scene) for panel in panels),
            (scene, *(f"{x}: F1 {f1.get(scene, 0.0):.2f}" for x, f1 in scores.items())),
        )
        for scene in scenes
    ]
    summary = findings.summary(first) or {}
    config = config_from_dict({"dataset": findings.dataset, **summary.get("config", {})})
    classes = dataset_of(config).classes
    canvas.picture, panels_of = _draw(rows, classes)
    found = {names.label(setting): tests[setting].detections for setting in layers or tests}
    canvas.scenes = [
        FigureScene(there[scene], found, classes, axes)
        for scene, axes in zip(scenes, panels_of, strict=True)
        if scene in there
    ]


def floor(low: Array, high: Array) -> Array:
    """(5, 3) closed outline of the floor between two corners (3,)."""
    across, along = [low[0], high[0], high[0], low[0]], [low[1], low[1], high[1], high[1]]
    corners = np.stack([across, along, [low[2]] * 4], axis=1)
    return np.concatenate([corners, corners[:1]])


def _truth(test: ScoredDetections) -> ConfidentBoxes:
    return ConfidentBoxes(test.truth, np.ones(len(test.truth), dtype=bool))


def _scenes(
    canvas: Canvas, findings: Findings, setting: str, scenes: Sequence[str], data: Path | None
) -> dict[str, Scene]:
    """Scenes with their points, from the evaluated data. Empty if these are not available."""
    lacking = "the points of the scenes"
    if data is None:
        canvas.missing.append(f"{lacking}: no prepared data were passed")
        return {}
    tested = (findings.summary(setting) or {}).get("test_data") or {}
    try:
        prepared = PreparedDataset(data, tested.get("split", "val"))
        if prepared.manifest.digest() != tested.get("digest"):
            canvas.missing.append(f"{lacking}: the prepared data are not the evaluated ones")
            return {}
        return {scene: prepared[prepared.ids.index(scene)] for scene in scenes}
    except InputError as error:
        canvas.missing.append(f"{lacking}: {error}")
        return {}


def _caption(labels: Sequence[str], points: bool, before: Sequence[Qualitative]) -> str:
    if before:
        return (
            f"Drawn like {number_of(before[0].title)}, from the same evaluations. It shows scenes "
            f"at equal steps through the scenes that are not in {_numbers(before)}, in order of "
            "their gain in F1, from the largest to the smallest."
        )
    drawn = "Ceiling and near walls are left out." if points else "There are no points."
    return (
        f"Ground truth, {labels[0]} and {labels[1]}, in the first evaluation of the first training "
        f"run. Boxes have a score of {SCORE:g} or more. Every scene is seen obliquely and, below, "
        f"from above. {drawn} A solid box overlaps a ground truth of its class, not yet taken, by "
        f"more than {IOU:g} IoU. The box itself hides its thin edges. Dotted boxes do not. "
        f"Numbers are classes. The bars are one metre along x, y and upwards. {RULE}"
    )


def _numbers(figures: Sequence[Qualitative]) -> str:
    return " and ".join(number_of(figure.title) for figure in figures)


def _draw(rows: Sequence[SceneRow], classes: Sequence[str]) -> tuple[Figure, list[list[Axes]]]:
    """A row of panels per view of a scene, and below them the names of the classes.

    Returns the figure and the panels of each scene.
    """
    frames = [(row, view, *row.limits(view)) for row in rows for view in VIEWS]
    # The height of a scene when three panels fill the width.
    heights = [float(np.clip(_PANEL * np.divide(*(b - a)[::-1]), *_ROW)) for *_, a, b in frames]
    titled = [height + 0.25 * (i % len(VIEWS) == 0) for i, height in enumerate(heights)]
    seen = sorted({int(x) for row in rows for panel in row.panels for x in panel.boxes.label})
    picture = new_figure(sum(titled) + 0.1 + 0.2 * -(-len(seen) // _LEGEND))
    lines = grid(picture, len(frames), len(rows[0].panels), height_ratios=titled)
    for line, (row, view, low, high), height in zip(lines, frames, heights, strict=True):
        inches = min(_PANEL / (high - low)[0], height / (high - low)[1])  # of a metre
        points = None if row.cloud is None else view.picture(*row.cloud, low, high)
        for axes, panel, title in zip(line, row.panels, row.titles, strict=True):
            if points is not None:
                axes.imshow(
                    points, origin="lower", interpolation="none", zorder=0,
                    extent=(low[0], high[0], low[1], high[1]),
                )  # fmt: skip
            axes.plot(*view.project(floor(*row.room()))[:, :2].T, color=_GROUND, linewidth=0.8)
            draw_boxes(axes, panel, view, inches)
            if view is VIEWS[0]:
                axes.set_title(title, fontsize=SMALL)
            axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[])
            axes.set_aspect("equal")
            axes.spines[:].set_visible(False)
        _draw_metres(line[0], view, low, high)
    handles = [
        Line2D([], [], color=class_style(x)[0], linewidth=2, label=f"{x + 1} {classes[x]}")
        for x in seen
    ]
    if handles:
        picture.legend(handles=handles, loc="outside lower center", ncols=_LEGEND)
    of_scenes = np.reshape(np.array(lines, dtype=object), (len(rows), -1))
    return picture, of_scenes.tolist()


def _draw_metres(axes: Axes, view: SceneView, low: Array, high: Array) -> None:
    """A metre along each axis, from the lower left corner."""
    ends = view.project(np.eye(3))[:, :2]
    foot = low + 0.015 * (high - low) - ends.min(axis=0).clip(max=0)
    for end in ends:
        axes.plot(*np.stack([foot, foot + end]).T, color="black", linewidth=1.6)


WORST_TITLE = "Scenes with the lowest F1"
_COUNT = 3


def draw_worst(findings: Findings, names: Names, data: Path | None) -> Canvas:
    """Ground truth and detections in the three scenes in which the main setting has its lowest F1.

    The main setting is the one that the result is about. data: the prepared folder, for the points.
    """
    canvas = Canvas(WORST_TITLE, dark=False)
    tests = {
        setting: test
        for setting in settings_of_result(findings)
        if (test := canvas.first_test(findings, setting, names.label(setting))) is not None
    }
    if not tests:
        canvas.missing.append("no detections of an evaluation")
        return canvas
    worst = next(iter(tests))
    f1 = f1_scores(tests[worst])
    scenes = sorted(f1, key=lambda scene: (f1[scene], scene))[:_COUNT]
    show_scenes(canvas, findings, names, tests, scenes, data)
    canvas.caption = (
        f"The three scenes with the lowest F1 of {names.label(worst)} in the first evaluation of "
        f"its first training run. Boxes have a score of {SCORE:g} or more. Solid boxes overlap a "
        f"ground truth of their class by more than {IOU:g} IoU. Dotted boxes do not. Numbers are "
        "classes. The bars are one metre long."
    )
    return canvas
