"""What is told of a prepared folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class BoxPlace:
    """index: the box's place among those of its scene."""

    scene: str
    class_name: str
    index: int


@dataclass(frozen=True)
class ClassFacts:
    """Metres; None without a box. median_size: dx, dy, dz. edges: the shortest and the longest."""

    name: str
    boxes: int
    without_points: int
    median_size: Triple | None
    edges: tuple[float, float] | None


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
    suspicions: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """labels, left_out, deviations: as the manifest has them; empty where it has none.

    like_classes: groups of class names that differ by case, blanks, hyphens, underscores or a
    plural s alone. twins: groups of scenes with the same points, extents and colours.
    """

    folder: str
    dataset: str
    source: str
    digest: str
    rotated: bool
    labels: str
    left_out: dict[str, str]
    deviations: list[str]
    like_classes: tuple[tuple[str, ...], ...]
    twins: tuple[tuple[str, ...], ...]
    splits: tuple[SplitFacts, ...]

    @property
    def suspicions(self) -> list[str]:
        """Of the classes and of all splits, as sentences."""
        classes = [
            f"classes: {' and '.join(map(repr, group))} are probably one; spell it alike in the "
            "labels and prepare again."
            for group in self.like_classes
        ]
        twins = [
            f"scenes: {' and '.join(map(repr, group[:3]))}{', …' * (len(group) > 3)} seem to be "
            "one scan; keep one of them, above all if they are in different splits."
            for group in self.twins
        ]
        return (
            classes + twins + [sentence for split in self.splits for sentence in split.suspicions]
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self) | {"suspicions": self.suspicions}
