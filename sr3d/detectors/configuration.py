"""Configurations of all families: defaults, overrides, presets, and what files hold.

`with_overrides(default_config("scannet"), ["assigner.k=7"])` is the whole mechanism: dotted names,
type-checked, with a did-you-mean. `sr3d.config` has what all configurations share. Each family adds
its own in its folder. This module does not import torch.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from sr3d.config import Config, Preset, check, problem, problems
from sr3d.config_groups import DATASETS, OwnData
from sr3d.detectors import FAMILIES
from sr3d.errors import InputError, Kind
from sr3d.presets import DataFacts, Values
from sr3d.validation import did_you_mean, json_schema, nearest, parse_text

# The keys and groups whose values another family of detectors keeps.
_OF_ALL_FAMILIES = ("dataset", "own", "mean_sizes", "seed", "augment", "train")


def default_config(dataset: str, own: OwnData = OwnData()) -> Config:
    """The paper's configuration for a data set. For procedural rooms, one that two cores can train.

    own: the facts about the data set `own`.

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


def with_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """A copy with `dotted.name=value` assignments applied, left to right.

    `model=NAME`, `train=NAME` and `augment=NAME` apply a preset (see `preset_names`). A preset
    sets its whole group, so it comes before single values of that group. `model=NAME` may give
    the configuration of another family.

    Raises:
        InputError: unknown name (with the nearest known one), a value of the wrong type or that
            no run can use, another data set, a preset that would replace a value or a preset
            given before it.
    """
    changed = apply_overrides(config, overrides)
    check(changed, before=config)
    return changed


def apply_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """`with_overrides` without the rules for values together."""
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
            raise problem(config, key, remedy)
    return config


def config_schema() -> dict[str, Any]:
    """The JSON schema of a configuration of any family, chosen by `model.name`.

    So an editor shows only the mistakes of that family.
    """
    families = _families()
    schema = json_schema(typing.Union[tuple(families.values())])  # noqa: UP007
    first, references = next(iter(families)), schema.pop("anyOf")
    schema["allOf"] = [_model_name({"enum": [*families]}, required=False)]
    for name, reference in zip(families, references, strict=True):
        # A configuration without a name is of the first family.
        named = _model_name({"const": name}, required=name != first)
        schema["allOf"].append({"if": named, "then": reference})
    return schema


def _model_name(allowed: dict[str, Any], required: bool) -> dict[str, Any]:
    """The JSON schema of configurations whose `model.name` is allowed."""
    model: dict[str, Any] = {"properties": {"name": allowed}}
    whole: dict[str, Any] = {"properties": {"model": model}}
    if required:
        model["required"], whole["required"] = ["name"], ["model"]
    return whole


def preset_names() -> dict[str, tuple[str, ...]]:
    """The names of all presets by their group."""
    return {group: tuple(known) for group, known in _presets().items()}


def is_preset(override: str) -> bool:
    """Whether an override applies a preset, known or not, instead of setting one field."""
    return split_override(override)[0] in _presets()


def fields_set(config: Config, override: str) -> set[str]:
    """The fields that an override sets by name: one, or those that its preset lists."""
    name, text = split_override(override)
    if text not in _presets().get(name, {}):
        return {name}
    values = _preset_values(config, name, text)
    return {f"{group}.{key}" for group, fields in values.items() for key in fields}


def _families() -> dict[str, type[Config]]:
    """The configuration class of each family."""
    return {name: family.config for name, family in FAMILIES.items()}


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
    """A copy with one field, by its dotted name, set to the value of the text."""
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
    groups = dict.fromkeys(key.partition(".")[0] for key in known)  # some name presets
    close = nearest(name, [*groups, *known])
    problem = f"unknown key '{name}'" + (f". Did you mean '{close}'?" if close else "")
    listed = None if close else "`sr3d config` lists all keys."
    return InputError(problem, field=name, kind=Kind.UNKNOWN, remedy=listed)


def _with_preset(config: Config, group: str, name: str, given: Mapping[str, str]) -> Config:
    """given: the overrides that came before, by name."""
    changes = _preset_values(config, group, name)
    if (earlier := given.get(group, f"{group}={name}")) != f"{group}={name}":
        raise InputError(
            f"contradicts {earlier}, given before it",
            field=f"{group}={name}",
            kind=Kind.CONFLICT,
            remedy="Keep one of them.",
        )
    family = _presets()[group][name][0] if group == "model" else type(config)
    values = config.to_dict()
    if family is not type(config):
        start = family.of_values(family.defaults(_facts(config))).to_dict()
        values = {
            key: values[key] if key in _OF_ALL_FAMILIES else _with_given(value, key, values, given)
            for key, value in start.items()
        }
    values[group] = {}  # a preset sets all of its own group, defaults included
    for other, changed in changes.items():
        values[other] = values.get(other, {}) | changed
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


def _preset_values(config: Config, group: str, name: str) -> Values:
    """What `group=name` sets on the data set of a configuration."""
    known = _presets()[group]
    if name not in known:
        raise InputError(
            f"unknown preset '{name}'{did_you_mean(name, [*known])}",
            field=group,
            kind=Kind.UNKNOWN,
        )
    _, preset = known[name]
    return preset(_facts(config))


def _facts(config: Config) -> DataFacts:
    return DataFacts(config.dataset, config.own.scenes, config.own.rotated)


def _with_given(value: Any, key: str, before: Mapping[str, Any], given: Mapping[str, str]) -> Any:
    """A group of another family's defaults, with the values of it that were given before."""
    if not isinstance(value, dict):
        return value
    kept = {k: v for k, v in before.get(key, {}).items() if k in value and f"{key}.{k}" in given}
    return value | kept
