"""What a run does, as frozen dataclasses. Defaults are the paper's; see the README for its gaps.

`default_config("scannet").with_overrides(["assigner.k=7"])` is the whole mechanism: dotted names,
type-checked, with a did-you-mean. Runtime matters (device, threads, folders) are not configuration.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import yaml

from sr3d.errors import InputError
from sr3d.files import digest
from sr3d.presets import PRESETS, dataset_values, preset

DatasetName = Literal["scannet", "sunrgbd", "s3dis", "synthetic", "synthetic_rotated", "own"]
DATASETS: tuple[str, ...] = typing.get_args(DatasetName)
EngineName = Literal["native", "torch", "triton", "minkowski"]


@dataclass(frozen=True)
class ModelConfig:
    """A network. The defaults are TR3D's (SR3D changes nothing in it): MinkResNet34, a generative
    neck, a shared head.
    """

    name: Literal["tr3d", "fcaf3d"] = "tr3d"  # FCAF3D: by the preset model=fcaf3d
    engine: EngineName = "native"  # what computes sparse layers; native: triton on a GPU, or torch
    voxel_size: float = 0.01  # metres
    stem_channels: int = 64  # of the first convolution
    stem_stride: int = 2  # stride of the first convolution
    stem_norm: Literal["batch", "instance"] = "batch"  # norm after it
    stem_pool: bool = True  # 2³ max pooling after it
    planes: tuple[int, ...] = (64, 128, 128, 128)  # channels of the stages; FCAF3D's are its levels
    blocks: tuple[int, ...] = (3, 4, 6, 3)  # residual blocks of the stages
    neck_channels: int = 128  # of the levels that the head sees
    pts_prune: int = 100_000  # FCAF3D: cells of a scene that each level keeps, at most


@dataclass(frozen=True)
class AssignerConfig:
    """Which anchors are positive, and for which ground truth."""

    # SPOTA is SR3D's. The others: TR3D's, the two of Table 4, FCAF3D's.
    name: Literal["spota", "tr3d", "simota", "align_ota", "fcaf3d"] = "spota"
    k: int = 6  # positives per ground truth, at most; simOTA, AlignOTA, FCAF3D have their own
    levels: Literal["all", "by_class"] = "all"  # SPOTA's candidates; "by_class" is TR3D's rule
    mu: float = 1.0  # Eq. 4: how fast the centre prior rises with the distance
    reg_cost: Literal["iou", "log_iou", "diou"] = "iou"  # C_reg of Eq. 5
    vertex_distance: bool = True  # whether Eq. 5 has R_VD
    vertices: Literal["invariant", "literal"] = "invariant"  # Eq. 3 on rotated boxes
    cls_weight: float = 0.0  # λ of Eq. 2 within Eq. 5's bracket; SPOTA has none
    tr3d_variant: Literal["mmdet3d", "samsung"] = "mmdet3d"  # whose code TR3D's follows
    fcaf3d_limit: int = 27  # anchors in a box that make a level fit for it
    fcaf3d_top: int = 18  # positives per ground truth, at most


@dataclass(frozen=True)
class LossConfig:
    """Classification loss (RAS = Eq. 7, or one of its rivals) and box loss (DIoU)."""

    cls: Literal["ras", "focal", "qfl", "vfl"] = "ras"  # of classes; RAS is Eq. 7
    focal_alpha: float = 0.25  # weight of positives; 1 - α of negatives
    focal_gamma: float = 2.0  # the higher, the less easy anchors count
    tau: float = 0.1  # Eq. 9: temperature of the soft ranks
    beta: float = 1.0  # Eq. 6: exponent of the rank
    rdl_form: Literal["rank", "position", "printed", "bracket"] = "rank"  # Eq. 6: losses/ras.py
    rank_scope: Literal["ground_truth", "image"] = "ground_truth"  # ranks among whose
    qfl_beta: float = 2.0  # QFL: exponent of |q - p|
    vfl_alpha: float = 0.75  # VFL: weight of negatives
    vfl_gamma: float = 2.0  # VFL: exponent of their scores
    rotated_diou: Literal["correct", "legacy"] = "correct"  # legacy: x, y, w for x, y, z, as TR3D


@dataclass(frozen=True)
class AugmentConfig:
    """What training does to a scene, in this order."""

    sample_fraction: tuple[float, float] = (0.33, 1.0)  # share of points kept, uniform in between
    sample_count: int = 0  # if positive: so many points instead
    sample_replace: Literal["if_few", "always", "never"] = "if_few"  # draw a point twice
    flip_x: float = 0.5  # probability that x is mirrored
    flip_y: float = 0.5  # the same of y
    rotation: float = 5.0  # degrees, uniform in ±
    scale: tuple[float, float] = (0.6, 1.4)  # factor, uniform in between
    translation: float = 0.1  # metres, standard deviation per axis


@dataclass(frozen=True)
class TrainConfig:
    """The schedule. `repeat` is how often an epoch goes through the training scenes."""

    epochs: int = 13  # each goes through the scenes `repeat` times
    milestones: tuple[int, ...] = (8, 11, 12)  # epochs after which the rate drops tenfold
    repeat: int = 15  # how often an epoch goes through the scenes
    batch_size: int = 16  # scenes a step
    lr: float = 1e-3  # of AdamW, after the warm-up
    warmup_start_lr: float = 1e-5  # at the first step
    warmup_iters: int = 300  # steps of the warm-up, linear
    weight_decay: float = 1e-4  # of AdamW
    clip_norm: float = 10.0  # norm of the gradient, at most
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"  # of the network's products; tf32: GPUs


@dataclass(frozen=True)
class TestConfig:
    """Inference and its explicit sources of randomness (seeded by training and test index)."""

    __test__ = False  # no test class, whatever pytest thinks of the name

    sample_count: int = 0  # points drawn from each scene; 0 keeps all
    voxel_pick: Literal["first", "random"] = "random"  # which point represents a voxel
    nms: Literal["bev", "3d"] = "bev"  # overlap seen from above, or of volumes
    nms_pre: int = 1000  # anchors looked at, of each scene; FCAF3D: of each level of each scene
    score_thr: float = 0.01  # detections score more
    iou_thr: float = 0.5  # NMS: of two boxes that overlap more, the worse goes
    oracle: Literal["none", "centerness", "iou"] = "none"  # Table 6: what replaces scores
    foreground: Literal["assigned", "inside"] = "assigned"  # the anchors whose scores it replaces


@dataclass(frozen=True)
class OwnData:
    """What `dataset=own` is, as other data sets are known by name. `sr3d train` reads it from the
    prepared folder.
    """

    classes: tuple[str, ...] = ()  # names, in the order of the labels
    levels: tuple[int, ...] = ()  # of each class, see `data.datasets.Dataset`; empty: unknown
    rotated: bool = False  # boxes have a yaw
    scenes: int = 0  # to train on; with few, presets go through them more often an epoch


@dataclass(frozen=True)
class Config:
    """One setting on one data set."""

    dataset: DatasetName = "scannet"  # its classes, and whose defaults these are
    own: OwnData = field(default_factory=OwnData)
    seed: int = 0  # base seed; runs derive theirs from it and their indices
    model: ModelConfig = field(default_factory=ModelConfig)
    assigner: AssignerConfig = field(default_factory=AssignerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    test: TestConfig = field(default_factory=TestConfig)

    def with_overrides(self, overrides: Sequence[str]) -> Config:
        """A copy with `dotted.name=value` assignments applied, left to right.

        `model=NAME`, `train=NAME` and `augment=NAME` apply a preset (see `presets`).

        Raises:
            InputError: unknown name (with the nearest known one), a value of the wrong type, or
                another data set.
        """
        config = self
        for override in overrides:
            name, equals, text = override.partition("=")
            if not equals:
                raise InputError(f"override '{override}': write it as name=value")
            if name.strip() == "dataset" and text.strip(" \"'") != config.dataset:
                raise InputError(f"{override}: a data set brings values of its own; name it apart")
            if name.strip() in PRESETS:
                config = _with_preset(config, name.strip(), text.strip())
            else:
                config = _assign(config, name.strip().split("."), text, name)
        check(config)
        return config

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, JSON-able."""
        return typing.cast(dict[str, Any], _plain(dataclasses.asdict(self)))

    def flat(self) -> dict[str, Any]:
        """Dotted names to plain values, in the order of definition."""
        return flatten(self.to_dict())

    def digest(self) -> str:
        """Short digest of the whole configuration."""
        return digest(self.to_dict())


def default_config(dataset: str, own: OwnData = OwnData()) -> Config:  # frozen
    """The paper's configuration for a data set; for procedural rooms, one that two cores can train.

    own: where the data set is `own`, what it is.

    Raises:
        InputError: unknown data set.
    """
    if dataset not in DATASETS:
        raise InputError(f"unknown data set '{dataset}'{did_you_mean(dataset, DATASETS)}")
    values = dataset_values(dataset, own.scenes)
    config = _from_dict(Config, {"dataset": dataset, **values}, "")
    return dataclasses.replace(config, own=own)


def augment_preset(name: str, dataset: str) -> AugmentConfig:
    """What `augment=NAME` means on a data set (see `presets`)."""
    return default_config(dataset).with_overrides([f"augment={name}"]).augment


def config_from_dict(value: dict[str, Any]) -> Config:
    """The inverse of `Config.to_dict`, with the same checks as overrides."""
    config = _from_dict(Config, value, "")
    check(config)
    return config


def check(config: Config) -> None:
    """Refuse values that no run can use.

    Raises:
        InputError: names the field and what it must be.
    """
    fcaf3d = config.model.name == "fcaf3d"
    stages = len(config.model.planes)
    possible, count = ((2, 3, 4), "two to four numbers") if fcaf3d else ((4,), "four numbers")
    own = "where model.name=fcaf3d; model=fcaf3d sets what belongs together"
    ours, minkowski = config.model.engine != "minkowski", "where model.engine=minkowski"
    classes, levels = config.own.classes, config.own.levels
    by_class = config.assigner.name == "tr3d" or (
        config.assigner.name == "spota" and config.assigner.levels == "by_class"
    )
    told = "told where the assigner goes by them; `sr3d train` finds them in the prepared folder"
    rules = [
        ("own.classes", config.dataset == "own" or not classes, "empty unless dataset=own"),
        ("own.classes", len(set(classes)) == len(classes), "different names"),
        ("own.levels", len(levels) in (0, len(classes)), "as many numbers as own.classes"),
        ("own.levels", bool(levels) or not (classes and by_class), told),
        ("own.levels", {*levels} <= {0, 1}, "0 (fine) or 1 (coarse) each"),
        ("own.scenes", config.own.scenes >= 0, "zero or more"),
        ("model.voxel_size", config.model.voxel_size > 0, "positive"),
        ("model.stem_stride", config.model.stem_stride in (1, 2), "1 or 2"),
        ("model.planes", stages in possible, count),
        ("model.blocks", len(config.model.blocks) == stages, "as many numbers as model.planes"),
        ("model.pts_prune", config.model.pts_prune >= 1, "at least 1"),
        ("assigner.name", not fcaf3d or config.assigner.name == "fcaf3d", f"fcaf3d {own}"),
        ("assigner.k", config.assigner.k >= 1, "at least 1"),
        ("assigner.mu", config.assigner.mu > 0, "positive"),
        ("assigner.cls_weight", config.assigner.cls_weight >= 0, "zero or more"),
        ("assigner.fcaf3d_limit", config.assigner.fcaf3d_limit >= 1, "at least 1"),
        ("assigner.fcaf3d_top", config.assigner.fcaf3d_top >= 1, "at least 1"),
        ("loss.cls", not fcaf3d or config.loss.cls == "focal", f"focal {own}"),
        ("loss.tau", config.loss.tau > 0, "positive"),
        ("loss.beta", config.loss.beta >= 0, "zero or more"),
        ("augment.flip_x", 0 <= config.augment.flip_x <= 1, "in [0, 1]"),
        ("augment.flip_y", 0 <= config.augment.flip_y <= 1, "in [0, 1]"),
        ("augment.sample_count", config.augment.sample_count >= 0, "zero or more"),
        ("augment.sample_fraction", _increasing(config.augment.sample_fraction, 1), "in (0, 1]"),
        ("augment.scale", _increasing(config.augment.scale), "two positive numbers, rising"),
        ("train.epochs", config.train.epochs >= 1, "at least 1"),
        ("train.repeat", config.train.repeat >= 1, "at least 1"),
        ("train.batch_size", config.train.batch_size >= 1, "at least 1"),
        ("train.lr", config.train.lr > 0, "positive"),
        ("train.weight_decay", config.train.weight_decay >= 0, "zero or more"),
        ("train.warmup_iters", config.train.warmup_iters >= 0, "zero or more"),
        ("train.clip_norm", config.train.clip_norm > 0, "positive"),
        ("train.precision", ours or config.train.precision != "bf16", f"fp32 {minkowski}"),
        ("test.nms_pre", config.test.nms_pre >= 1, "at least 1"),
        ("test.iou_thr", 0 < config.test.iou_thr <= 1, "in (0, 1]"),
        ("test.oracle", not fcaf3d or config.test.oracle == "none", "none but on TR3D's network"),
    ]
    for name, holds, remedy in rules:
        if not holds:
            raise InputError(f"{name}={config.flat()[name]}: must be {remedy}")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The tail of an error message: the nearest known name, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; choose one of {', '.join(known)}"


def _increasing(pair: tuple[float, float], top: float = float("inf")) -> bool:
    return 0 < pair[0] <= pair[1] <= top


C = TypeVar("C")


def _with_preset(config: Config, group: str, name: str) -> Config:
    known = PRESETS[group]
    if name not in known:
        raise InputError(f"{group}: unknown preset '{name}'{did_you_mean(name, known)}")
    values = config.to_dict()
    values[group] = {}  # a preset says all of its own group, defaults included
    own = config.own
    for other, fields in preset(group, name, config.dataset, own.scenes, own.rotated).items():
        values[other] |= fields
    return _from_dict(Config, values, "")


def _assign(node: C, path: list[str], text: str, whole: str) -> C:
    hints = typing.get_type_hints(type(node))
    if path[0] not in hints:
        raise InputError(f"unknown setting '{whole}'{did_you_mean(whole, list(Config().flat()))}")
    hint = hints[path[0]]
    if dataclasses.is_dataclass(hint):
        if len(path) == 1:
            raise InputError(f"'{whole}' is a group; set one of its fields, e.g. {whole}.…=…")
        value = _assign(getattr(node, path[0]), path[1:], text, whole)
    elif len(path) > 1:
        raise InputError(f"unknown setting '{whole}'{did_you_mean(whole, list(Config().flat()))}")
    else:
        try:
            value = _coerce(yaml.safe_load(text), hint, whole)
        except yaml.YAMLError:
            raise InputError(f"{whole}: cannot read the value '{text}'") from None
    return dataclasses.replace(typing.cast(Any, node), **{path[0]: value})


def _coerce(value: Any, hint: Any, name: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in args:
            raise InputError(f"{name}: '{value}'{did_you_mean(str(value), args)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{name}: expected a list such as [1, 2], got '{value}'")
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise InputError(f"{name}: expected {len(args)} numbers, got {len(value)}")
        return tuple(_coerce(item, args[0], name) for item in value)
    if hint is float and isinstance(value, str):
        # YAML 1.1 wants a dot in 1e-3; people do not.
        try:
            value = float(value)
        except ValueError:
            raise InputError(f"{name}: expected a number, got '{value}'") from None
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise InputError(f"{name}: expected a finite number, got '{value}'")
        return float(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    kind = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    raise InputError(f"{name}: expected {kind.get(hint, hint)}, got '{value}'")


def _from_dict(cls: type[C], value: dict[str, Any], prefix: str) -> C:
    hints = typing.get_type_hints(cls)
    for name in value:
        if name not in hints:
            raise InputError(f"unknown setting '{prefix}{name}'{did_you_mean(name, list(hints))}")
    fields = {
        name: _from_dict(hints[name], item, f"{prefix}{name}.")
        if dataclasses.is_dataclass(hints[name])
        else _coerce(item, hints[name], prefix + name)
        for name, item in value.items()
    }
    return cls(**fields)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names, in the same order."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= flatten(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = item
    return flat
