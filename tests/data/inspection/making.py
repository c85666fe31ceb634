"""Small sets of which every number is known, and ways to spoil them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sr3d.data.prepared import PreparedDataset, PreparedWriter, read_manifest
from sr3d.data.scene import Scene
from sr3d.geometry.boxes import Boxes

CLASSES = ("chair", "table", "bed")
STANDING = [  # on the floor of a room of 4 × 5 × 2.5 m
    [1.0, 1.0, 0.4, 0.5, 0.6, 0.8, 0.0],
    [3.0, 1.0, 0.45, 0.7, 0.4, 0.9, 0.0],
    [2.0, 3.0, 0.35, 1.5, 0.8, 0.7, 0.0],
]


def made(
    name: str, boxes: list[list[float]], labels: list[int], hollow: tuple[int, ...] = ()
) -> Scene:
    """A floor with its four corner posts, and three points in each box but the hollow ones."""
    x, y = np.meshgrid(np.arange(0, 4.01, 0.1), np.arange(0, 5.01, 0.1))
    floor = np.stack([x, y, np.full_like(x, -0.05)], axis=-1).reshape(-1, 3)
    posts = [[x, y, z] for x in (0, 4) for y in (0, 5) for z in np.arange(0, 2.5, 0.05)]
    inside = [
        [cx, cy, cz + dz * share]
        for k, (cx, cy, cz, _, _, dz, _) in enumerate(boxes)
        for share in (-0.4, 0.0, 0.4)
        if k not in hollow
    ]
    points = torch.tensor(np.concatenate([floor, posts, np.reshape(inside, (-1, 3))]))
    colors = torch.rand(len(points), 3, generator=torch.Generator().manual_seed(0))
    held = Boxes.from_array(boxes)
    return Scene(name, points.float(), colors, held, torch.tensor(labels, dtype=torch.int64))


def write(folder: Path, splits: dict[str, list[Scene]]) -> Path:
    writer = PreparedWriter(folder, "scannet", CLASSES, False, "a test")
    for split, scenes in splits.items():
        for scene in scenes:
            writer.add(split, scene)
    writer.finish()
    return folder


def rewritten(source: Path, folder: Path, change: Callable[[Scene], Scene]) -> Path:
    """The same set with every scene changed."""
    old = read_manifest(source)
    writer = PreparedWriter(folder, old.dataset, old.classes, old.rotated, old.source)
    for split in old.splits:
        for scene in PreparedDataset(source, split):
            writer.add(split, change(scene))
    writer.finish()
    return folder


def swapped(order: tuple[int, int, int]) -> Callable[[Scene], Scene]:
    """Axes in another order, sizes with them; the yaw is kept, as a careless reader would."""
    columns = [*order, *(3 + axis for axis in order), 6]
    return lambda s: replace(s, points=s.points[:, order], boxes=Boxes(s.boxes.tensor[:, columns]))


def scaled(factor: float) -> Callable[[Scene], Scene]:
    return lambda s: replace(s, points=s.points * factor, boxes=s.boxes.scaled(factor))


def overturned(scene: Scene) -> Scene:
    down = torch.tensor([1.0, 1.0, -1.0])
    centers = scene.boxes.centers * down
    boxes = torch.cat([centers, scene.boxes.tensor[:, 3:]], dim=1)
    return replace(scene, points=scene.points * down, boxes=Boxes(boxes))


def shifted(x: float, z: float) -> Callable[[Scene], Scene]:
    return lambda s: replace(s, boxes=s.boxes.translated(torch.tensor([x, 0.0, z])))


def in_degrees(scene: Scene) -> Scene:
    boxes = scene.boxes.tensor.clone()
    boxes[:, 6].rad2deg_()
    return replace(scene, boxes=Boxes(boxes))
