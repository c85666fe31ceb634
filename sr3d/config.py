"""What a run does, as frozen dataclasses. Defaults are the paper's; see the README for its gaps.

`default_config("scannet").with_overrides(["assigner.k=7"])` is the whole mechanism: dotted names,
type-checked, with a did-you-mean. Runtime matters (device, threads, folders) are not configuration.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar

from sr3d.errors import InputError
from sr3d.fields import assign, did_you_mean, flatten, from_dict, plain, ranges
from sr3d.presets import PRESETS, dataset_values, preset
from sr3d.ranges import (
    Count,
    Exponent,
    Factor,
    Level,
    Many,
    ManyOrNone,
    PositiveShare,
    Range,
    Seed,
    Share,
    Weight,
)
from sr3d.runs.files import digest

F = TypeVar("F")
_LATER = "later"  # metadata of a field: `Config.digest` leaves it out at its default


def _later(default: F) -> F:
    """A field that was added after runs were recorded. default: what those runs did.

    At its default it does not change `Config.digest`, so those runs stay valid.
    """
    return field(default=default, metadata={_LATER: True})


DatasetName = Literal["scannet", "sunrgbd", "s3dis", "synthetic", "synthetic_rotated", "own"]
DATASETS: tuple[str, ...] = typing.get_args(DatasetName)
FamilyName = Literal["tr3d", "fcaf3d"]
FAMILIES: tuple[str, ...] = typing.get_args(FamilyName)
EngineName = Literal["native", "torch", "triton", "minkowski"]


@dataclass(frozen=True)
class ModelConfig:
    """The network. The defaults are TR3D's, which SR3D does not change: MinkResNet34, a generative
    neck, a shared head.
    """

    name: FamilyName = "tr3d"  # FCAF3D: by the preset model=fcaf3d
    engine: EngineName = "native"  # what computes sparse layers; native: triton on a GPU, or torch
    voxel_size: Annotated[float, Range(0.001, 10)] = 0.01  # edge of a voxel in metres
    stem_channels: Count = 64  # channels of the first convolution
    stem_stride: int = 2  # stride of the first convolution
    stem_norm: Literal["batch", "instance"] = "batch"  # norm after the first convolution
    stem_pool: bool = True  # 2³ max pooling after this norm
    planes: tuple[Count, ...] = (64, 128, 128, 128)  # channels of the stages. FCAF3D: of the levels
    blocks: tuple[Count, ...] = (3, 4, 6, 3)  # residual blocks of the stages
    neck_channels: Count = 128  # channels of the levels that the head gets
    pts_prune: Many = 100_000  # FCAF3D: maximum number of cells that each level keeps per scene


@dataclass(frozen=True)
class AssignerConfig:
    """The assigner decides which anchors are positive, and for which ground truth."""

    # SPOTA is SR3D's. The others: TR3D's, the two of Table 4, FCAF3D's.
    name: Literal["spota", "tr3d", "simota", "align_ota", "fcaf3d"] = "spota"
    k: Count = 6  # positives per ground truth, at most; simOTA, AlignOTA, FCAF3D have their own
    levels: Literal["all", "by_class"] = "all"  # candidates of SPOTA. `by_class` is TR3D's rule
    # Eq. 4: how fast the centre prior rises with the distance
    mu: Annotated[float, Range(0, 100, above=True)] = 1.0
    reg_cost: Literal["iou", "log_iou", "diou"] = "iou"  # C_reg of Eq. 5
    vertex_distance: bool = True  # whether Eq. 5 includes R_VD
    vertices: Literal["invariant", "literal"] = "invariant"  # Eq. 3 on rotated boxes
    cls_weight: Weight = 0.0  # λ of Eq. 2, inside the bracket of Eq. 5. SPOTA has none
    # the repository that TR3D's assigner follows
    tr3d_variant: Literal["mmdet3d", "samsung"] = "mmdet3d"
    fcaf3d_limit: Many = 27  # FCAF3D: minimum number of anchors in a box for a level to fit it
    fcaf3d_top: Count = 18  # FCAF3D: maximum number of positives per ground truth


@dataclass(frozen=True)
class LossConfig:
    """The classification loss (RAS of Eq. 7, or an alternative) and the box loss (DIoU)."""

    cls: Literal["ras", "focal", "qfl", "vfl"] = "ras"  # of classes; RAS is Eq. 7
    focal_alpha: Share = 0.25  # weight of positives; 1 - α of negatives
    # focusing exponent. A higher value reduces the weight of easy anchors
    focal_gamma: Exponent = 2.0
    tau: Annotated[float, Range(1e-6, 1000)] = 0.1  # Eq. 9: temperature of the soft ranks
    beta: Exponent = 1.0  # Eq. 6: exponent of the rank
    # reading of Eq. 6, see docs/readings.md
    rdl_form: Literal["rank", "position", "printed", "bracket"] = "rank"
    # set of positives in which ranks are computed
    rank_scope: Literal["ground_truth", "image"] = "ground_truth"
    qfl_beta: Exponent = 2.0  # QFL: exponent of |q - p|
    vfl_alpha: Weight = 0.75  # VFL: weight of negatives
    vfl_gamma: Exponent = 2.0  # VFL: exponent of their scores
    rotated_diou: Literal["correct", "legacy"] = "correct"  # legacy: x, y, w for x, y, z, as TR3D


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
    rotation: Annotated[float, Range(0, 180)] = 5.0  # degrees, uniform in ±
    scale: tuple[Factor, Factor] = (0.6, 1.4)  # factor, uniform in this range
    translation: Annotated[float, Range(0, 100)] = 0.1  # metres, standard deviation per axis


@dataclass(frozen=True)
class TrainConfig:
    """The training schedule."""

    epochs: Count = 13  # number of epochs
    # epochs after which the learning rate drops tenfold
    milestones: tuple[Count, ...] = (8, 11, 12)
    repeat: Many = 15  # how often an epoch goes through the scenes
    batch_size: Count = 16  # scenes a step
    lr: Annotated[float, Range(0, 10, above=True)] = 1e-3  # of the optimiser, after the warm-up
    warmup_start_lr: Annotated[float, Range(0, 10)] = 1e-5  # at the first step
    warmup_iters: ManyOrNone = 300  # steps of the warm-up, linear
    weight_decay: Weight = 1e-4  # weight decay of the optimiser
    clip_norm: Annotated[float, Range(0, 1e6, above=True)] = 10.0  # norm of the gradient, at most
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"  # of the network's products; tf32: GPUs
    filter_empty_gt: bool = _later(False)  # another takes the place of a scene without boxes
    optimizer: Literal["adamw", "adam", "sgd"] = _later("adamw")  # optimiser
    momentum: Share = _later(0.9)  # momentum of SGD
    # step: a tenth after each milestone; cosine, polynomial: from lr to min_lr
    schedule: Literal["step", "cosine", "polynomial"] = _later("step")
    schedule_by: Literal["epoch", "step"] = _later("epoch")  # how often cosine and polynomial fall
    schedule_power: Exponent = _later(0.9)  # of the polynomial schedule
    min_lr: Annotated[float, Range(0, 10)] = _later(0.0)  # at the end of cosine and polynomial


@dataclass(frozen=True)
class TestConfig:
    """Inference, with its sources of randomness. The indices of the runs decide the seeds."""

    __test__ = False  # no test class, whatever pytest thinks of the name

    sample_count: ManyOrNone = 0  # points drawn from each scene. 0 keeps all
    voxel_pick: Literal["first", "random"] = "random"  # which point represents a voxel
    nms: Literal["bev", "3d"] = "bev"  # IoU for NMS: of boxes seen from above, or of volumes
    nms_pre: Many = 1000  # maximum number of anchors per scene. FCAF3D: per level
    score_thr: Share = 0.01  # detections need a higher score
    iou_thr: PositiveShare = 0.5  # NMS removes the worse of two boxes with a higher IoU
    # Table 6: the true value that replaces scores
    oracle: Literal["none", "centerness", "iou"] = "none"
    # Table 6: the anchors whose scores are replaced
    foreground: Literal["assigned", "inside"] = "assigned"


@dataclass(frozen=True)
class OwnData:
    """The facts of your own data set (`dataset=own`). `sr3d train` reads them from the prepared
    folder.
    """

    classes: tuple[str, ...] = ()  # class names, in the order of the labels
    levels: tuple[Level, ...] = ()  # level of each class for TR3D's assigner. Empty: unknown
    rotated: bool = False  # boxes have a yaw
    # number of training scenes. If there are few, presets repeat them more often
    scenes: ManyOrNone = 0


@dataclass(frozen=True)
class Config:
    """One setting on one data set."""

    dataset: DatasetName = "scannet"  # decides the classes and the defaults
    own: OwnData = field(default_factory=OwnData)
    # mean full size (dx, dy, dz) of the boxes of each class in metres. `sr3d train` reads it from
    # the prepared folder if the detector needs it and none is published
    mean_sizes: tuple[tuple[float, float, float], ...] = _later(())
    seed: Seed = 0  # base seed. Runs derive their seeds from it and their indices
    model: ModelConfig = field(default_factory=ModelConfig)
    assigner: AssignerConfig = field(default_factory=AssignerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    test: TestConfig = field(default_factory=TestConfig)

    def with_overrides(self, overrides: Sequence[str]) -> Config:
        """A copy with `dotted.name=value` assignments applied, left to right.

        `model=NAME`, `train=NAME` and `augment=NAME` apply a preset (see `presets`). A preset sets
        its whole group, so it comes before single values of that group.

        Raises:
            InputError: unknown name (with the nearest known one), a value of the wrong type or that
                no run can use, another data set, a preset that would replace a value or a preset
                given before it.
        """
        config = apply_overrides(self, overrides)
        check(config, before=self)
        return config

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, JSON-able."""
        return typing.cast(dict[str, Any], plain(dataclasses.asdict(self)))

    def flat(self) -> dict[str, Any]:
        """Dotted names to plain values, in the order of definition."""
        return flatten(self.to_dict())

    def digest(self) -> str:
        """Short digest of the whole configuration, but for `_later` fields at their default."""
        return digest(plain(_digested(self)))


def default_config(dataset: str, own: OwnData = OwnData()) -> Config:  # frozen
    """The paper's configuration for a data set; for procedural rooms, one that two cores can train.

    own: where the data set is `own`, what it is.

    Raises:
        InputError: unknown data set.
    """
    if dataset not in DATASETS:
        raise InputError(f"unknown data set '{dataset}'{did_you_mean(dataset, DATASETS)}")
    values = dataset_values(dataset, own.scenes)
    config = from_dict(Config, {"dataset": dataset, **values})
    return dataclasses.replace(config, own=own)


def augment_preset(name: str, dataset: str) -> AugmentConfig:
    """What `augment=NAME` means on a data set (see `presets`)."""
    return default_config(dataset).with_overrides([f"augment={name}"]).augment


def apply_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """`Config.with_overrides` without the check of the result."""
    given: dict[str, str] = {}
    for override in overrides:
        name, text = split_override(override)
        if name == "dataset" and text.strip("\"'") != config.dataset:
            raise InputError(f"{override}: a data set brings values of its own; name it apart")
        if name in PRESETS:
            config = _with_preset(config, name, text, given)
        else:
            config = assign(config, name, text)
        given[name] = override
    return config


def split_override(override: str) -> tuple[str, str]:
    """The name and the text of `name=value`.

    Raises:
        InputError: it has no "=".
    """
    name, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"override '{override}': write it as name=value")
    return name.strip(), text.strip()


def config_from_dict(value: dict[str, Any]) -> Config:
    """The inverse of `Config.to_dict`, with the same checks as overrides, except of milestones.

    Earlier versions ran trainings whose milestones lie beyond the last epoch, where they had no
    effect.
    """
    config = from_dict(Config, value)
    for name, remedy in problems(config).items():
        if name != "train.milestones":
            raise _problem(config, name, remedy)
    return config


def check(config: Config, before: Config | None = None) -> None:
    """Refuse values that no run can use.

    before: a configuration that has been accepted. What it holds already is not refused.

    Raises:
        InputError: names the field and what it must be.
    """
    accepted = {} if before is None else problems(before)
    for name, remedy in problems(config).items():
        if accepted.get(name) != remedy:
            raise _problem(config, name, remedy)


def _problem(config: Config, name: str, remedy: str) -> InputError:
    return InputError(f"{name}={config.flat()[name]}: must be {remedy}")


def problems(config: Config) -> dict[str, str]:
    """The fields that no run can use: dotted name to what the value must be."""
    fcaf3d, milestones = config.model.name == "fcaf3d", config.train.milestones
    stages = len(config.model.planes)
    possible, count = ((2, 3, 4), "two to four numbers") if fcaf3d else ((4,), "four numbers")
    own = "where model.name=fcaf3d; model=fcaf3d sets what belongs together"
    ours, minkowski = config.model.engine != "minkowski", "where model.engine=minkowski"
    classes, levels = config.own.classes, config.own.levels
    by_class = config.assigner.name == "tr3d" or (
        config.assigner.name == "spota" and config.assigner.levels == "by_class"
    )
    told = "told where the assigner goes by them; `sr3d train` finds them in the prepared folder"
    rising = [0, *milestones, config.train.epochs]
    below = f"rising numbers below train.epochs={config.train.epochs}, such as []"
    rules = [
        *ranges(config),
        ("own.classes", config.dataset == "own" or not classes, "empty unless dataset=own"),
        ("own.classes", len(set(classes)) == len(classes), "different names"),
        ("own.levels", len(levels) in (0, len(classes)), "as many numbers as own.classes"),
        ("own.levels", bool(levels) or not (classes and by_class), told),
        ("mean_sizes", all(min(size) > 0 for size in config.mean_sizes), "positive sizes"),
        ("model.stem_stride", config.model.stem_stride in (1, 2), "1 or 2"),
        ("model.planes", stages in possible, count),
        ("model.blocks", len(config.model.blocks) == stages, "as many numbers as model.planes"),
        ("assigner.name", not fcaf3d or config.assigner.name == "fcaf3d", f"fcaf3d {own}"),
        ("loss.cls", not fcaf3d or config.loss.cls == "focal", f"focal {own}"),
        ("augment.sample_fraction", _rising(config.augment.sample_fraction), "two rising numbers"),
        ("augment.scale", _rising(config.augment.scale), "two rising numbers"),
        ("train.milestones", all(a < b for a, b in pairwise(rising)), below),
        ("train.precision", ours or config.train.precision != "bf16", f"fp32 {minkowski}"),
        ("test.oracle", not fcaf3d or config.test.oracle == "none", "none but on TR3D's network"),
    ]
    found: dict[str, str] = {}
    for name, holds, remedy in rules:
        if not holds:
            found.setdefault(name, remedy)
    return found


def _rising(pair: tuple[float, float]) -> bool:
    return pair[0] <= pair[1]


def _with_preset(config: Config, group: str, name: str, given: Mapping[str, str]) -> Config:
    """given: the overrides that came before, by name."""
    known = PRESETS[group]
    if name not in known:
        raise InputError(f"{group}: unknown preset '{name}'{did_you_mean(name, known)}")
    if (earlier := given.get(group, f"{group}={name}")) != f"{group}={name}":
        raise InputError(f"{group}={name}: contradicts {earlier}, given before it; keep one")
    values = config.to_dict()
    values[group] = {}  # a preset says all of its own group, defaults included
    own = config.own
    for other, fields in preset(group, name, config.dataset, own.scenes, own.rotated).items():
        values[other] |= fields
    after, before = from_dict(Config, values), config.flat()
    for field_, value in after.flat().items():
        if field_ in given and value != before[field_]:
            raise InputError(
                f"{group}={name}: would replace {given[field_]}, given before it; "
                f"put {group}={name} first, then what differs from it"
            )
    return after


def _digested(node: Any) -> dict[str, Any]:
    values = {}
    for item in dataclasses.fields(node):
        value = getattr(node, item.name)
        if not (item.metadata.get(_LATER) and value == item.default):
            values[item.name] = _digested(value) if dataclasses.is_dataclass(value) else value
    return values
