"""The setting and the configuration of a run, from a setting's name, overrides, or both.

`configure` takes the name of a setting. `infer_setting` takes overrides alone and finds the name.
Both let `sr3d.detectors.configuration` apply the overrides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sr3d.config import Config
from sr3d.detectors.configuration import (
    apply_overrides,
    fields_set,
    is_preset,
    split_override,
    with_overrides,
)
from sr3d.errors import InputError, Kind
from sr3d.settings import CUSTOM, OTHER_METHOD, Setting, find_setting

# A setting names a method: a detector, its assigner and loss, or an oracle. No override beside the
# setting's own may change these fields.
_METHOD = ("model.name", "assigner.", "loss.", "test.oracle", "test.foreground")
_REMEDY = f"Omit the override, or name another setting. {OTHER_METHOD}"


@dataclass(frozen=True)
class Configured:
    """A setting's name, its configuration, and all overrides that made it, the setting's last."""

    name: str
    config: Config
    overrides: tuple[str, ...]


def configure(
    settings: Mapping[str, Setting],
    name: str,
    start: Config,
    given: Sequence[str] = (),
    evaluation: bool = False,
) -> Configured:
    """What a setting is under other overrides, such as a shorter schedule.

    start: the data set's configuration. For an evaluation, that of the finished training run, which
    has the overrides of its own setting. given: overrides beside the setting's, which it may
    repeat.

    Presets come first and single values after them. Of equal kinds the setting's come last.

    Raises:
        InputError: an unknown setting, or one that is not for the data set; an override that
            changes the method or contradicts the setting; an override that cannot be applied.
    """
    setting = find_setting(settings, name)
    if start.dataset not in setting.datasets:
        raise InputError(
            f"is defined for {', '.join(setting.datasets)}, not for {start.dataset}",
            field=f"setting {name}",
            kind=Kind.CONFLICT,
            remedy="Name another setting.",
        )
    own = _own_overrides(settings, setting, evaluation)
    beside = [override for override in given if override not in own]
    plain = apply_overrides(start, own)  # the setting without other overrides
    # As given, so that an override that is wrong by itself is refused first.
    stated = apply_overrides(plain, beside)
    _check_presets(name, own, beside)
    config = with_overrides(start, sorted([*beside, *own], key=lambda one: not is_preset(one)))
    fixed, values, asked = _fixed(start, own, plain), config.flat(), stated.flat()
    single = {split_override(override)[0] for override in beside}
    for key, value in values.items():
        if fixed.get(key, value) != value or (key in single and asked.get(key) != value):
            culprits = [override for override in beside if key in fields_set(start, override)]
            raise InputError(
                f"makes {key}={asked[key]}, and the setting {name} has {key}="
                f"{fixed.get(key, value)}",
                field=", ".join(culprits),
                kind=Kind.CONFLICT,
                remedy=_REMEDY,
            )
    return Configured(name, config, (*beside, *own))


def infer_setting(
    settings: Mapping[str, Setting],
    start: Config,
    given: Sequence[str],
    trained: str | None = None,
    labels: str = "",
) -> Configured:
    """The setting that the overrides of a run make, if the run names none.

    Of several it is the one with the most overrides of its own. A run that is none is `custom`. So
    is an evaluation with other values than its training has, unless a setting names them.

    trained: the setting of the training run that is evaluated, whose configuration is `start`; None
    for a training run. labels: the version of the ground truth.

    Raises:
        InputError: an override that cannot be applied.
    """
    config = with_overrides(start, given)
    fitting = [
        setting
        for setting in settings.values()
        if setting.tests_of == trained
        and start.dataset in setting.datasets
        and setting.labels.get(start.dataset, labels) == labels
        and _makes(setting, config)
    ]
    fitting.sort(key=lambda setting: (-len(setting.overrides), not setting.labels))
    for setting in fitting:
        try:
            found = configure(settings, setting.name, start, given, trained is not None)
        except InputError:
            continue
        if found.config == config:
            return Configured(setting.name, config, tuple(given))
    if trained and _but_engine(config) == _but_engine(start):
        return Configured(trained, config, tuple(given))
    return Configured(CUSTOM, config, tuple(given))


def departures(
    settings: Mapping[str, Setting], name: str, start: Config, config: Config
) -> list[str]:
    """The fields of a run's configuration that are not what its setting says, as "k=7, not 6".

    start: the data set's configuration. A name that is no setting departs from nothing.

    Raises:
        InputError: a setting whose overrides cannot be applied.
    """
    if name not in settings:
        return []
    own, values = _own_overrides(settings, settings[name], evaluation=False), config.flat()
    return [
        f"{key}={values.get(key)}, not {value}"
        for key, value in _fixed(start, own, apply_overrides(start, own)).items()
        if values.get(key) != value
    ]


def _own_overrides(
    settings: Mapping[str, Setting], setting: Setting, evaluation: bool
) -> tuple[str, ...]:
    if evaluation:
        return setting.overrides if setting.tests_of else ()
    before = settings[setting.tests_of].overrides if setting.tests_of else ()
    return (*before, *setting.overrides)


def _check_presets(name: str, own: Iterable[str], beside: Iterable[str]) -> None:
    """Refuse a preset beside the setting's own preset of the same group."""
    groups = dict(split_override(override) for override in own if is_preset(override))
    for override in beside:
        group, _ = split_override(override)
        if group in groups:
            raise InputError(
                f"contradicts {group}={groups[group]} of the setting {name}",
                field=override,
                kind=Kind.CONFLICT,
                remedy=_REMEDY,
            )


def _fixed(start: Config, own: Iterable[str], plain: Config) -> dict[str, Any]:
    """What makes a setting: the fields of its method, and the fields that its overrides change.

    plain: `start` with the setting's own overrides.
    """
    stated = {key for override in own for key in fields_set(start, override)}
    before = start.flat()
    return {
        key: value
        for key, value in plain.flat().items()
        if key.startswith(_METHOD) or (key in stated and value != before.get(key))
    }


def _makes(setting: Setting, config: Config) -> bool:
    """Whether a setting's overrides change nothing of a configuration."""
    try:
        return apply_overrides(config, setting.overrides) == config
    except InputError:
        return False


def _but_engine(config: Config) -> dict[str, object]:
    return {key: value for key, value in config.flat().items() if key != "model.engine"}
