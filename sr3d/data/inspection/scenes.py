"""One scene, looked at.

Three signs tell which axis is up, in any unit: it is the shortest extent, the floor is the fullest
slab of points, and most furniture stands on one level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sr3d.data.scene import Scene
from sr3d.geometry.boxes import Boxes

Array = npt.NDArray[Any]

SLABS = 100  # in the largest extent: each 5 cm thick in a room of 5 m
SUNK = 0.25  # of a box's height; the floor under a box may lie a little above its bottom
OUTSIDE = 0.5  # metres; amodal boxes may reach a little beyond what the camera saw


@dataclass(frozen=True)
class Seen:
    """A scene without its points. colors: (3, 3), rows least, mean, most. extents: (3,).

    known: finite points. finite: all of them and all boxes. up: an axis, or -1 if unclear.
    overturned: its furniture shares tops rather than bottoms along it. boxes: (K, 7). labels,
    empty (no point inside), outside (centre far beyond the points), lost (farther than the scene is
    long), sunk (a good part of it below all points): (K,).
    """

    id: str
    points: int
    known: int
    finite: bool
    colors: Array
    grey: bool
    extents: Array
    up: int
    overturned: bool
    boxes: Array
    labels: Array
    empty: Array
    outside: Array
    lost: Array
    sunk: Array


def look(scene: Scene) -> Seen:
    sound = (torch.isfinite(scene.points) & torch.isfinite(scene.colors)).all(dim=1)
    points, colors = scene.points[sound], scene.colors[sound]
    boxes = scene.boxes.tensor.numpy()
    whole = np.isfinite(boxes).all(axis=1)
    extents, shades, up, overturned = np.zeros(3), np.zeros((3, 3)), -1, False
    outside, lost, sunk = np.zeros((3, len(boxes)), dtype=bool)
    if len(points):
        low, high = points.amin(0).numpy() - OUTSIDE, points.amax(0).numpy() + OUTSIDE
        outside |= ((boxes[:, :3] < low) | (boxes[:, :3] > high)).any(axis=1)
        shades = torch.stack([colors.amin(0), colors.double().mean(0), colors.amax(0)]).numpy()
        reach = float((high - low).max())
        lost |= ((boxes[:, :3] < low - reach) | (boxes[:, :3] > high + reach)).any(axis=1)
        sample = points[:: max(1, len(points) // 200_000)].numpy()
        low, high = np.percentile(sample, [1, 99], axis=0)
        extents = high - low
        up, overturned = _up(sample, low, extents, boxes[whole])
        sunk = boxes[:, 2] - (0.5 - SUNK) * boxes[:, 5] < low[2]
    return Seen(
        id=scene.id,
        points=len(scene),
        known=len(points),
        finite=bool(sound.all() and whole.all()),
        colors=shades,
        grey=len(points) > 0 and bool((colors == colors[:, :1]).all()),
        extents=extents,
        up=up,
        overturned=overturned,
        boxes=boxes,
        labels=scene.labels.numpy(),
        empty=without_points(points, scene.boxes) & whole,
        outside=outside,
        lost=lost,
        sunk=sunk,
    )


def without_points(points: torch.Tensor, boxes: Boxes) -> Array:
    """(K,) bool: boxes with no point inside; the points in pieces, each box until one is found."""
    left, start = torch.arange(len(boxes)), 0
    while len(left) and start < len(points):
        end = start + max(1, 500_000 // len(left))
        left = left[~boxes[left].contains(points[start:end]).any(dim=0)]
        start = end
    return np.isin(np.arange(len(boxes)), left.numpy())


def _up(points: Array, low: Array, extents: Array, boxes: Array) -> tuple[int, bool]:
    """The axis that looks up, -1 if unclear, and whether the scene seems to stand on its head.

    points: (N, 3). low, extents: (3,), where most of them lie. boxes: (K, 7).
    """
    thick = float(extents.max()) / SLABS
    if not thick > 0:
        return -1, False
    spans = [(start, start + SLABS * thick) for start in low]
    slabs = np.stack([np.histogram(points[:, a], SLABS, spans[a])[0] for a in range(3)])
    score = vote(-extents) + vote(slabs.max(axis=1))
    # Along the true up axis this is right for oriented boxes too, whatever their yaw.
    centres, halves = boxes[:, :3], boxes[:, 3:6] / 2
    stand = np.array([on_one_level(ends, 2 * thick) for ends in (centres - halves).T])
    hang = np.array([on_one_level(ends, 2 * thick) for ends in (centres + halves).T])
    if len(boxes) >= 3:
        # The surest sign, whichever way is up: walls fill slabs as well as floors do.
        score += 2 * vote(np.maximum(stand, hang))
    axis = int(score.argmax())
    if score[axis] < 2 or (score == score[axis]).sum() > 1:
        return -1, False
    return axis, bool(len(boxes) >= 3 and hang[axis] > stand[axis])


def vote(values: Array) -> Array:
    """(3,) one for the largest; nothing if two share that place."""
    return (values == values.max()) * float((values == values.max()).sum() == 1)


def on_one_level(values: Array, thick: float) -> int:
    """Most of (K,) values that lie within `thick` of each other."""
    ordered = np.sort(values)
    ends = np.searchsorted(ordered, ordered + thick, side="right")
    return int((ends - np.arange(len(ordered))).max(initial=0))
