"""What training does to a scene. Pure: a scene and a seeded generator in, a new scene out.

Source: the pipelines of SamsungLabs/tr3d configs; values in `config.AugmentConfig`.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from sr3d.config import AugmentConfig
from sr3d.data.scene import Scene
from sr3d.geometry.boxes import rotate_z


def augment(scene: Scene, config: AugmentConfig, rotated: bool, generator: Generator) -> Scene:
    """Sample points, flip, rotate, scale, move. One random draw a step, whatever its outcome.

    rotated: whether boxes have a yaw; otherwise a turned box becomes the axis-aligned box around
    it, as in TR3D, and grows.
    """
    scene = sample(scene, config, generator)
    points, boxes = scene.points.clone(), scene.boxes
    for axis, chance in ((0, config.flip_x), (1, config.flip_y)):
        if _uniform(generator) < chance:
            points[:, axis] = -points[:, axis]
            boxes = boxes.flipped(axis)
    angle = math.radians(config.rotation) * (2 * _uniform(generator) - 1)
    points = rotate_z(points, points.new_tensor(angle))
    boxes = boxes.rotated(angle)
    low, high = config.scale
    factor = low + (high - low) * _uniform(generator)
    offset = config.translation * torch.randn(3, generator=generator)
    points = points * factor + offset
    boxes = boxes.scaled(factor).translated(offset)
    if not rotated:
        boxes = boxes.enclosing()
    return Scene(scene.id, points, scene.colors, boxes, scene.labels)


def sample(scene: Scene, config: AugmentConfig, generator: Generator) -> Scene:
    """A random share of the points or, if `sample_count` is set, a number of them."""
    if config.sample_count:
        return sample_points(scene, config.sample_count, generator)
    low, high = config.sample_fraction
    keep = max(1, int(len(scene) * (low + (high - low) * _uniform(generator))))
    return _pick(scene, torch.randperm(len(scene), generator=generator)[:keep])


def sample_points(scene: Scene, count: int, generator: Generator) -> Scene:
    """`count` random points: distinct ones, or with replacement where the scene has fewer."""
    if count > len(scene):
        return _pick(scene, torch.randint(len(scene), (count,), generator=generator))
    return _pick(scene, torch.randperm(len(scene), generator=generator)[:count])


def _pick(scene: Scene, rows: Tensor) -> Scene:
    return Scene(scene.id, scene.points[rows], scene.colors[rows], scene.boxes, scene.labels)


def _uniform(generator: Generator) -> float:
    return float(torch.rand((), generator=generator))
