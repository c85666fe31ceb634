"""A family of detectors on points, as small as one can be. It has what only some families have:

groups of its own and no `assigner` or `loss`, a batch type of its own, both needs, points drawn at
random, a module named `head`, no stages and no AIC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sr3d.config import Config, ModelConfig, Preset
from sr3d.data.ground_truth import GroundTruth
from sr3d.data.loader import on_device
from sr3d.data.scene import Scene
from sr3d.detectors.base import Detector
from sr3d.detectors.family import Family
from sr3d.detectors.outputs import Detections, Losses, Total, alone
from sr3d.detectors.scan import split_points
from sr3d.value_types import Count, Weight

NAME = "toy_points"


@dataclass(frozen=True, kw_only=True)
class ToyModel(ModelConfig):
    name: Literal["toy_points"] = "toy_points"
    points: Count = 64  # points drawn from each scene


@dataclass(frozen=True)
class Terms:
    offset: Weight = 1.0  # weight of the distance to the centre


@dataclass(frozen=True, kw_only=True)
class ToyConfig(Config):
    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {NAME: lambda data: {"model": {"name": NAME}, "terms": {"offset": 0.5}}}
    }
    model: ToyModel = field(default_factory=ToyModel)
    terms: Terms = field(default_factory=Terms)

    @property
    def candidates(self) -> int:
        return self.model.points


class ToyBatch(NamedTuple):
    """points: (B, N, 3) metres. owner: (B, N) int64, a ground truth of the scene or -1."""

    points: Tensor
    owner: Tensor


class ToyPredictions(NamedTuple):
    """boxes: (B, N, 7). logits: (B, N, C + 1), background last."""

    owner: Tensor
    boxes: Tensor
    logits: Tensor


class ToyPoints(Detector[ToyBatch, ToyPredictions]):
    """A box of its class's mean size for each drawn point."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.points, self.terms = config.model.points, config.terms
        self.sizes: Tensor
        sizes = torch.tensor(self.dataset.mean_sizes)
        self.register_buffer("sizes", sizes, persistent=False)
        self.encoder = nn.Sequential(nn.Linear(3, 8), nn.ReLU())
        self.head = nn.Linear(8, 3 + len(self.classes) + 1)

    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> ToyBatch:
        points, owners = [], []
        for i, scene in enumerate(scenes):
            assert scene.instance is not None or not self.training
            generator = generators[i] if generators else torch.Generator().manual_seed(0)
            rows = torch.randint(len(scene), (self.points,), generator=generator)
            points.append(scene.points.cpu()[rows])
            owners.append(
                torch.full_like(rows, -1) if scene.instance is None else scene.instance[rows]
            )
        return ToyBatch(*(on_device(torch.stack(x), self.device) for x in (points, owners)))

    def input_size(self, batch: ToyBatch) -> int:
        return batch.owner.numel()

    def forward(self, batch: ToyBatch) -> ToyPredictions:
        found = self.head(self.encoder(batch.points))
        size = self.sizes[found[..., 3:-1].argmax(dim=-1)]
        centre = batch.points + found[..., :3]
        boxes = torch.cat([centre, size, torch.zeros_like(size[..., :1])], dim=-1)
        return ToyPredictions(batch.owner, boxes, found[..., 3:])

    def loss(self, predictions: ToyPredictions, truth: GroundTruth, total: Total = alone) -> Losses:
        owner, boxes, logits = predictions
        counts = torch.bincount(truth.scenes, minlength=len(owner))
        row = owner + (counts.cumsum(0) - counts)[:, None]
        positive = owner >= 0
        labels = torch.full_like(owner, len(self.classes))
        labels[positive] = truth.labels[row[positive]]
        count = total(positive.sum()).clamp(min=1)
        offset = boxes[positive][:, :3] - truth.boxes[row[positive]][:, :3]
        terms = {
            "class": cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / count,
            "offset": self.terms.offset * offset.abs().sum() / count,
        }
        return Losses(terms, {"positives": positive.sum()})

    def detections(self, predictions: ToyPredictions) -> list[Detections]:
        scores, labels = predictions.logits.softmax(dim=-1)[..., :-1].max(dim=-1)
        return [Detections(*parts) for parts in zip(predictions.boxes, scores, labels, strict=True)]

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> dict[str, Tensor]:
        found = self(self.inputs([Scene.unlabelled(*split_points(points, colors))]))
        return {"boxes": found.boxes[0], "logits": found.logits[0]}


FAMILY = Family(
    title="Toy points", config=ToyConfig, build=ToyPoints, needs=("instance", "mean_sizes")
)
