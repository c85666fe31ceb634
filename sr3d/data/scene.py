"""The scene type of all data sets and transforms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes


@dataclass(frozen=True)
class Scene:
    """A coloured point cloud with its ground truth.

    points: (N, 3) float32 metres, z up. colors: (N, 3) float32 in [0, 1].
    boxes: K ground-truth boxes. labels: (K,) int64 into the data set's classes.
    instance: (N,) int64, the ground-truth box whose object each point lies on, -1 for none. None if
    unknown: SUN RGB-D and own data only have boxes, so a detector that votes uses the points inside
    each box instead. Masks and boxes may differ: a point without an object may lie in a box.
    superpoints: (N,) int64 of 0 or above, the part of the over-segmented scan that each point
    belongs to. None unless a detector needs it.
    """

    id: str
    points: Tensor
    colors: Tensor
    boxes: Boxes
    labels: Tensor
    instance: Tensor | None = None
    superpoints: Tensor | None = None

    def with_points(
        self, points: Tensor, colors: Tensor, change: Callable[[Tensor], Tensor]
    ) -> Scene:
        """The scene with other points. change: of the other values of each point, if it has any."""
        instance, superpoints = (
            None if rows is None else change(rows) for rows in (self.instance, self.superpoints)
        )
        return replace(
            self, points=points, colors=colors, instance=instance, superpoints=superpoints
        )

    @staticmethod
    def unlabelled(points: Tensor, colors: Tensor) -> Scene:
        """A scan without ground truth."""
        labels = torch.zeros(0, dtype=torch.int64)
        return Scene("scan", points, colors, Boxes(torch.zeros(0, 7)), labels)

    def __len__(self) -> int:
        return len(self.points)


def point_table(scene: Scene) -> Tensor:
    """(N, 6) points and colours. No copy if they are columns of one table, as in prepared scenes.
    Then picking rows takes one pass instead of two.
    """
    points, colors = scene.points, scene.colors
    together = (
        points.untyped_storage().data_ptr() == colors.untyped_storage().data_ptr()
        and points.stride() == colors.stride() == (6, 1)
        and colors.storage_offset() == points.storage_offset() + 3
    )
    if together:
        return points.as_strided((len(points), 6), (6, 1))
    return torch.cat([points, colors], dim=1)


def check_scene(scene: Scene, classes: tuple[str, ...], source: str) -> None:
    """Refuse a scene that would break a training run.

    Raises:
        InputError: no points, NaN, a colour outside [0, 1], a flat box, an unknown label, or an
            instance without a box. The message starts with `source`.
    """
    if len(scene) == 0:
        raise InputError(
            "the scene has no points",
            file=source,
            kind=Kind.EMPTY,
            remedy="Remove it or scan it again.",
        )
    if scene.points.shape != scene.colors.shape:
        raise InputError(
            f"{len(scene.points)} points but {len(scene.colors)} colours",
            file=source,
            kind=Kind.CONFLICT,
        )
    for name, value in (
        ("points", scene.points),
        ("colours", scene.colors),
        ("boxes", scene.boxes.tensor),
    ):
        if not torch.isfinite(value).all():
            raise InputError(
                f"{name} contain NaN or infinity",
                file=source,
                kind=Kind.VALUE,
                remedy="Clean the scan first.",
            )
    low, high = float(scene.colors.min()), float(scene.colors.max())
    if low < 0 or high > 1:
        raise InputError(
            f"colours span {low:.3g} to {high:.3g}, expected 0 to 1",
            file=source,
            kind=Kind.VALUE,
            remedy="Scale them to 0 to 1.",
        )
    if len(scene.labels) != len(scene.boxes):
        raise InputError(
            f"{len(scene.boxes)} boxes but {len(scene.labels)} labels",
            file=source,
            kind=Kind.CONFLICT,
        )
    if len(scene.boxes) and float(scene.boxes.sizes.min()) <= 0:
        raise InputError(
            "a ground-truth box has no extent",
            file=source,
            kind=Kind.EMPTY,
            remedy="Remove it or correct its size.",
        )
    if len(scene.labels) and not (
        0 <= int(scene.labels.min()) <= int(scene.labels.max()) < len(classes)
    ):
        raise InputError(
            f"labels must lie in 0 to {len(classes) - 1}", file=source, kind=Kind.VALUE
        )
    _check_instance(scene, source)
    _check_superpoints(scene, source)


def _check_instance(scene: Scene, source: str) -> None:
    if scene.instance is None:
        return
    if scene.instance.shape != (len(scene),):
        count = len(scene.instance)
        raise InputError(
            f"{len(scene)} points but {count} instance numbers",
            file=source,
            kind=Kind.CONFLICT,
        )
    if not -1 <= int(scene.instance.min()) <= int(scene.instance.max()) < len(scene.boxes):
        raise InputError(
            f"instance numbers must lie in -1 to {len(scene.boxes) - 1}",
            file=source,
            kind=Kind.VALUE,
        )


def _check_superpoints(scene: Scene, source: str) -> None:
    if scene.superpoints is None:
        return
    if scene.superpoints.shape != (len(scene),):
        raise InputError(
            f"{len(scene)} points but {len(scene.superpoints)} superpoint numbers",
            file=source,
            kind=Kind.CONFLICT,
        )
    if int(scene.superpoints.min()) < 0 or int(scene.superpoints.max()) >= 1 << 31:
        raise InputError(
            "superpoint numbers must lie in 0 to 2,147,483,647", file=source, kind=Kind.VALUE
        )
