"""The viewer of a scene that was tested: its ground truth and what each setting found in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sr3d.data.scene import Scene
from sr3d.geometry.box_set import BoxSet
from sr3d.study.report.viewer.cloud import MOST_POINTS
from sr3d.study.report.viewer.layers import BoxLayer
from sr3d.study.report.viewer.writing import write_viewer


def write_scene_viewer(
    path: str | Path,
    title: str,
    scene: Scene,
    found: Mapping[str, BoxSet],
    classes: Sequence[str],
    *,
    score: float = 0.3,
    least: float = 0.05,
    most: int = MOST_POINTS,
) -> None:
    """Write the viewer of one scene.

    found: detections, of any scenes, by the name that the layer gets. score: where the slider
    stands at first, the report's own threshold. least: detections below it stay out of the file,
    as do those that are not finite. most: points that are kept.

    Raises:
        InputError: labels that are not of `classes`, or the file cannot be written.
    """
    layers = []
    for name, boxes in found.items():
        rows = (boxes.scene == scene.id) & np.isfinite(boxes.box).all(axis=1)
        if boxes.score is not None:
            rows &= boxes.score >= least
        mine = boxes[rows]
        layers.append(BoxLayer(name, mine.box, mine.label, mine.score, classes))
    layers.append(BoxLayer("ground truth", scene.boxes.tensor, scene.labels, None, classes))
    write_viewer(path, title, scene.points, scene.colors, layers, score=score, most=most)
