"""Draw four procedural rooms as the README shows them: `python docs/draw_rooms.py [FILE.png]`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from PIL import Image

from sr3d.data.datasets import SYNTHETIC
from sr3d.data.rooms.furnish import BUILDING
from sr3d.data.rooms.generate import MIN_VISIBLE, build_room
from sr3d.geometry.boxes import Boxes

VIEWS = (
    (28, -60.0),
    (35, -60.0),
    (19, -60.0),
    (26, -60.0),
)  # seed and azimuth, chosen to look well
POINTS = 160_000  # eight times as many as a training scene has, so that surfaces close
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)]
_FIXTURES = ("door", "window", "picture")
_PALETTE = plt.get_cmap("tab20")(np.arange(len(SYNTHETIC.classes)))


def camera(azimuth: float, elevation: float) -> np.ndarray:
    """(3, 3) rows: right, up and towards the viewer."""
    a, e = np.radians([azimuth, elevation])
    towards = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    return np.stack([right, np.cross(towards, right), towards])


def draw(axes: Axes, seed: int, azimuth: float, elevation: float = 44.0) -> None:
    """One room from above: the walls towards the viewer cut away, boxes on top of the points."""
    made = build_room(seed, points=POINTS)
    room, view = made.room, camera(azimuth, elevation)
    away = room.mesh.area_normals()[made.scan.quad] @ view[2] < 0
    # Doors, windows and pictures go with their wall, whose way they face.
    fixed = np.isin(room.labels, [SYNTHETIC.classes.index(name) for name in _FIXTURES])
    hidden = np.array([fixed[k] and away[made.owner == k].mean() > 0.5 for k in range(len(fixed))])
    shown = ~(away & (made.owner == BUILDING)) & ~np.append(hidden, [False, False])[made.owner]

    points, colors = made.scan.points[shown] @ view.T, made.scan.colors[shown]
    order = np.argsort(points[:, 2])
    axes.scatter(points[order, 0], points[order, 1], s=2.2, c=colors[order], linewidths=0)
    kept = (made.visible >= MIN_VISIBLE) & ~hidden
    corners = Boxes.from_array(room.aligned[kept]).corners().numpy() @ view.T
    for box, label in zip(corners, room.labels[kept], strict=True):
        lines = [box[list(edge), :2] for edge in _EDGES]
        axes.add_collection(LineCollection(lines, colors=[_PALETTE[label]], linewidths=0.9))
    axes.set_aspect("equal")
    axes.axis("off")


def main(path: Path) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(11, 9.2), dpi=100)
    for each, (seed, azimuth) in zip(axes.flat, VIEWS, strict=True):
        draw(each, seed, azimuth)
    names = zip(SYNTHETIC.classes, _PALETTE, strict=True)
    handles = [Line2D([], [], color=color, label=name) for name, color in names]
    figure.legend(handles=handles, ncols=7, loc="lower center", frameon=False, fontsize=9)
    figure.subplots_adjust(0, 0.05, 1, 1, 0.01, 0.01)
    drawn = io.BytesIO()
    figure.savefig(drawn, facecolor="white")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(drawn).convert("RGB").quantize(256, kmeans=3).save(path, optimize=True)


if __name__ == "__main__":
    default = Path(__file__).parent / "images" / "rooms.png"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
