"""The augmentation of training scenes: pure functions of a scene and a seeded generator.

Source: the pipelines of SamsungLabs/tr3d configs; values in `config.AugmentConfig`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Generator, Tensor

from sr3d.config import AugmentConfig
from sr3d.data.scene import Scene, point_table


def augment(scene: Scene, config: AugmentConfig, rotated: bool, generator: Generator) -> Scene:
    """Sample points, flip, rotate, scale, move. One random draw a step, whatever its outcome.

    rotated: whether boxes have a yaw. If not, a rotated box becomes the larger axis-aligned box
    around it, as in TR3D.
    """
    scene = sample(scene, config, generator)  # a copy, so that all else happens in place
    points, boxes = scene.points, scene.boxes
    for axis, chance in ((0, config.flip_x), (1, config.flip_y)):
        if _uniform(generator) < chance:
            points[:, axis].neg_()
            boxes = boxes.flipped(axis)
    angle = math.radians(config.rotation) * (2 * _uniform(generator) - 1)
    _turn(points, angle)
    boxes = boxes.rotated(angle)
    low, high = config.scale
    factor = low + (high - low) * _uniform(generator)
    offset = config.translation * torch.randn(3, generator=generator)
    points.mul_(factor).add_(offset)
    boxes = boxes.scaled(factor).translated(offset)
    if not rotated:
        boxes = boxes.enclosing()
    return replace(scene, boxes=boxes)  # its points changed in place


def sample(scene: Scene, config: AugmentConfig, generator: Generator) -> Scene:
    """A random share of the points or, if `sample_count` is set, a number of them."""
    count = config.sample_count
    if not count:
        low, high = config.sample_fraction
        count = max(1, int(len(scene) * (low + (high - low) * _uniform(generator))))
    return sample_points(scene, count, generator, config.sample_replace)


def sample_points(scene: Scene, count: int, generator: Generator, replace: str = "if_few") -> Scene:
    """`count` random points. replace: whether a point may be drawn twice: `always`, `never` (then
    all points where the scene has fewer), or `if_few`, only where it has fewer.
    """
    if replace == "always" or (replace == "if_few" and count > len(scene)):
        return pick_points(scene, torch.randint(len(scene), (count,), generator=generator))
    return pick_points(scene, torch.randperm(len(scene), generator=generator)[:count])


def pick_points(scene: Scene, index: Tensor) -> Scene:
    """The scene with these of its points, (P,) int64, in this order."""
    rows = point_table(scene).index_select(0, index)
    instance = None if scene.instance is None else scene.instance.index_select(0, index)
    return replace(scene, points=rows[:, :3], colors=rows[:, 3:], instance=instance)


def _turn(points: Tensor, angle: float) -> None:
    """`rotate_z` in place."""
    turn = points.new_tensor(angle)
    cos, sin = torch.cos(turn), torch.sin(turn)
    x, y = points[:, 0], points[:, 1]
    turned = x * cos - y * sin, x * sin + y * cos
    points[:, 0], points[:, 1] = turned


def _uniform(generator: Generator) -> float:
    return float(torch.rand((), generator=generator))
