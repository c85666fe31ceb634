"""Draw the data flow for docs/concepts.md: `python docs/draw_concepts.py [FILE.svg]`.

Boxes have a background. Text outside of them is grey, which is visible on white and on black.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

PICTURE = Path(__file__).parent / "images" / "concepts.svg"
_GREY, _INK, _FAINT = "#7d8590", "#1f2328", "#57606a"
_KINDS = {  # ground and edge
    "file": ("#f6f1df", "#b59a4c"),
    "network": ("#dfe9f7", "#5b86c2"),
    "train": ("#f9e3dc", "#cb7a5e"),
    "test": ("#e0f0e3", "#5d9f6a"),
    "both": ("#eceef1", "#868f9a"),
}
_WIDTH, _HEIGHT = 1.52, 0.74


class Box(NamedTuple):
    """place: centre, in inches. where: the file or folder that does it."""

    title: str
    where: str
    kind: str
    place: tuple[float, float]


BOXES = {
    "experiment": Box("experiment", "config.yaml", "file", (0.9, 5.6)),
    "settings": Box("settings", "sr3d/settings.yaml", "file", (2.8, 5.6)),
    "config": Box("configuration", "sr3d/config.py", "both", (4.7, 5.6)),
    "prepared": Box("prepared data", "sr3d/data/prepared", "file", (0.9, 4.2)),
    "scene": Box("scene", "sr3d/data/scene.py", "both", (2.8, 4.2)),
    "augment": Box("augmentation", "sr3d/data/transforms.py", "train", (4.7, 4.2)),
    "voxels": Box("voxels", "sr3d/detectors/common/voxelize.py", "both", (6.6, 4.2)),
    "backbone": Box("backbone", "sr3d/detectors/common/mink_resnet.py", "network", (8.5, 4.2)),
    "neck": Box("neck", "sr3d/detectors/tr3d/network.py", "network", (10.4, 4.2)),
    "head": Box("head", "sr3d/detectors/tr3d/network.py", "network", (12.3, 4.2)),
    "assigner": Box("assigner", "sr3d/matching", "train", (12.3, 2.8)),
    "losses": Box("losses", "sr3d/losses", "train", (10.4, 2.8)),
    "steps": Box("steps", "sr3d/train/loop.py", "train", (8.5, 2.8)),
    "select": Box("threshold, NMS", "sr3d/detectors/common/selection.py", "test", (12.3, 1.6)),
    "scores": Box("scores", "sr3d/evaluate", "test", (10.4, 1.6)),
    "evaluation": Box("test", "sr3d/evaluate/loop.py", "test", (8.5, 1.6)),
    "record": Box("run record", "sr3d/runs/record.py", "file", (6.2, 2.2)),
    "summary": Box("summary", "sr3d/study/report/setting_summary.py", "file", (4.3, 2.2)),
    "report": Box("report", "sr3d/study/report", "file", (2.4, 2.9)),
    "track": Box("MLflow", "sr3d/study/tracking/tracking.py", "file", (2.4, 1.5)),
}
ARROWS = [
    ("experiment", "settings"),
    ("settings", "config"),
    ("prepared", "scene"),
    ("scene", "augment"),
    ("augment", "voxels"),
    ("voxels", "backbone"),
    ("backbone", "neck"),
    ("neck", "head"),
    ("head", "assigner"),
    ("assigner", "losses"),
    ("losses", "steps"),
    ("select", "scores"),
    ("scores", "evaluation"),
    ("steps", "record"),
    ("evaluation", "record"),
    ("record", "summary"),
    ("summary", "report"),
    ("summary", "track"),
]


def _draw(axes: Axes, box: Box) -> None:
    x, y = box.place
    ground, edge = _KINDS[box.kind]
    corner = (x - _WIDTH / 2, y - _HEIGHT / 2)
    shape = FancyBboxPatch(
        corner, _WIDTH, _HEIGHT, boxstyle="round,pad=0,rounding_size=0.09", fc=ground, ec=edge
    )
    axes.add_patch(shape)
    folder, _, name = box.where.rpartition("/")
    axes.text(x, y + 0.17, box.title, ha="center", va="center", color=_INK, fontsize=11.5)
    lines = f"{folder}/\n{name}" if len(box.where) > 20 else box.where
    axes.text(x, y - 0.13, lines, ha="center", va="center", color=_FAINT, fontsize=7.8)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": _GREY, "lw": 1.3, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=style)


def _between(one: Box, other: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where an arrow from box to box leaves and arrives: at the sides that face each other."""
    (x, y), (u, v) = one.place, other.place
    if x == u:
        half = _HEIGHT / 2 if v > y else -_HEIGHT / 2
        return (x, y + half), (u, v - half)
    half = _WIDTH / 2 if u > x else -_WIDTH / 2
    return (x + half, y), (u - half, v)


def main(path: Path) -> None:
    """Draw and write the picture."""
    plt.rcParams.update({"svg.hashsalt": "sr3d", "font.family": "DejaVu Sans"})
    figure = plt.figure(figsize=(13.5, 5.3))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 13.5), ylim=(0.8, 6.1))
    axes.axis("off")
    for one, other in ARROWS:
        _arrow(axes, *_between(BOXES[one], BOXES[other]))
    # Around others: tests do not augment, and what the head says needs no assigner.
    for points in (
        [(2.8, 4.57), (2.8, 4.9), (6.6, 4.9), (6.6, 4.57)],
        [(13.06, 4.2), (13.32, 4.2), (13.32, 1.6), (13.06, 1.6)],
    ):
        across, up = zip(*points[:-1], strict=True)
        axes.plot(across, up, color=_GREY, lw=1.3, solid_capstyle="butt")
        _arrow(axes, *points[-2:])
    for x, y, text in (
        (4.7, 5.02, "tests do not augment"),
        (9.45, 3.37, "training"),
        (9.45, 1.03, "test"),
        (5.25, 1.55, "run.json, metrics.jsonl,\nmodel.safetensors, detections.npz"),
        (7.75, 5.6, "which of all this, and with which numbers;\nits digest is in every record"),
    ):
        axes.text(x, y, text, ha="center", va="center", color=_GREY, fontsize=9.5)
    for box in BOXES.values():
        _draw(axes, box)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
