"""Draw four procedural rooms as the README shows them: `python docs/draw_rooms.py [FILE.png]`."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from sr3d.data.datasets import SYNTHETIC
from sr3d.data.rooms.generate import MIN_VISIBLE, build_room
from sr3d.geometry.boxes import Boxes

SEEDS = (0, 1, 2, 3)
POINTS = 160_000  # eight times as many as a training scene has, so that surfaces close
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)]


def camera(azimuth: float, elevation: float) -> np.ndarray:
    """(3, 3) rows: right, up and towards the viewer."""
    a, e = np.radians([azimuth, elevation])
    towards = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    return np.stack([right, np.cross(towards, right), towards])


def draw(axes: Axes, seed: int, azimuth: float = -60.0, elevation: float = 42.0) -> None:
    """One room: its points from an oblique view, walls towards the viewer cut away, boxes on top."""
    made = build_room(seed, points=POINTS)
    view = camera(azimuth, elevation)
    facing = made.room.mesh.area_normals()[made.scan.quad] @ view[2]
    fixed = np.isin(made.room.labels, [SYNTHETIC.classes.index(n) for n in ("door", "window", "picture")])
    on_wall = (made.owner == -2) | np.append(fixed, [False, False])[made.owner]
    shown = ~(on_wall & (facing < 0))
    points, colors = made.scan.points[shown] @ view.T, made.scan.colors[shown]
    order = np.argsort(points[:, 2])
    axes.scatter(points[order, 0], points[order, 1], s=1.6, c=colors[order], linewidths=0)

    # Fixtures in the walls that were cut away would float in the air.
    near = fixed.copy()
    for k in np.flatnonzero(fixed):
        mine = made.owner == k
        near[k] = mine.any() and facing[mine].mean() < 0
    kept = (made.visible >= MIN_VISIBLE) & ~near
    palette = plt.get_cmap("tab20")
    corner = Boxes.from_array(made.room.aligned[kept]).corners().numpy() @ view.T
    for box, label in zip(corner, made.room.labels[kept], strict=True):
        lines = [box[list(edge), :2] for edge in _EDGES]
        axes.add_collection(LineCollection(lines, colors=[palette(int(label))], linewidths=0.8))
    axes.set_aspect("equal")
    axes.axis("off")


def main(path: Path) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(11, 9), dpi=100)
    for each, seed in zip(axes.flat, SEEDS, strict=True):
        draw(each, seed)
    figure.subplots_adjust(0, 0, 1, 1, 0.01, 0.01)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white")


if __name__ == "__main__":
    default = Path(__file__).parent / "images" / "rooms.png"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
