"""What goes in and out of detectors: predictions, ground truth, losses, detections."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.errors import InputError, Kind
from sr3d.matching.assigner import Anchors
from sr3d.sparse import Sites

__all__ = [
    "Anchors", "Detections", "GroundTruth", "Level", "Losses", "Predictions", "Total", "alone",
    "anchors_of", "require_finite", "require_finite_predictions",
]  # fmt: skip


class Level(NamedTuple):
    """Raw outputs of one level of one scene, finest level first.

    coords: (M, 3) int32 voxel coordinates. reg: (M, 6 or 8) before exp. cls: (M, C) logits.
    centerness: (M, 1) logits, of a detector that has one.
    """

    coords: Tensor
    reg: Tensor
    cls: Tensor
    centerness: Tensor | None = None


class Detections(NamedTuple):
    """boxes: (K, 7), the convention of `geometry.boxes`. scores: (K,). labels: (K,) int64."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def rows(self, index: Tensor) -> Detections:
        """Some of them, by index or mask."""
        return Detections(self.boxes[index], self.scores[index], self.labels[index])


@dataclass(frozen=True)
class Predictions:
    """What a dense detector says of every anchor of a batch.

    boxes: (A, 7) decoded, differentiable. logits: (A, C). A detector that says more adds fields of
    as many rows.
    """

    anchors: Anchors
    boxes: Tensor
    logits: Tensor

    def __getitem__(self, rows: Tensor) -> Self:
        """Some rows, by index or mask."""
        _, *rest = (getattr(self, f.name) for f in dataclasses.fields(self))
        return type(self)(self.anchors.rows(rows), *(value[rows] for value in rest))

    @property
    def batch_size(self) -> int:
        """Number of scenes."""
        if self.anchors.counts:
            return len(self.anchors.counts[0])
        scenes = self.anchors.scenes
        return int(scenes.max()) + 1 if len(scenes) else 1

    def by_scene(self) -> list[Self]:
        """The predictions of each scene."""
        if self.batch_size == 1:
            return [self]
        return [self[self.anchors.scenes == i] for i in range(self.batch_size)]


def require_finite_predictions(predictions: Any, where: str = "") -> None:
    """`require_finite` of all tensors in a dataclass, a mapping or a sequence."""
    require_finite(list(_float_tensors(predictions)), where)


def _float_tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif dataclasses.is_dataclass(value):
        for entry in dataclasses.fields(value):
            yield from _float_tensors(getattr(value, entry.name))
    elif isinstance(value, Mapping):
        yield from _float_tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _float_tensors(entry)


def require_finite(
    values: Sequence[Tensor],
    where: str = "",
    remedy: str = "take another checkpoint, or train again with a lower train.lr",
) -> None:
    """Refuse NaN and infinity in what a network gives: a threshold and NMS would hide them.

    It waits for the device, so call it after the results are fetched. where: names the scan.

    Raises:
        InputError: names the scan and the remedy.
    """
    if not torch.stack([value.isfinite().all() for value in values]).all():
        raise InputError(
            f"{where and where + ': '}the model gives NaN or infinite scores or "
            f"boxes, so its weights have diverged; {remedy}",
            kind=Kind.VALUE,
        )


def anchors_of(levels: Sequence[Sites], voxel_size: float, counted: bool = False) -> Anchors:
    """Every cell of some levels as an anchor. counted: whether to ask for the number of anchors in
    each scene, which is a host–device sync unless the sites know it.
    """
    coords = torch.cat([sites.coords for sites in levels])
    # An anchor lies at the minimum corner of its cell, as in TR3D and FCAF3D.
    positions = coords[:, 1:] * voxel_size
    index = [torch.full_like(s.coords[:, 0], i, dtype=torch.int64) for i, s in enumerate(levels)]
    strides = [positions.new_full((len(s),), s.stride * voxel_size) for s in levels]
    counts = [sites.counts for sites in levels] if counted else None
    return Anchors(positions, torch.cat(index), torch.cat(strides), coords[:, 0].long(), counts)


@dataclass(frozen=True)
class Losses:
    """The loss of this process's scenes, as scalars by name. Both kinds add up over the processes.

    terms: their sum is trained. curves: further values worth a curve, without gradient, such as
    "positives" (a number) and "aic" (a mean over the positives).
    """

    terms: Mapping[str, Tensor]
    curves: Mapping[str, Tensor]

    @property
    def total(self) -> Tensor:
        """The sum of the terms."""
        return reduce(add, self.terms.values())

    def values(self) -> dict[str, Tensor]:
        """Everything for the curves of a training: `loss`, `loss_NAME` of each term, the rest."""
        terms = {f"loss_{name}": term for name, term in self.terms.items()}
        return {"loss": self.total, **terms, **self.curves}


Total = Callable[[Tensor], Tensor]


def alone(count: Tensor) -> Tensor:
    """The total of a count over the processes of a run that has one process."""
    return count
