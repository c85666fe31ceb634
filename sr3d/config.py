"""What a run does, as frozen dataclasses. Defaults are the paper's. docs/readings.md has its gaps.

This module has what all detectors share. Each family of detectors subclasses `Config` in its own
folder and adds its network, losses and test-time values. `model.name` says which of them a
configuration is. `sr3d.detectors.configuration` makes configurations: from defaults, overrides,
presets and files. Runtime matters (device, threads, folders) are not configuration.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Self

from sr3d.config_groups import (
    LATER,
    AugmentConfig,
    DatasetName,
    InferenceConfig,
    ModelConfig,
    OwnData,
    Size,
    TrainConfig,
    later,
)
from sr3d.errors import InputError, Kind
from sr3d.presets import (
    DataFacts,
    Values,
    paper_augmentation,
    small_augmentation,
    small_training,
)
from sr3d.runs.files import digest
from sr3d.validation import flatten, plain, validate
from sr3d.value_types import Seed, Validated

Preset = Callable[[DataFacts], Values]
Rule = tuple[str, bool, str]  # a field, whether its value can be used, and what it must be


class AnyExcept(tuple[Any, ...]):
    """All values of a field but these."""

    __slots__ = ()


Condition = tuple[str, tuple[Any, ...]]  # a field, and some of its values


@dataclass(frozen=True, kw_only=True)
class Config(Validated):
    """One setting on one data set. A family of detectors subclasses it.

    presets: of this family by their group (`model`, `train`, `augment`) and name. earlier: fields
    that earlier versions also recorded for this family, without any effect, and their values.
    conditions: of fields that have no effect unless another field has one of these values. A
    family adds conditions for its own fields.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "train": {"small": small_training},
        "augment": {"small": small_augmentation, "paper": paper_augmentation},
    }
    earlier: ClassVar[Mapping[str, Any]] = {}
    conditions: ClassVar[Mapping[str, Condition]] = {
        "augment.sample_fraction": ("augment.sample_count", (0,)),
        "augment.sample_replace": ("augment.sample_count", AnyExcept((0,))),
        **dict.fromkeys(
            ("augment.crop_aspect", "augment.crop_points", "augment.crop_when"),
            ("augment.crop", AnyExcept(([1.0, 1.0],))),
        ),
        "train.milestones": ("train.schedule", ("step",)),
        "train.warmup_iters": ("train.warmup_epochs", (0,)),
        **dict.fromkeys(("train.momentum", "train.dampening"), ("train.optimizer", ("sgd",))),
        **dict.fromkeys(("train.decay", "train.decay_steps"), ("train.schedule", ("exponential",))),
        "train.schedule_by": ("train.schedule", ("cosine", "polynomial")),
        "train.schedule_power": ("train.schedule", ("polynomial",)),
        "train.min_lr": ("train.schedule", ("cosine", "polynomial")),
    }

    dataset: DatasetName = "scannet"  # decides the classes and the defaults
    own: OwnData = field(default_factory=OwnData)
    # mean full size (dx, dy, dz) of the boxes of each class in metres. `sr3d train` reads it from
    # the prepared folder if the detector needs it and none is published
    mean_sizes: tuple[tuple[Size, Size, Size], ...] = later(())
    seed: Seed = 0  # base seed. Runs derive their seeds from it and their indices
    model: ModelConfig
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    test: InferenceConfig = field(default_factory=InferenceConfig)

    @classmethod
    def defaults(cls, data: DataFacts) -> Values:
        """What a data set changes in this family's defaults."""
        return {}

    def rules(self) -> Iterator[Rule]:
        """What values must fulfil together. A family adds rules of its own."""
        classes, levels, train = self.own.classes, self.own.levels, self.train
        rising = [0, *train.milestones, train.epochs]
        below = f"rising numbers below train.epochs={train.epochs}, such as []"
        ours = self.model.engine != "minkowski" or train.precision != "bf16"
        fraction, scale = self.augment.sample_fraction, self.augment.scale
        crop = self.augment.crop
        yield "own.classes", self.dataset == "own" or not classes, "empty unless dataset=own"
        yield "own.classes", len(set(classes)) == len(classes), "different names"
        yield "own.levels", len(levels) in (0, len(classes)), "as many numbers as own.classes"
        yield "augment.sample_fraction", fraction[0] <= fraction[1], "two rising numbers"
        yield "augment.scale", scale[0] <= scale[1], "two rising numbers"
        yield "augment.crop", crop[0] <= crop[1], "two rising numbers"
        yield "train.milestones", all(a < b for a, b in pairwise(rising)), below
        yield "train.precision", ours, "fp32 where model.engine=minkowski"

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> Self:
        """The configuration of nested plain values. What is left out has its default.

        Raises:
            InputError: unknown name (with the nearest known one), or a value of the wrong type or
                outside its range.
        """
        return validate(cls, values)

    @classmethod
    def without_earlier(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Nested plain values of any version without the `earlier` fields."""
        kept = dict(values)
        for name in cls.earlier:
            group, key = name.split(".")
            if isinstance(kept.get(group), Mapping):
                kept[group] = {k: v for k, v in kept[group].items() if k != key}
        return kept

    def without_effect(self, names: Iterable[str]) -> dict[str, str]:
        """Those of some fields, by dotted name, that have no effect here, and why: `FIELD=VALUE`
        of another field.
        """
        values = self.flat()
        return {
            name: f"{other}={values[other]}"
            for name, (other, listed) in self.conditions.items()
            if name in names and (values[other] in listed) == isinstance(listed, AnyExcept)
        }

    @property
    def candidates(self) -> int:
        """The number of boxes of a scene that post-processing gets at most."""
        raise NotImplementedError(type(self).__name__)

    @property
    def replaces_instances(self) -> bool:
        """Whether points inside boxes stand for instances, though the family needs instances."""
        return False

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, JSON-able."""
        return typing.cast(dict[str, Any], plain(self))

    def flat(self) -> dict[str, Any]:
        """Dotted names to plain values, in the order of definition."""
        return flatten(self.to_dict())

    def digest(self) -> str:
        """Short digest of the whole configuration, equal to that of earlier versions.

        Hence it leaves out `later` fields at their default, and counts the `earlier` ones.
        """
        values = _digested(self)
        for name, value in self.earlier.items():
            group, key = name.split(".")
            values[group].setdefault(key, value)
        return digest(plain(values))


def check(config: Config, before: Config | None = None) -> None:
    """Refuse values that no run can use.

    before: a configuration that has been accepted. What it holds already is not refused.

    Raises:
        InputError: names the field and what it must be.
    """
    accepted = {} if before is None else problems(before)
    for name, remedy in problems(config).items():
        if accepted.get(name) != remedy:
            raise problem(config, name, remedy)


def problems(config: Config) -> dict[str, str]:
    """The fields that no run can use: dotted name to what the value must be."""
    found: dict[str, str] = {}
    for name, holds, remedy in config.rules():
        if not holds:
            found.setdefault(name, remedy)
    return found


def problem(config: Config, name: str, remedy: str) -> InputError:
    """The error of a field that no run can use, from `problems`."""
    value = config.flat()[name]
    return InputError(f"must be {remedy}, got {value}", field=name, kind=Kind.VALUE)


def _digested(node: Any) -> dict[str, Any]:
    values = {}
    for item in dataclasses.fields(node):
        value = getattr(node, item.name)
        if not (item.metadata.get(LATER) and value == item.default):
            values[item.name] = _digested(value) if dataclasses.is_dataclass(value) else value
    return values
