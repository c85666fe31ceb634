"""The augmentation of training scenes: pure functions of a scene and a seeded generator.

`config.AugmentConfig` has the values. Sources: the pipelines of SamsungLabs/tr3d configs,
`RandomCuboid` of facebookresearch/3detr (utils/random_cuboid.py), and for elastic distortion, tilts
and colours jgwak/GSDN (lib/transforms.py).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool3d, grid_sample

from sr3d.config import AugmentConfig
from sr3d.data.scene import Scene, point_table
from sr3d.geometry.boxes import Boxes

_TRIES = 100  # maximum number of attempts at a random cuboid
# Smooth random fields: distance of the grid's points in metres, and standard deviation there.
_FIELDS = ((0.1, 0.2), (0.4, 0.8))
_FIELD_CELLS = 256  # of a field along an axis. In larger scenes its points are farther apart
_COLOUR_CHANCE = 0.95  # probability of each of the two changes of colours


def augment(scene: Scene, config: AugmentConfig, rotated: bool, generator: Generator) -> Scene:
    """Sample points, crop, distort, flip, rotate, tilt, shift, scale, move, change colours.

    The crop may also come first or last. Flips, rotation, scale and translation make one random
    draw each, whatever its outcome. The other steps draw only if they are configured.

    rotated: whether boxes have a yaw. If not, a rotated box becomes the larger axis-aligned box
    around it, as in TR3D.
    """
    crops = config.crop != (1.0, 1.0)
    if crops and config.crop_when == "whole":
        scene = random_cuboid(scene, config, generator)
    scene = sample(scene, config, generator)  # a copy, so later steps can work in place
    if crops and config.crop_when == "sampled":
        scene = random_cuboid(scene, config, generator)
    points, boxes = scene.points, scene.boxes
    if config.elastic and _uniform(generator) < config.elastic:
        distort(points, generator)
    for axis, chance in ((0, config.flip_x), (1, config.flip_y)):
        if _uniform(generator) < chance:
            points[:, axis].neg_()
            boxes = boxes.flipped(axis, config.keep_front)
    angle = math.radians(config.rotation) * (2 * _uniform(generator) - 1)
    _turn(points, angle)
    boxes = boxes.rotated(angle)
    if config.tilt:
        for axes in ((1, 2), (2, 0)):
            _turn(points, math.radians(config.tilt) * (2 * _uniform(generator) - 1), axes)
    if config.shift:
        shift = config.shift * (2 * torch.rand(3, generator=generator) - 1)
        points.add_(shift)
        boxes = boxes.translated(shift)
    low, high = config.scale
    factor = low + (high - low) * _uniform(generator)
    offset = config.translation * torch.randn(3, generator=generator)
    points.mul_(factor).add_(offset)
    boxes = boxes.scaled(factor).translated(offset)
    if not rotated:
        boxes = boxes.enclosing()
    if config.colour_shift or config.colour_noise:
        change_colours(scene.colors, config, generator)
    scene = replace(scene, boxes=boxes)  # its points changed in place
    if crops and config.crop_when == "moved":
        scene = random_cuboid(scene, config, generator)
    return scene


def distort(points: Tensor, generator: Generator) -> None:
    """Move points (N, 3) by two smooth random fields, in place.

    A field has normal noise on a grid, smoothed twice over three points along each axis. Between
    the grid's points it is trilinear.
    """
    for edge, deviation in _FIELDS:
        low, high = points.amin(dim=0), points.amax(dim=0)
        edge = max(edge, float((high - low).max()) / _FIELD_CELLS)
        cells = [int(extent / edge) + 4 for extent in (high - low).tolist()]
        field = torch.randn(1, 3, *cells, generator=generator)
        for _ in range(2):
            field = avg_pool3d(field, kernel_size=3, stride=1, padding=1)
        place = (points - low) / edge + 1  # the grid begins one edge below the lowest point
        place = 2 * place / (torch.tensor(cells) - 1) - 1
        at = place.flip(dims=[1])[None, None, None]  # grid_sample takes the last axis first
        moved = grid_sample(field, at, mode="bilinear", align_corners=True)
        points += deviation * moved[0, :, 0, 0].t()


def change_colours(colors: Tensor, config: AugmentConfig, generator: Generator) -> None:
    """Shift all colours (N, 3) of a scene, and add noise to each, in place. They stay in [0, 1]."""
    if config.colour_shift and _uniform(generator) < _COLOUR_CHANCE:
        shift = 2 * torch.rand(3, generator=generator) - 1
        colors.add_(config.colour_shift * shift).clamp_(0, 1)
    if config.colour_noise and _uniform(generator) < _COLOUR_CHANCE:
        noise = torch.randn(colors.shape, generator=generator)
        colors.add_(config.colour_noise * noise).clamp_(0, 1)


def sample(scene: Scene, config: AugmentConfig, generator: Generator) -> Scene:
    """A random share of the points or, if `sample_count` is set, a number of them."""
    count = config.sample_count
    if not count:
        low, high = config.sample_fraction
        count = max(1, int(len(scene) * (low + (high - low) * _uniform(generator))))
    return sample_points(scene, count, generator, config.sample_replace)


def sample_points(scene: Scene, count: int, generator: Generator, replace: str = "if_few") -> Scene:
    """`count` random points. replace: whether a point may be drawn twice. `always`, `never` (all
    points if the scene has fewer), or `if_few` (only if the scene has fewer).
    """
    if replace == "always" or (replace == "if_few" and count > len(scene)):
        return pick_points(scene, torch.randint(len(scene), (count,), generator=generator))
    return pick_points(scene, torch.randperm(len(scene), generator=generator)[:count])


def pick_points(scene: Scene, index: Tensor) -> Scene:
    """The scene with the points at `index` (P,) int64, in this order."""
    rows = point_table(scene).index_select(0, index)
    return scene.with_points(rows[:, :3], rows[:, 3:], lambda each: each.index_select(0, index))


def random_cuboid(scene: Scene, config: AugmentConfig, generator: Generator) -> Scene:
    """The points in a random axis-aligned cuboid, and the boxes with their centre among them.

    The cuboid is centred at a random point. Its edges are random shares of the cloud's extent. A
    cuboid is valid if two of its shares are similar (`crop_aspect`), it has enough points
    (`crop_points`), and it keeps a box, if there are boxes. After 100 failures nothing is cut.
    """
    points = scene.points
    if len(points) < config.crop_points:
        return scene
    low, high = config.crop
    axes = points.t().contiguous()  # comparing whole rows of coordinates is six times as fast
    extent = axes.amax(dim=1) - axes.amin(dim=1)
    for _ in range(_TRIES):
        shares = low + (high - low) * torch.rand(3, generator=generator)
        if _likest(shares) < config.crop_aspect:
            continue
        row = int(torch.randint(len(points), (), generator=generator))
        reach = extent * shares / 2
        x, y, z = (axes - axes[:, row, None]).abs_() <= reach[:, None]
        inside = x & y & z
        if int(inside.sum()) < config.crop_points:
            continue
        cropped = _with_boxes_inside(pick_points(scene, inside.nonzero().squeeze(1)))
        if len(cropped.boxes) or not len(scene.boxes):
            return cropped
    return scene


def _with_boxes_inside(scene: Scene) -> Scene:
    """The scene without the boxes whose centre is outside the extent of its points."""
    centers = scene.boxes.centers
    low, high = scene.points.amin(dim=0), scene.points.amax(dim=0)
    keep = ((centers >= low) & (centers <= high)).all(dim=1)
    boxes = Boxes(scene.boxes.tensor[keep])
    instance = scene.instance
    if instance is not None:
        # An instance of -1, for no object, indexes the last entry.
        number = torch.cat([keep.cumsum(0) - 1, keep.new_zeros(1, dtype=torch.int64)])
        known = torch.cat([keep, keep.new_zeros(1)])
        instance = torch.where(known[instance], number[instance], -1)
    return replace(scene, boxes=boxes, labels=scene.labels[keep], instance=instance)


def _likest(shares: Tensor) -> float:
    """The greatest ratio, at most 1, of two of three shares."""
    a, b, c = shares.sort().values.tolist()
    return max(a / b, b / c)


def _turn(points: Tensor, angle: float, axes: tuple[int, int] = (0, 1)) -> None:
    """Turn points in place, from the first of two axes towards the second."""
    turn = points.new_tensor(angle)
    cos, sin = torch.cos(turn), torch.sin(turn)
    first, second = axes
    x, y = points[:, first], points[:, second]
    turned = x * cos - y * sin, x * sin + y * cos
    points[:, first], points[:, second] = turned


def _uniform(generator: Generator) -> float:
    return float(torch.rand((), generator=generator))
