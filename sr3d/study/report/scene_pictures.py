"""A prepared scene as a picture: its points and boxes from above and from two sides."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from sr3d.data.inspection import choose_scenes
from sr3d.data.prepared import PreparedDataset, read_manifest
from sr3d.data.scene import Scene
from sr3d.geometry.boxes import Boxes
from sr3d.runs.files import write_bytes

Array = npt.NDArray[Any]
Color = tuple[float, float, float]

SIZE, DPI = (14.0, 9.0), 100  # inches, pixels per inch
MAX_POINTS = 60_000
# Okabe and Ito's colours (grey for black), which are distinct without colour vision, then darker
# and lighter shades of them with other strokes, so that 24 classes differ.
_HUES = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5A5A5A", "#F0E442")
_SHADES = (0.0, -0.4, 0.4)  # below 0 towards black, above 0 towards white
_STROKES: tuple[Any, ...] = ("solid", (0, (5, 1.2)), (0, (1.6, 0.9)))
_HALO = [Stroke(linewidth=3.4, foreground="white", alpha=0.75), Normal()]
_SPIKE = np.array([(1.0, 0.0), (0.0, 0.35), (0.0, -0.35), (1.0, 0.0)])  # along x
_GROUND = "#dfe2e6"  # behind the points, so that white points are visible
_LEFT_OUT = 0.2  # of height and depth, so that ceiling and near walls do not hide the room


def class_style(label: int) -> tuple[Color, Any]:
    """Colour and stroke of a class, which depend on its index only."""
    turn, hue = divmod(label, len(_HUES))
    shade = _SHADES[turn % len(_SHADES)]
    red, green, blue = (v * (1 - abs(shade)) + max(shade, 0.0) for v in to_rgb(_HUES[hue]))
    return (red, green, blue), _STROKES[turn % len(_STROKES)]


def scene_figure(scene: Scene, classes: Sequence[str], *, max_points: int = MAX_POINTS) -> Figure:
    """The picture as a figure.

    classes: names by label. max_points: the most points that are drawn, always the same ones.
    """
    points, colors = sample(scene, max_points)
    whole = torch.isfinite(scene.boxes.tensor).all(dim=1)
    boxes, labels = scene.boxes[whole], scene.labels[whole].tolist()
    low, high = extent(points)
    far, near = low + _LEFT_OUT * (high - low), high - _LEFT_OUT * (high - low)
    low, high = extent(np.stack([low, high, *boxes.corners().reshape(-1, 3).numpy()]), 0.0)
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white")
    grid = GridSpec(
        3, 2, figure, left=0.055, right=0.985, top=0.925, bottom=0.115, wspace=0.11, hspace=0.25,
        width_ratios=(1.25, 1), height_ratios=(1, 1, 0.6),
    )  # fmt: skip
    size = float(np.clip(90_000 / max(1, len(points)), 2, 9))
    # Position of the panel, its two axes, the shown points, and their distance to the eye.
    for place, plane, shown, height in (
        (grid[:, 0], (0, 1), points[:, 2] <= near[2], points[:, 2]),
        (grid[0, 1], (0, 2), points[:, 1] >= far[1], -points[:, 1]),
        (grid[1, 1], (1, 2), points[:, 0] <= near[0], points[:, 0]),
    ):
        axes = figure.add_subplot(place)
        order = np.flatnonzero(shown)[np.argsort(height[shown], kind="stable")]
        across, up = points[order][:, plane].T
        axes.scatter(across, up, s=size, c=colors[order], linewidths=0)
        _draw_boxes(axes, boxes, labels, plane)
        _finish(axes, plane, low, high)
    _draw_legend(figure.add_subplot(grid[2, 1]), labels, classes)
    title = f"{scene.id}: {len(scene):,} points, {len(scene.boxes)} boxes"
    figure.text(0.055, 0.955, title, fontsize=14, weight="bold", parse_math=False)
    drawn = f"{len(points):,} of {len(scene):,}" if len(points) < len(scene) else "All"
    caption = (
        f"Omitted, because ceiling and near walls would hide the room: from above, points over "
        f"z = {near[2]:.1f} m, in x–z, points below y = {far[1]:.1f} m, in y–z, points over x = "
        f"{near[0]:.1f} m.\n{drawn} points drawn."
    )
    if _turned(boxes):
        caption += " Spikes show the direction of yaw."
    figure.text(0.055, 0.02, caption, fontsize=9, color="0.35")
    return figure


def draw_scene(
    scene: Scene, classes: Sequence[str], path: str | Path, *, max_points: int = MAX_POINTS
) -> None:
    """Write the picture as a PNG of 1400 × 900 pixels. See `scene_figure`."""
    figure = scene_figure(scene, classes, max_points=max_points)
    pixels = io.BytesIO()
    figure.savefig(pixels, format="png", metadata={"Software": None})
    write_bytes(path, pixels.getbuffer())


def write_scene_pictures(
    folder: str | Path,
    split: str,
    scenes: Sequence[str] | None,
    out: str | Path,
    *,
    max_points: int = MAX_POINTS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write `<out>/<scene>.png` for the given scenes of a split, by default all. Returns the paths.

    progress: called with (done, all).

    Raises:
        InputError: no such split or scene, or a file that does not match the manifest.
    """
    manifest = read_manifest(folder)
    wanted = choose_scenes(folder, manifest, [split], scenes).get(split, [])
    data, paths = PreparedDataset(folder, split), []
    for i, scene in enumerate(data.ids):
        if scene in wanted:
            paths.append(Path(out) / f"{scene}.png")
            draw_scene(data[i], manifest.classes, paths[-1], max_points=max_points)
            if progress is not None:
                progress(len(paths), len(wanted))
    return paths


def sample(scene: Scene, most: int) -> tuple[Array, Array]:
    """Points and colours, (N, 3) each, at most `most`, without points that are NaN."""
    sound = (torch.isfinite(scene.points) & torch.isfinite(scene.colors)).all(dim=1)
    rows = np.flatnonzero(sound.numpy())
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    return scene.points[rows].numpy(), scene.colors[rows].clamp(0, 1).numpy()


def extent(points: Array, stray: float = 0.2) -> tuple[Array, Array]:
    """(3,) lowest and highest of (N, 3), without `stray` percent of the points at either end."""
    if not len(points):
        return np.zeros(3), np.ones(3)
    low, high = np.percentile(points, [stray, 100 - stray], axis=0)
    return low, high


def outlines(boxes: Boxes, plane: tuple[int, int]) -> Array:
    """(K, 5, 2) closed outlines seen along the third axis. From a side, of the enclosing boxes."""
    corners = (boxes if plane == (0, 1) else boxes.enclosing()).corners().numpy()
    # Corners are numbered by bits x, y, z. This order goes round the visible face.
    first, second = 1 << plane[0], 1 << plane[1]
    return corners[:, [0, first, first | second, second, 0]][:, :, plane]


def _draw_boxes(axes: Axes, boxes: Boxes, labels: list[int], plane: tuple[int, int]) -> None:
    styles = [class_style(label) for label in labels]
    lines = LineCollection(
        list(outlines(boxes, plane)),
        colors=[color for color, _ in styles],
        linestyles=[stroke for _, stroke in styles],
        linewidths=1.7,
        path_effects=_HALO,
    )
    axes.add_collection(lines)
    if plane == (0, 1) and _turned(boxes):
        yaw, halves = boxes.yaw.numpy(), boxes.sizes.numpy()[:, :1] / 2
        heading = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
        tips = boxes.centers.numpy()[:, :2] + heading * halves
        for tip, (cos, sin), (color, _) in zip(tips, heading, styles, strict=True):
            spike = _SPIKE @ np.array([[cos, sin], [-sin, cos]])
            axes.plot(*tip, marker=spike, ms=17, color=color, mec="white", mew=0.8)


def _turned(boxes: Boxes) -> bool:
    return bool(boxes.yaw.any())


def _finish(axes: Axes, plane: tuple[int, int], low: Array, high: Array) -> None:
    margin = 0.03 * float((high - low).max()) + 1e-3
    a, b = plane
    axes.set_xlim(low[a] - margin, high[a] + margin)
    axes.set_ylim(low[b] - margin, high[b] + margin)
    axes.set_aspect("equal", anchor="NW")
    axes.set_facecolor(_GROUND)
    axes.set_xlabel(f"{'xyz'[a]} (m)")
    axes.set_ylabel(f"{'xyz'[b]} (m)")
    axes.grid(color="white", linewidth=0.7)
    axes.set_axisbelow(True)


def _draw_legend(axes: Axes, labels: list[int], classes: Sequence[str]) -> None:
    """The classes of the scene with their numbers of boxes, in the order of the data set."""
    axes.axis("off")
    counts = sorted(Counter(labels).items())
    handles = []
    for label, count in counts:
        color, stroke = class_style(label)
        name = f"{count} {classes[label]}".replace("$", r"\$")
        handles.append(Line2D([], [], color=color, linestyle=stroke, linewidth=2.4, label=name))
    if handles:
        columns = 3 if len(handles) <= 21 else 4
        axes.legend(
            handles=handles, loc="upper left", ncols=columns, frameon=False, fontsize=10,
            borderaxespad=0,
        )  # fmt: skip
    else:
        axes.text(0, 1, "no boxes", va="top", fontsize=10)
