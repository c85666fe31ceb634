"""The groups of keys that the configurations of all families have."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeVar

from annotated_types import Interval

from sr3d.value_types import (
    Count,
    Exponent,
    Factor,
    Level,
    Many,
    ManyOrNone,
    PositiveShare,
    Share,
    Weight,
)

F = TypeVar("F")
LATER = "later"  # metadata of a field: `Config.digest` leaves it out at its default


def later(default: F) -> F:
    """A field that was added after runs were recorded. default: what those runs did.

    At its default it does not change `Config.digest`, so those runs stay valid.
    """
    return field(default=default, metadata={LATER: True})


DatasetName = Literal["scannet", "sunrgbd", "s3dis", "synthetic", "synthetic_rotated", "own"]
DATASETS: tuple[str, ...] = typing.get_args(DatasetName)
Size = Annotated[float, Interval(gt=0, le=1000)]  # metres
EngineName = Literal["native", "torch", "triton", "minkowski"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What every family says of its network."""

    name: str  # the family of detectors. To change it, give a preset such as model=tr3d
    # what computes layers on cells or points. native: triton on a GPU, or torch
    engine: EngineName = "native"

    def size(self) -> str:
        """The network's size in words, for print."""
        return self.name


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of training scenes, in this order."""

    # share of points kept, uniform in this range
    sample_fraction: tuple[PositiveShare, PositiveShare] = (0.33, 1.0)
    sample_count: ManyOrNone = 0  # if positive: the number of points, instead of a share
    # whether a point may be drawn twice
    sample_replace: Literal["if_few", "always", "never"] = "if_few"
    flip_x: Share = 0.5  # probability that x is mirrored
    flip_y: Share = 0.5  # probability that y is mirrored
    # whether a box keeps its front when x is mirrored: π - yaw, not -yaw. The cuboid is the same
    keep_front: bool = later(False)
    rotation: Annotated[float, Interval(ge=0, le=180)] = 5.0  # degrees, uniform in ±
    scale: tuple[Factor, Factor] = (0.6, 1.4)  # factor, uniform in this range
    # metres, standard deviation per axis
    translation: Annotated[float, Interval(ge=0, le=100)] = 0.1
    # metres, uniform in ± per axis, before the scale
    shift: Annotated[float, Interval(ge=0, le=100)] = later(0.0)
    # edges of a random cuboid, in shares of the cloud's, uniform in this range. 1 and 1: no crop
    crop: tuple[PositiveShare, PositiveShare] = later((1.0, 1.0))
    crop_aspect: PositiveShare = later(0.8)  # minimum ratio of two of the three shares
    crop_points: Many = later(30_000)  # minimum number of points in the cuboid
    # crop before points are sampled, after that, or at the end
    crop_when: Literal["sampled", "moved", "whole"] = later("sampled")
    # probability that points are moved by smooth random fields. Boxes stay
    elastic: Share = later(0.0)
    # degrees, uniform in ±, about x and about y. Boxes stay
    tilt: Annotated[float, Interval(ge=0, le=180)] = later(0.0)
    colour_shift: Share = later(0.0)  # of all colours of a scene, uniform in ±, per channel
    colour_noise: Share = later(0.0)  # standard deviation of each point's colours


@dataclass(frozen=True)
class TrainConfig:
    """The training schedule."""

    epochs: Count = 13  # number of epochs
    # epochs after which the learning rate drops tenfold
    milestones: tuple[Count, ...] = (8, 11, 12)
    repeat: Many = 15  # how often an epoch goes through the scenes
    batch_size: Count = 16  # scenes a step
    lr: Annotated[float, Interval(gt=0, le=10)] = 1e-3  # of the optimiser, after the warm-up
    warmup_start_lr: Annotated[float, Interval(ge=0, le=10)] = 1e-5  # at the first step
    warmup_iters: ManyOrNone = 300  # steps of the warm-up, linear
    warmup_epochs: ManyOrNone = later(0)  # epochs of the warm-up, if positive, instead of steps
    weight_decay: Weight = 1e-4  # weight decay of the optimiser
    # norm of the gradient, at most. 0 does not clip
    clip_norm: Annotated[float, Interval(ge=0, le=1e6)] = 10.0
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"  # of the network's products. tf32: GPUs
    filter_empty_gt: bool = later(False)  # another takes the place of a scene without boxes
    keep_last: bool = later(False)  # train on the scenes of an epoch that make a short last batch
    optimizer: Literal["adamw", "adam", "sgd"] = later("adamw")  # optimiser
    momentum: Share = later(0.9)  # momentum of SGD
    dampening: Share = later(0.0)  # share of the gradient that the momentum of SGD leaves out
    # step: a tenth after each milestone. cosine, polynomial: from lr to min_lr. exponential: times
    # decay after every decay_steps
    schedule: Literal["step", "cosine", "polynomial", "exponential"] = later("step")
    schedule_by: Literal["epoch", "step"] = later("epoch")  # how often cosine and polynomial fall
    schedule_power: Exponent = later(0.9)  # of the polynomial schedule
    decay: PositiveShare = later(0.95)  # factor of the exponential schedule
    decay_steps: Many = later(1000)  # steps between its factors
    # at the end of cosine and polynomial
    min_lr: Annotated[float, Interval(ge=0, le=10)] = later(0.0)


@dataclass(frozen=True)
class InferenceConfig:
    """Inference, with its sources of randomness. The indices of the runs decide the seeds."""

    sample_count: ManyOrNone = 0  # points drawn from each scene. 0 keeps all
    nms: Literal["bev", "3d"] = "bev"  # IoU for NMS: of boxes seen from above, or of volumes
    score_thr: Share = 0.01  # detections need a higher score
    iou_thr: PositiveShare = 0.5  # NMS removes the worse of two boxes with a higher IoU


@dataclass(frozen=True)
class OwnData:
    """The facts of your own data set (`dataset=own`). `sr3d train` reads them from the prepared
    folder.
    """

    classes: tuple[str, ...] = ()  # class names, in the order of the labels
    # of each class, for assigners by level: 0 fine, 1 coarse. Empty: unknown
    levels: tuple[Level, ...] = ()
    rotated: bool = False  # boxes have a yaw
    # number of training scenes. If there are few, presets repeat them more often
    scenes: ManyOrNone = 0
