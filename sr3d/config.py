"""What a run does, as frozen dataclasses. Defaults are the paper's; see the README for its gaps.

`default_config("scannet").with_overrides(["assigner.k=7"])` is the whole mechanism: dotted names,
type-checked, with a did-you-mean. Runtime matters (device, threads, folders) are not configuration.

This module has what all detectors share. Each family of detectors subclasses `Config` in its own
folder and adds its network, losses and test-time values. `model.name` says which of them a
configuration is.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar, Self

import yaml

from sr3d.config_groups import (
    DATASETS,
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
from sr3d.validation import (
    Seed,
    Validated,
    did_you_mean,
    flatten,
    json_schema,
    parse_text,
    plain,
    validate,
)

Preset = Callable[[DataFacts], Values]
Rule = tuple[str, bool, str]  # a field, whether its value can be used, and what it must be


@dataclass(frozen=True, kw_only=True)
class Config(Validated):
    """One setting on one data set. A family of detectors subclasses it.

    presets: of this family by their group (`model`, `train`, `augment`) and name. earlier: fields
    that earlier versions also recorded for this family, without any effect, and their values.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "train": {"small": small_training},
        "augment": {"small": small_augmentation, "paper": paper_augmentation},
    }
    earlier: ClassVar[Mapping[str, Any]] = {}

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
        yield "own.classes", self.dataset == "own" or not classes, "empty unless dataset=own"
        yield "own.classes", len(set(classes)) == len(classes), "different names"
        yield "own.levels", len(levels) in (0, len(classes)), "as many numbers as own.classes"
        yield "augment.sample_fraction", fraction[0] <= fraction[1], "two rising numbers"
        yield "augment.scale", scale[0] <= scale[1], "two rising numbers"
        yield "train.milestones", all(a < b for a, b in pairwise(rising)), below
        yield "train.precision", ours, "fp32 where model.engine=minkowski"

    def with_overrides(self, overrides: Sequence[str]) -> Config:
        """A copy with `dotted.name=value` assignments applied, left to right.

        `model=NAME`, `train=NAME` and `augment=NAME` apply a preset (see `preset_names`). A preset
        sets its whole group, so it comes before single values of that group. `model=NAME` may give
        the configuration of another family.

        Raises:
            InputError: unknown name (with the nearest known one), a value of the wrong type or that
                no run can use, another data set, a preset that would replace a value or a preset
                given before it.
        """
        config = apply_overrides(self, overrides)
        check(config, before=self)
        return config

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

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, JSON-able."""
        return typing.cast(dict[str, Any], plain(dataclasses.asdict(self)))

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


def default_config(dataset: str, own: OwnData = OwnData()) -> Config:  # frozen
    """The paper's configuration for a data set; for procedural rooms, one that two cores can train.

    own: where the data set is `own`, what it is.

    Raises:
        InputError: unknown data set.
    """
    if dataset not in DATASETS:
        raise InputError(
            f"unknown data set '{dataset}'{did_you_mean(dataset, DATASETS)}",
            field="dataset",
            kind=Kind.UNKNOWN,
        )
    first = next(iter(_families().values()))
    facts = DataFacts(dataset, own.scenes, own.rotated)
    config = first.of_values({"dataset": dataset, **first.defaults(facts)})
    return dataclasses.replace(config, own=own)


def augment_preset(name: str, dataset: str) -> AugmentConfig:
    """What `augment=NAME` means on a data set."""
    return default_config(dataset).with_overrides([f"augment={name}"]).augment


def preset_names() -> dict[str, tuple[str, ...]]:
    """The names of all presets by their group."""
    return {group: tuple(known) for group, known in _presets().items()}


def preset_values(config: Config, group: str, name: str) -> Values:
    """What `group=name` sets on the data set of a configuration.

    Raises:
        InputError: unknown preset.
    """
    known = _presets()[group]
    if name not in known:
        raise InputError(
            f"unknown preset '{name}'{did_you_mean(name, [*known])}",
            field=group,
            kind=Kind.UNKNOWN,
        )
    _, preset = known[name]
    return preset(DataFacts(config.dataset, config.own.scenes, config.own.rotated))


def apply_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """`Config.with_overrides` without the rules for values together."""
    given: dict[str, str] = {}
    for override in overrides:
        name, text = split_override(override)
        if name == "dataset" and text.strip("\"'") != config.dataset:
            raise InputError(
                "a data set brings values of its own",
                field=override,
                kind=Kind.CONFLICT,
                remedy="Name the data set apart.",
            )
        if name in _presets():
            config = _with_preset(config, name, text, given)
        else:
            config = _assign(config, name, text)
        given[name] = override
    return config


def split_override(override: str) -> tuple[str, str]:
    """The name and the text of `name=value`.

    Raises:
        InputError: it has no "=".
    """
    name, equals, text = override.partition("=")
    if not equals:
        raise InputError(
            "no override", field=override, kind=Kind.VALUE, remedy="Write it as name=value."
        )
    return name.strip(), text.strip()


def config_from_dict(value: Mapping[str, Any]) -> Config:
    """The inverse of `Config.to_dict`, with the same checks as overrides, except of milestones.

    It also reads configurations of earlier versions. These ran trainings whose milestones lie
    beyond the last epoch, where they had no effect. They wrote fields of all families into each
    configuration, and no `model.name` before there was a second family.
    """
    if not isinstance(value, Mapping):
        raise InputError("expected a mapping", field="configuration", kind=Kind.VALUE)
    model = value.get("model", {})
    name = model.get("name") if isinstance(model, Mapping) else None
    families = _families()
    if name is not None and name not in families:
        raise InputError(
            f"'{name}'{did_you_mean(str(name), [*families])}",
            field="model.name",
            kind=Kind.UNKNOWN,
        )
    family = families[name or next(iter(families))]
    config = family.of_values(family.without_earlier(value))
    for key, remedy in problems(config).items():
        if key != "train.milestones":
            raise _problem(config, key, remedy)
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


def problems(config: Config) -> dict[str, str]:
    """The fields that no run can use: dotted name to what the value must be."""
    found: dict[str, str] = {}
    for name, holds, remedy in config.rules():
        if not holds:
            found.setdefault(name, remedy)
    return found


def config_schema() -> dict[str, Any]:
    """The JSON schema of a configuration of any family."""
    return json_schema(typing.Union[tuple(_families().values())])  # noqa: UP007


def _problem(config: Config, name: str, remedy: str) -> InputError:
    value = config.flat()[name]
    return InputError(f"must be {remedy}, got {value}", field=name, kind=Kind.VALUE)


@cache
def _families() -> dict[str, type[Config]]:
    """The configuration of each family. Families build on this module, so it asks for them late."""
    from sr3d.detectors import FAMILIES

    return {name: family.config for name, family in FAMILIES.items()}


@cache
def _presets() -> dict[str, dict[str, tuple[type[Config], Preset]]]:
    """Group and name to the family of a preset and its values."""
    found: dict[str, dict[str, tuple[type[Config], Preset]]] = {}
    families: tuple[type[Config], ...] = (*_families().values(), Config)
    for family in families:
        for group, presets in family.presets.items():
            for name, preset in presets.items():
                found.setdefault(group, {})[name] = (family, preset)
    return found


def _assign(config: Config, name: str, text: str) -> Config:
    """A copy with one field, by its dotted name, set to what the text says."""
    flat = config.flat()
    if name not in flat:
        raise _unknown(config, name, flat)
    if name == "model.name" and text in _families() and text != config.model.name:
        raise InputError(
            f"'{text}' is another family of detectors",
            field=name,
            kind=Kind.CONFLICT,
            remedy=f"Give the preset model={text}, which sets what belongs together.",
        )
    try:
        value = parse_text(text)
    except yaml.YAMLError:
        raise InputError(f"cannot read '{text}'", field=name, kind=Kind.VALUE) from None
    values = config.to_dict()
    *groups, key = name.split(".")
    group = values
    for part in groups:
        group = group[part]
    group[key] = value
    return config.of_values(values)


def _unknown(config: Config, name: str, known: Iterable[str]) -> InputError:
    if any(key.startswith(f"{name}.") for key in known):
        remedy = f"Set one of its fields, e.g. {name}.…=…"
        return InputError("is a group", field=name, kind=Kind.VALUE, remedy=remedy)
    others = [other for other, family in _families().items() if name in family.of_values({}).flat()]
    if others:
        return InputError(
            f"is no key of model.name={config.model.name}",
            field=name,
            kind=Kind.UNKNOWN,
            remedy=f"It belongs to {', '.join(others)}.",
        )
    problem = f"unknown key '{name}'{did_you_mean(name, [*known])}"
    return InputError(problem, field=name, kind=Kind.UNKNOWN)


def _with_preset(config: Config, group: str, name: str, given: Mapping[str, str]) -> Config:
    """given: the overrides that came before, by name."""
    changes = preset_values(config, group, name)
    if (earlier := given.get(group, f"{group}={name}")) != f"{group}={name}":
        raise InputError(
            f"contradicts {earlier}, given before it",
            field=f"{group}={name}",
            kind=Kind.CONFLICT,
            remedy="Keep one of them.",
        )
    family = _presets()[group][name][0] if group == "model" else type(config)
    # A preset sets all of its own group, defaults included. Another family has other keys.
    values = {**config.to_dict(), group: {}}
    for other, known in family.of_values({}).to_dict().items():
        if isinstance(known, dict):
            kept = {k: v for k, v in values.get(other, {}).items() if k in known}
            values[other] = kept | changes.get(other, {})
    after, before = family.of_values(values), config.flat()
    flat = after.flat()
    for key, value in before.items():
        if key in given and flat.get(key) != value:
            raise InputError(
                f"would replace {given[key]}, given before it",
                field=f"{group}={name}",
                kind=Kind.CONFLICT,
                remedy=f"Put {group}={name} first, then single values.",
            )
    return after


def _digested(node: Any) -> dict[str, Any]:
    values = {}
    for item in dataclasses.fields(node):
        value = getattr(node, item.name)
        if not (item.metadata.get(LATER) and value == item.default):
            values[item.name] = _digested(value) if dataclasses.is_dataclass(value) else value
    return values
