"""GSDN's configuration.

Source: jgwak/GSDN (config.py, scripts/gibson.py, lib/transforms.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sr3d.config import Condition, Config, ModelConfig, Preset, Rule
from sr3d.detectors.common.sparse_config import VoxelInference
from sr3d.presets import DataFacts, Values, repeat, rooms_of
from sr3d.value_types import Count, Many, PositiveShare, Share, Weight

# The network of procedural rooms. Voxels keep their size, because anchors are multiples of it.
THIN: Mapping[str, Any] = {
    "stem_channels": 16,
    "planes": [24, 32, 48],
    "blocks": [1, 1, 1],
    "head_channels": 48,
    "anchors": 7,
}


@dataclass(frozen=True, kw_only=True)
class GSDNModel(ModelConfig):
    """The network: a ResNet34 on voxels, a generative decoder that prunes, a shared head."""

    name: Literal["gsdn"] = "gsdn"
    # edge of a voxel in metres
    voxel_size: Annotated[float, Interval(ge=0.001, le=10)] = 0.05
    stem_channels: Count = 64  # channels of the first convolution
    planes: tuple[Count, ...] = (64, 128, 256, 512)  # channels of the stages, which are the levels
    blocks: tuple[Count, ...] = (3, 4, 6, 3)  # residual blocks of the stages
    head_channels: Count = 128  # channels of the levels that the head gets
    # anchors of a cell: a cube, and cuboids with ratios of sizes up to 4 (7), also up to 2 (13)
    anchors: Literal[7, 13] = 13
    prune_thr: Share = 0.3  # a cell is kept if its probability to hold an object is higher
    # voxels along x, y and z, counted from the lowest. Boxes end there, see `test.clip`
    extent: tuple[Many, Many, Many] = (512, 512, 256)
    # metres, standard deviation of the height's shift in a training scene, and of a point's height
    height_noise: Annotated[float, Interval(ge=0, le=10)] = 0.01

    def size(self) -> str:
        return f"voxels of {self.voxel_size:g} m, widths {', '.join(map(str, self.planes))}"

    def rules(self) -> Iterator[Rule]:
        """What values must fulfil."""
        yield "model.planes", len(self.planes) in (2, 3, 4), "two to four numbers"
        same = len(self.blocks) == len(self.planes)
        yield "model.blocks", same, "as many numbers as model.planes"
        yield "model.extent", min(self.extent) >= 2, "numbers of at least 2"


@dataclass(frozen=True)
class GSDNAssignment:
    """The assigner: anchors by their IoU with boxes around the voxels of objects."""

    name: Literal["iou"] = "iou"  # its own
    positive_iou: Share = 0.35  # an anchor is positive from this IoU on
    negative_iou: Share = 0.2  # it is negative below this IoU. In between it is ignored
    # the voxels of an object: its instance's, or all inside its box
    object_points: Literal["instance", "box"] = "instance"


@dataclass(frozen=True)
class GSDNLoss:
    """Weights of the terms."""

    objectness: Weight = 1.0  # whether an anchor is an object
    box: Weight = 0.1  # offsets and sizes of positives, relative to their anchors
    label: Weight = 1.0  # class of positives
    sparsity: Weight = 1.0  # whether a cell holds an object


@dataclass(frozen=True)
class GSDNInference(VoxelInference):
    """Inference. The indices of the runs decide the seeds."""

    nms: Literal["bev", "3d"] = "3d"  # IoU for NMS: of boxes seen from above, or of volumes
    score_thr: Share = 0.3  # detections need a higher score
    iou_thr: PositiveShare = 0.35  # NMS joins the worse of two boxes with a higher IoU to the other
    nms_pre: Many = 6000  # maximum number of anchors that NMS gets
    per_class: Many = 100  # maximum number of detections of a class
    most: Many = 100  # maximum number of detections
    # whether a box becomes the mean, weighted by scores, of itself and the boxes joined to it
    average: bool = True
    clip: bool = True  # whether boxes end at the lowest voxel and at `model.extent`


def _published(data: DataFacts) -> Values:
    """On procedural rooms the thin network."""
    return _thin(data) if data.procedural else _network(data)


def _thin(data: DataFacts) -> Values:
    """Levels of 0.2, 0.4 and 0.8 m: no piece of furniture has the size of the anchors of 3.2 m."""
    return _network(data, **THIN)


def _network(data: DataFacts, **widths: Any) -> Values:
    """The network goes with an assigner, a loss and post-processing of its own.

    On procedural rooms the threshold of the score is as low as that of other detectors.
    """
    test = {
        "sample_count": 0,
        "nms": "3d",
        "iou_thr": 0.35,
        "score_thr": 0.05 if data.procedural else 0.3,
        "nms_pre": 6000,
    }
    return {"model": {"name": "gsdn", **widths}, "test": test}


def _schedule(data: DataFacts) -> Values:
    """SGD whose rate falls by 5 % every 1,000 steps: 120,000 steps on ScanNet's 1,201 scenes."""
    if data.procedural:
        return {"train": rooms_of(data)["train"]}
    train = {
        "epochs": 1600,
        "milestones": [],
        "repeat": repeat({"own": 1}, data),
        "batch_size": 16,
        "lr": 0.1,
        "warmup_iters": 0,
        "optimizer": "sgd",
        "dampening": 0.1,
        "schedule": "exponential",
        "clip_norm": 0.0,
    }
    return {"train": train}


def _augmentation(data: DataFacts) -> Values:
    """On procedural rooms, the rooms' own. Single views are not mirrored front to back.

    Without instances, ground truths come from the points in boxes. Boxes do not follow a tilt and a
    distortion, so there is none.
    """
    if data.procedural:
        return {"augment": rooms_of(data)["augment"]}
    bends = data.dataset not in ("sunrgbd", "own")
    whole = {
        "sample_fraction": [1.0, 1.0],
        "flip_x": 0.475,
        "flip_y": 0.0 if data.single_view else 0.475,
        "scale": [0.9, 1.1],
        "translation": 0.0,
        "tilt": 5.0 if bends else 0.0,
        "elastic": 0.95 if bends else 0.0,
        "colour_shift": 0.03,
        "colour_noise": 0.03,
    }
    return {"augment": whole}


@dataclass(frozen=True, kw_only=True)
class GSDNConfig(Config):
    """One setting of GSDN on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"gsdn": _published, "gsdn_small": _thin},
        "train": {"gsdn": _schedule},
        "augment": {"gsdn": _augmentation},
    }
    conditions: ClassVar[Mapping[str, Condition]] = {
        **Config.conditions,
        "model.extent": ("test.clip", (True,)),
    }

    model: GSDNModel = field(default_factory=GSDNModel)
    assigner: GSDNAssignment = field(default_factory=GSDNAssignment)
    loss: GSDNLoss = field(default_factory=GSDNLoss)
    test: GSDNInference = field(default_factory=GSDNInference)

    @property
    def candidates(self) -> int:
        return self.test.nms_pre

    @property
    def replaces_instances(self) -> bool:
        return self.assigner.object_points == "box"

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        yield from self.model.rules()
        limit = self.assigner.positive_iou
        rising = self.assigner.negative_iou <= limit
        yield "assigner.negative_iou", rising, f"at most assigner.positive_iou={limit}"
