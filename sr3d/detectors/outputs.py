"""Outputs of detectors: predictions, losses, detections."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from sr3d.errors import InputError, Kind
from sr3d.matching.assigner import Anchors
from sr3d.sparse import Sites


class Level(NamedTuple):
    """Raw outputs of one level of one scene, finest level first.

    coords: (M, 3) int32 voxel coordinates. reg: (M, 6 or 8) before exp. cls: (M, C) logits.
    centerness: (M, 1) logits of centerness or of localisation quality, if the detector has either.
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
        """The detections at an index or mask."""
        return Detections(self.boxes[index], self.scores[index], self.labels[index])


@dataclass(frozen=True)
class Predictions:
    """The predictions of a dense detector for every anchor of a batch.

    boxes: (A, 7) decoded, differentiable. logits: (A, C). A detector with more outputs adds fields
    with A rows.
    """

    anchors: Anchors
    boxes: Tensor
    logits: Tensor

    def __getitem__(self, rows: Tensor) -> Self:
        """The rows at an index or mask."""
        _, *rest = (getattr(self, f.name) for f in dataclasses.fields(self))
        return type(self)(self.anchors.rows(rows), *(value[rows] for value in rest))

    @property
    def scores(self) -> Tensor:
        """(A, C) in [0, 1]. A detector with more outputs may combine them."""
        return self.logits.sigmoid()

    @property
    def batch_size(self) -> int:
        """Number of scenes."""
        return self.anchors.batch_size

    def by_scene(self) -> list[Self]:
        """The predictions of each scene."""
        if self.batch_size == 1:
            return [self]
        return [self[self.anchors.scenes == i] for i in range(self.batch_size)]


def require_finite_predictions(predictions: Any, where: str = "") -> None:
    """`require_finite` for all tensors in a dataclass, a mapping or a sequence."""
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
    remedy: str = "Take another checkpoint, or train again with a lower train.lr.",
) -> None:
    """Refuse NaN and infinite outputs, which a threshold and NMS would hide.

    Needs a sync, so call it after the results are fetched. where: names the scan.

    Raises:
        InputError: an output is NaN or infinite. Names the scan and the remedy.
    """
    if not torch.stack([value.isfinite().all() for value in values]).all():
        raise InputError(
            f"{where and where + ': '}the model gives NaN or infinite scores or "
            "boxes, so its weights have diverged",
            kind=Kind.VALUE,
            remedy=remedy,
        )


def anchors_of(levels: Sequence[Sites], voxel_size: float) -> Anchors:
    """Every cell of some levels as an anchor."""
    coords = torch.cat([sites.coords for sites in levels])
    # An anchor is at the minimum corner of its cell, as in TR3D and FCAF3D.
    positions = coords[:, 1:] * voxel_size
    index = [torch.full_like(s.coords[:, 0], i, dtype=torch.int64) for i, s in enumerate(levels)]
    strides = [positions.new_full((len(s),), s.stride * voxel_size) for s in levels]
    scenes, batch_size = coords[:, 0].long(), levels[0].batch_size
    return Anchors(positions, torch.cat(index), torch.cat(strides), scenes, batch_size)


@dataclass(frozen=True)
class Losses:
    """The loss of this process's scenes, as scalars by name. Both add up over the processes.

    terms: training minimises their sum. curves: further values to log, without gradient, such as
    "positives" (a number) and "aic" (a mean over the positives).
    """

    terms: Mapping[str, Tensor]
    curves: Mapping[str, Tensor]

    @property
    def total(self) -> Tensor:
        """The sum of the terms."""
        return reduce(add, self.terms.values())

    def values(self) -> dict[str, Tensor]:
        """All values to log: `loss`, `loss_NAME` of each term, and the curves."""
        terms = {f"loss_{name}": term for name, term in self.terms.items()}
        return {"loss": self.total, **terms, **self.curves}


Total = Callable[[Tensor], Tensor]


def alone(count: Tensor) -> Tensor:
    """The total of a count in a run with one process."""
    return count
