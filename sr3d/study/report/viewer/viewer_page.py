"""Combine cloud, boxes, style and script in one HTML file that loads nothing."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr3d._version import __version__
from sr3d.data.scene import Scene
from sr3d.errors import InputError, Kind
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.files import write_text
from sr3d.study.report.viewer.cloud import MOST_POINTS, PackedCloud, pack_cloud
from sr3d.study.report.viewer.layers import BoxLayer, describe_layers

_LEAST = 0.05  # score of a detection in the file
# Concatenated in this order they form one script. Each file uses definitions of earlier ones.
SCRIPTS = (
    "camera.js",
    "shaders.js",
    "drawing.js",
    "picking.js",
    "controls.js",
    "input.js",
    "viewer.js",
)


def write_viewer(
    path: str | Path,
    title: str,
    points: Any,
    colors: Any | None,
    layers: Sequence[BoxLayer],
    *,
    score: float = 0.0,
    most: int = MOST_POINTS,
) -> None:
    """Write the page, which is below 15 MB for any cloud.

    points: (N, 3) metres, z up. colors: (N, 3) in [0, 1], or None. score: initial position of the
    minimum score slider. most: the maximum number of points. A larger cloud keeps one per voxel.

    Raises:
        InputError: inconsistent arrays, too many boxes, or the file cannot be written.
    """
    points, colors = (
        value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        for value in (points, colors)
    )
    points = np.asarray(points, dtype=np.float32)
    if points.ndim != 2 or points.shape[1] != 3:
        problem = f"are {points.shape}, not (N, 3)"
        raise InputError(problem, file=path, field="points", kind=Kind.VALUE)
    if colors is not None and np.shape(colors) != points.shape:
        problem = f"are {np.shape(colors)}, but points are {points.shape}"
        raise InputError(problem, file=path, field="colors", kind=Kind.CONFLICT)
    described = describe_layers(layers)
    cloud = pack_cloud(points, colors, most)
    write_text(path, render_viewer(title, cloud, described, score))


def render_viewer(
    title: str, cloud: PackedCloud, described: Mapping[str, Any], score: float
) -> str:
    """The page as text. described: result of `describe_layers`."""
    scene = {
        "title": title,
        "version": __version__,
        "score": score,
        "cloud": {
            "count": len(cloud.packed),
            "note": point_note(cloud),
            "low": cloud.low.tolist(),
            "extent": (cloud.step * 65535).tolist(),
            "frame": _around(cloud, described).tolist(),
            "colored": cloud.colored,
        },
        **described,
    }
    # "<" within a string of JSON could end the script that includes it.
    text = json.dumps(scene, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return _filled(
        _read("page.html"),
        {
            "title": html.escape(title),
            "style": _read("style.css"),
            "script": "\n".join(_read(name) for name in SCRIPTS),
            "scene": text,
            "points": cloud.base64(),
        },
    )


def point_note(cloud: PackedCloud) -> str:
    """A note about omitted points."""
    shown = len(cloud.packed)
    if cloud.voxel is None:
        note = f"{shown:,} points."
    else:
        note = f"{shown:,} of {cloud.given:,} points: one a voxel of {cloud.voxel * 1000:.2g} mm."
    if cloud.strays:
        note += f" {cloud.strays:,} points are omitted, because they are not finite or far away."
    return note if cloud.colored or not shown else f"{note} The scan has no colours."


def _around(cloud: PackedCloud, described: Mapping[str, Any]) -> np.ndarray:
    """(2, 3) target of the camera: the points, or the boxes if there are no points."""
    boxes = [box for layer in described["layers"] for box in layer["boxes"]]
    if len(cloud.packed) or not boxes:
        return cloud.frame
    centers, sizes = np.array(boxes)[:, :3], np.array(boxes)[:, 3:6].max(axis=1, keepdims=True)
    return np.stack([(centers - sizes / 2).min(axis=0), (centers + sizes / 2).max(axis=0)])


def _read(name: str) -> str:
    return (files("sr3d.study.report.viewer") / name).read_text(encoding="utf-8")


def _filled(template: str, values: Mapping[str, str]) -> str:
    """The template with each {{name}} replaced in one pass, so values are not expanded again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def write_scene_viewer(
    path: str | Path,
    title: str,
    scene: Scene,
    found: Mapping[str, BoxSet],
    classes: Sequence[str],
    *,
    score: float = 0.3,
    most: int = MOST_POINTS,
) -> None:
    """Write the viewer of one scene.

    found: detections in any scenes, by the name of their layer. score: initial position of the
    slider, the report's own threshold. most: the maximum number of points. Detections with a score
    below 0.05 or that are not finite are not written.

    Raises:
        InputError: labels outside `classes`, or the file cannot be written.
    """
    layers = []
    for name, boxes in found.items():
        rows = (boxes.scene == scene.id) & np.isfinite(boxes.box).all(axis=1)
        if boxes.score is not None:
            rows &= boxes.score >= _LEAST
        mine = boxes[rows]
        layers.append(BoxLayer(name, mine.box, mine.label, mine.score, classes))
    layers.append(BoxLayer("ground truth", scene.boxes.tensor, scene.labels, None, classes))
    write_viewer(path, title, scene.points, scene.colors, layers, score=score, most=most)
