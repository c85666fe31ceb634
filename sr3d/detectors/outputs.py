"""What goes in and out of detectors: predictions, ground truth, loss terms, detections."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import torch
from torch import Tensor

from sr3d.errors import InputError
from sr3d.sparse import Sites


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
    """What the network says of every anchor of a batch; the rows of all levels, concatenated.

    anchors: (A, 3) metres. levels, scenes: (A,) int64. strides: (A,) metres, the edge of an
    anchor's cell. boxes: (A, 7) decoded, differentiable. logits: (A, C). A detector that says more
    adds fields of as many rows. counts: how many anchors each level has in each scene, where the
    host knows it; else a GPU is waited for.
    """

    anchors: Tensor
    levels: Tensor
    strides: Tensor
    scenes: Tensor
    boxes: Tensor
    logits: Tensor
    counts: Sequence[Sequence[int]] | None = field(default=None, kw_only=True)

    def __getitem__(self, rows: Tensor) -> Self:
        """Some rows, by index or mask."""
        values = (getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "counts")
        return type(self)(*(value[rows] for value in values))

    def require_finite(self, where: str = "") -> None:
        """Of all values; see the function of this name."""
        values = (getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "counts")
        require_finite([value for value in values if value.is_floating_point()], where)

    @property
    def batch_size(self) -> int:
        """Number of scenes."""
        if self.counts:
            return len(self.counts[0])
        return int(self.scenes.max()) + 1 if len(self.scenes) else 1


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
            f"{where and where + ': '}the model gives NaN or infinite scores or boxes, so its "
            f"weights have diverged; {remedy}"
        )


def anchors_of(levels: Sequence[Sites], voxel_size: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first four fields of `Predictions` where every cell of some levels is an anchor."""
    coords = torch.cat([sites.coords for sites in levels])
    # An anchor lies at the minimum corner of its cell, as in TR3D and FCAF3D.
    anchors = coords[:, 1:] * voxel_size
    index = [torch.full_like(s.coords[:, 0], i, dtype=torch.int64) for i, s in enumerate(levels)]
    strides = [anchors.new_full((len(s),), s.stride * voxel_size) for s in levels]
    return anchors, torch.cat(index), torch.cat(strides), coords[:, 0].long()


@dataclass(frozen=True)
class GroundTruth:
    """The boxes of all scenes of a batch. boxes: (M, 7). labels, scenes: (M,) int64."""

    boxes: Tensor
    labels: Tensor
    scenes: Tensor

    @staticmethod
    def collate(boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> GroundTruth:
        """From one (K, 7) and one (K,) tensor a scene."""
        scenes = [torch.full((len(b),), i, dtype=torch.int64) for i, b in enumerate(boxes)]
        return GroundTruth(torch.cat(list(boxes)), torch.cat(list(labels)), torch.cat(scenes))

    def to(self, device: torch.device) -> GroundTruth:
        return GroundTruth(self.boxes.to(device), self.labels.to(device), self.scenes.to(device))


@dataclass(frozen=True)
class LossTerms:
    """Scalars whose sum is trained, and what else is worth a curve.

    more: further terms than `cls` and `box`, by name. positives: their number. aic: mean
    difference between score and IoU over the positives, 0 without any. divisor: what the terms
    were divided by, 0 where by 1 for want of it; times max(1, divisor) they are sums, which add up
    over scenes. Both are int64 on the device, for nobody to wait.
    """

    cls: Tensor
    box: Tensor
    positives: Tensor
    aic: Tensor
    divisor: Tensor
    more: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, Tensor]:
        """Every term that is trained, by name."""
        return {"cls": self.cls, "box": self.box, **self.more}

    @property
    def total(self) -> Tensor:
        return sum(self.more.values(), self.cls + self.box)
