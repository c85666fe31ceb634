"""3DETR's configuration. Its defaults are 3DETR-m on ScanNet.

Source: scripts and default arguments of facebookresearch/3detr.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from sr3d.config import Condition, Config, ModelConfig, Preset, Rule
from sr3d.detectors.common.point_config import (
    POINT_CONDITIONS,
    WITH_YAW,
    Metres,
    ProposalInference,
)
from sr3d.presets import COSINE, DataFacts, Values, rooms_of
from sr3d.value_types import Count, Many, Share, Weight


@dataclass(frozen=True, kw_only=True)
class DETR3DModel(ModelConfig):
    """The network: points grouped once, a transformer encoder of points, a decoder of queries."""

    name: Literal["3detr"] = "3detr"
    # masked: points attend to their neighbours (3DETR-m); vanilla: to all points (3DETR)
    encoder: Literal["masked", "vanilla"] = "masked"
    num_points: Many = 40_000  # points drawn from each scene
    seeds: Count = 2048  # points that the pre-encoder keeps
    queries: Count = 256  # maximum number of boxes
    # metres: radius of the groups around points, in the pre-encoder and in the masked encoder
    radii: tuple[Metres, Metres] = (0.2, 0.4)
    samples: tuple[Count, Count] = (64, 32)  # maximum number of points of these groups
    heading_bins: Count = 12  # bins of headings, where boxes have a yaw
    channels: Count = 256  # channels of points and queries
    heads: Count = 4  # attention heads
    decoder_layers: Count = 8  # layers of the decoder
    encoder_hidden: Count = 128  # channels inside the encoder's feed-forward networks
    decoder_hidden: Count = 256  # channels inside the decoder's feed-forward networks
    encoder_dropout: Share = 0.3  # dropout of the encoder
    decoder_dropout: Share = 0.1  # dropout of the decoder
    head_dropout: Share = 0.3  # dropout of the heads
    # metres, one a layer: the masked encoder's points attend to points within this radius
    mask_radii: tuple[Metres, Metres, Metres] = (0.4, 0.8, 1.2)
    squared_radii: bool = True  # compare distances with the radii squared, as 3DETR does

    def size(self) -> str:
        return f"{self.num_points:,} points, {self.encoder} encoder, {self.queries} queries"


@dataclass(frozen=True)
class DETR3DAssignment:
    """The assigner: one query per ground truth, at the least total cost. The costs' weights."""

    name: Literal["hungarian"] = "hungarian"  # the least total cost
    cls_cost: Weight = 1.0  # weight of minus the probability of the true class
    objectness_cost: Weight = 0.0  # weight of minus the objectness
    center_cost: Weight = 0.0  # weight of the L1 distance of normalised centres
    giou_cost: Weight = 2.0  # weight of minus the generalised IoU


@dataclass(frozen=True)
class DETR3DLoss:
    """The weights of the losses. Each decoder layer has them all."""

    cls: Literal["cross_entropy"] = "cross_entropy"  # of classes
    cls_weight: Weight = 1.0  # weight of the classification loss
    background_weight: Share = 0.25  # weight of queries without a ground truth in it
    heading_cls_weight: Weight = 0.1  # weight of the heading's bin
    heading_reg_weight: Weight = 0.5  # weight of the heading's offset in its bin
    center_weight: Weight = 5.0  # weight of the distance of normalised centres
    size_weight: Weight = 1.0  # weight of the difference of normalised sizes
    giou_weight: Weight = 1.0  # weight of the generalised IoU loss
    # footprints of rotated boxes in generalised IoU. legacy: 3DETR's, which miss most overlaps
    rotated_giou: Literal["correct", "legacy"] = "legacy"


@dataclass(frozen=True)
class DETR3DInference(ProposalInference):
    """Inference. The indices of the runs decide the seeds."""

    keep_best: bool = True  # whether the best box stays if none has enough points


def _masked(data: DataFacts) -> Values:
    """3DETR-m."""
    return _values(data, "masked")


def _vanilla(data: DataFacts) -> Values:
    """3DETR."""
    return _values(data, "vanilla")


def _thin(data: DataFacts) -> Values:
    """3DETR-m at a size that two cores can train."""
    return _values(data, "masked", **_THIN)


def _values(data: DataFacts, encoder: str, **widths: Any) -> Values:
    """The network with its costs, losses and selection. On procedural rooms it is thin."""
    rotated = data.single_view or data.rotated
    dropout = 0.3 if encoder == "masked" and not rotated else 0.1
    model: dict[str, Any] = {"name": "3detr", "encoder": encoder, "encoder_dropout": dropout}
    assigner: dict[str, Any] = {"name": "hungarian"}
    loss: dict[str, Any] = {"cls": "cross_entropy"}
    if rotated:
        model |= {"num_points": 20_000, "queries": 128}
        assigner |= {"objectness_cost": 5.0, "center_cost": 5.0, "giou_cost": 3.0}
        cls_weight = 0.8 if encoder == "masked" else 1.0
        loss |= {"cls_weight": cls_weight, "background_weight": 0.1, "giou_weight": 0.0}
    if data.procedural:
        model |= _THIN
    test = {"sample_count": 0, "nms": "3d", "score_thr": 0.05, "iou_thr": 0.25, "min_points": 5}
    test |= {"keep_best": True}
    return {"model": model | widths, "assigner": assigner, "loss": loss, "test": test}


# As many queries as points of the masked encoder, so that each small object has one within reach.
_THIN: Mapping[str, Any] = {
    "num_points": 8192,
    "seeds": 512,
    "queries": 256,
    "radii": [0.3, 0.6],
    "samples": [16, 16],
    "channels": 64,
    "decoder_layers": 3,
    "encoder_hidden": 64,
    "decoder_hidden": 64,
    "encoder_dropout": 0.0,
    "decoder_dropout": 0.0,
    "head_dropout": 0.0,
}


def _schedule(data: DataFacts) -> Values:
    """1,080 epochs. The original has no SUN RGB-D frames without boxes."""
    if data.procedural:
        return {"train": dict(_ROOMS)}
    rotated = data.single_view or data.rotated
    train: dict[str, Any] = {
        **COSINE,
        "epochs": 1080,
        "repeat": 1,
        "batch_size": 8,
        "lr": 7e-4 if rotated else 5e-4,
        "warmup_epochs": 9,
        "weight_decay": 0.1,
        "clip_norm": 0.1,
        "filter_empty_gt": rotated,
        "keep_last": True,
    }
    return {"train": train}


# A schedule of the same form for two cores. Queries learn more slowly than anchors: with 2 rooms a
# step instead of 8, the same network stays at half the AP25.
_ROOMS: Mapping[str, Any] = {
    **COSINE,
    "epochs": 100,
    "repeat": 1,
    "batch_size": 8,
    "lr": 1e-3,
    "warmup_epochs": 1,
    "weight_decay": 0.01,
    "clip_norm": 1.0,
}


def _augmentation(data: DataFacts) -> Values:
    """Random cuboids, flips and rotations; on procedural rooms, the rooms' own.

    The original crops clouds of at most 50,000 points, and moves ScanNet's after that.
    """
    if data.procedural:
        return {"augment": rooms_of(data)["augment"] | {"keep_front": data.single_view}}
    augment: dict[str, Any] = {
        "sample_count": 50_000,
        "sample_replace": "never",
        "scale": [1.0, 1.0],
        "translation": 0.0,
        "crop": [0.5, 1.0],
    }
    if data.single_view or data.rotated:
        augment |= {"flip_y": 0.0, "rotation": 30.0, "scale": [0.85, 1.15], "keep_front": True}
        augment |= {"crop": [0.75, 1.0], "crop_aspect": 0.75, "crop_when": "moved"}
    return {"augment": augment}


@dataclass(frozen=True, kw_only=True)
class DETR3DConfig(Config):
    """One setting of 3DETR on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"3detr": _vanilla, "3detr_m": _masked, "3detr_small": _thin},
        "train": {"3detr": _schedule},
        "augment": {"3detr": _augmentation},
    }
    conditions: ClassVar[Mapping[str, Condition]] = {
        **POINT_CONDITIONS,
        **dict.fromkeys(
            ("model.mask_radii", "model.squared_radii"), ("model.encoder", ("masked",))
        ),
        "loss.rotated_giou": WITH_YAW,
    }

    model: DETR3DModel = field(default_factory=DETR3DModel)
    assigner: DETR3DAssignment = field(default_factory=DETR3DAssignment)
    loss: DETR3DLoss = field(default_factory=DETR3DLoss)
    test: DETR3DInference = field(default_factory=DETR3DInference)

    @property
    def candidates(self) -> int:
        return self.model.queries

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        model = self.model
        yield "model.engine", model.engine != "minkowski", "native, torch or triton"
        kept = model.seeds // 2 if model.encoder == "masked" else model.seeds
        divides = model.channels % 4 == 0 and model.channels % model.heads == 0
        yield "model.channels", divides, "a multiple of 4 and of model.heads"
        yield "model.seeds", model.seeds <= model.num_points, "at most model.num_points"
        yield "model.queries", model.queries <= kept, f"at most the encoder's {kept} points"
