"""Facts about a prepared folder: its scenes, boxes, classes and splits.

Three signs show the up axis, in any unit. It has the shortest extent, the floor is the slab with
the most points, and most furniture stands on one level.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sr3d.data.scene import Scene
from sr3d.geometry.boxes import Boxes

Array = npt.NDArray[Any]

SLABS = 100  # number of slabs in the largest extent. In a room of 5 m each is 5 cm thick
SUNK = 0.25  # share of a box's height, because the floor may be slightly above its bottom
OUTSIDE = 0.5  # metres, because amodal boxes may extend slightly beyond the visible points

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class SceneFacts:
    """A scene without its points. colors: (3, 3), the rows minimum, mean, maximum. extents: (3,).

    known: the number of finite points. finite: whether all points and all boxes are finite. up: an
    axis, or -1 if unclear. overturned: the furniture shares tops rather than bottoms along `up`.
    boxes: (K, 7). (K,) each: labels, empty (no point inside), outside (centre far beyond the
    points), lost (farther than the scene is long), sunk (a good part of the box lies below all
    points).
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


def scene_facts(scene: Scene) -> SceneFacts:
    """The facts of a scene."""
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
    return SceneFacts(
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
    """(K,) bool: boxes without a point inside. The points are searched piece by piece."""
    left, start = torch.arange(len(boxes)), 0
    while len(left) and start < len(points):
        end = start + max(1, 500_000 // len(left))
        left = left[~boxes[left].contains(points[start:end]).any(dim=0)]
        start = end
    return np.isin(np.arange(len(boxes)), left.numpy())


def _up(points: Array, low: Array, extents: Array, boxes: Array) -> tuple[int, bool]:
    """The up axis, or -1 if unclear, and whether the scene seems to be upside down.

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
        # The most reliable sign, because walls fill slabs as floors do.
        score += 2 * vote(np.maximum(stand, hang))
    axis = int(score.argmax())
    if score[axis] < 2 or (score == score[axis]).sum() > 1:
        return -1, False
    return axis, bool(len(boxes) >= 3 and hang[axis] > stand[axis])


def vote(values: Array) -> Array:
    """(3,) one for the largest value, else zero. All zero if two values are the largest."""
    return (values == values.max()) * float((values == values.max()).sum() == 1)


def on_one_level(values: Array, thick: float) -> int:
    """The maximum number of (K,) values within `thick` of each other."""
    ordered = np.sort(values)
    ends = np.searchsorted(ordered, ordered + thick, side="right")
    return int((ends - np.arange(len(ordered))).max(initial=0))


@dataclass(frozen=True)
class BoxPlace:
    """index: the place of the box among the boxes of its scene."""

    scene: str
    class_name: str
    index: int


@dataclass(frozen=True)
class ClassFacts:
    """Lengths are metres, None without a box. median_size: dx, dy, dz. edges: minimum, maximum."""

    name: str
    boxes: int
    without_points: int
    median_size: Triple | None
    edges: tuple[float, float] | None


class Sign(StrEnum):
    """What looks like a mistake, for code and tests that must not depend on the wording."""

    NOT_FINITE = "not finite"
    X_UP = "x up"
    Y_UP = "y up"
    UPSIDE_DOWN = "upside down"
    LARGE_SCENE = "large scene"
    SMALL_SCENE = "small scene"
    DEGREES = "degrees"
    LARGE_BOX = "large box"
    SMALL_BOX = "small box"
    FAR_BOX = "far box"
    REPEATED_BOX = "repeated box"
    NEARLY_REPEATED_BOX = "nearly repeated box"
    DARK = "dark"
    ONE_COLOR = "one colour"
    GREY = "grey"
    COLOR_RANGE = "colour range"
    NO_BOX = "no box"
    OUTSIDE = "outside"  # centres of boxes beyond the points
    EMPTY_BOX = "empty box"
    SUNK = "sunk"  # boxes whose centre seems to be that of the bottom face
    NO_YAW = "no yaw"
    YAW = "yaw"


@dataclass(frozen=True)
class Suspicion:
    """A sign of a mistake in some scenes of a split. Its text is one sentence.

    scenes: ids of the odd scenes. among: the number of scenes that were looked at.
    """

    sign: Sign
    split: str
    scenes: tuple[str, ...]
    among: int
    problem: str
    remedy: str

    def __str__(self) -> str:
        names = ", ".join([*self.scenes[:3], *["…"] * (len(self.scenes) > 3)])
        count = f"{len(self.scenes)} of {self.among} scenes ({names})"
        return f"{self.split}: {self.problem} in {count}. {self.remedy}."


@dataclass(frozen=True)
class SplitFacts:
    """points: of all scenes. points_a_scene: least, median, most. without_boxes, not_finite: ids.

    outside: boxes whose centre lies more than half a metre beyond the cloud. extents: metres along
    x, y, z, median over the scenes, without the outer 1 % of the points at either end. colors:
    least, mean, most, each (r, g, b). up: scenes in which x, y, z looks like the up axis.
    """

    name: str
    scenes: int
    points: int
    points_a_scene: Triple
    boxes: int
    classes: tuple[ClassFacts, ...]
    without_boxes: tuple[str, ...]
    not_finite: tuple[str, ...]
    without_points: tuple[BoxPlace, ...]
    outside: tuple[BoxPlace, ...]
    extents: Triple
    colors: tuple[Triple, Triple, Triple]
    up: tuple[int, int, int]
    suspicions: tuple[Suspicion, ...]


@dataclass(frozen=True)
class Inspection:
    """labels, left_out, deviations: as in the manifest, empty if it has none.

    instances: number of scenes that have the object of each point. like_classes: groups of class
    names that differ by case, blanks, hyphens, underscores or a plural s alone. twins: groups of
    scenes with the same points, extents and colours.
    """

    folder: str
    dataset: str
    source: str
    digest: str
    rotated: bool
    labels: str
    left_out: dict[str, str]
    deviations: list[str]
    instances: int
    like_classes: tuple[tuple[str, ...], ...]
    twins: tuple[tuple[str, ...], ...]
    splits: tuple[SplitFacts, ...]

    @property
    def suspicions(self) -> list[str]:
        """Sentences on the classes and on all splits."""
        classes = [
            f"classes: {' and '.join(map(repr, group))} are probably one class. Spell it the "
            "same way in all labels and prepare again."
            for group in self.like_classes
        ]
        twins = [
            f"scenes: {' and '.join(map(repr, group[:3]))}{', …' * (len(group) > 3)} seem to be "
            "one scan. Keep one of them, above all if they are in different splits."
            for group in self.twins
        ]
        return classes + twins + [str(one) for split in self.splits for one in split.suspicions]

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON. Suspicions are sentences."""
        splits = [
            asdict(split) | {"suspicions": [str(one) for one in split.suspicions]}
            for split in self.splits
        ]
        return asdict(self) | {"suspicions": self.suspicions, "splits": splits}
