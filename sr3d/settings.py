"""Settings: the rows of the paper's tables by name, each with the overrides that make it.

`settings.yaml` beside this file holds those of the package. A file of the user adds others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_args

from sr3d.config import Config
from sr3d.config_groups import DatasetName
from sr3d.detectors.configuration import (
    apply_overrides,
    preset_names,
    preset_values,
    split_override,
    with_overrides,
)
from sr3d.errors import InputError, Kind
from sr3d.validation import did_you_mean, json_schema, read_yaml, validate
from sr3d.value_types import Name, Override, Text, Validated

FILE = Path(__file__).with_name("settings.yaml")
CUSTOM = "custom"  # the name of a run that is no setting

# A setting names a method: a detector, its assigner and loss, or an oracle. No override beside the
# setting's own may change these fields.
METHOD = ("model.name", "assigner.", "loss.", "test.oracle", "test.foreground")
# What an evaluation may change of its training: weights depend on neither.
OF_EVALUATION = ("test.", "model.engine=")
_OWN_ROW = "For another method, write a settings file (docs/workflow.md) and pass --settings."


@dataclass(frozen=True, kw_only=True)
class Row(Validated):
    """What a file says of one setting.

    overrides: of the configuration. tests_of: the setting whose trainings it evaluates, for one
    without trainings of its own. datasets: the only ones that it can run on. prepared: data set to
    another prepared folder, a key of `data` in config.yaml. labels: data set to the version of the
    ground truth that this folder must hold.
    """

    label: Text
    overrides: tuple[Override, ...]
    tests_of: Name | None = None
    datasets: tuple[DatasetName, ...] = get_args(DatasetName)
    prepared: Mapping[DatasetName, Text] = field(default_factory=dict, hash=False)
    labels: Mapping[DatasetName, Text] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class Setting(Row):
    """A setting with its name."""

    name: str

    @property
    def trained_as(self) -> str:
        """The setting whose trainings it evaluates: itself, as a rule."""
        return self.tests_of or self.name

    def check_data(self, dataset: DatasetName, labels: str, folder: str | Path) -> None:
        """Refuse prepared data that are not the setting's. labels: of the manifest.

        Raises:
            InputError: names the folder and the version of the ground truth that it must hold.
        """
        if self.labels.get(dataset, labels) != labels:
            needed = self.labels[dataset]
            raise InputError(
                f"holds ground truth '{labels}', and the setting {self.name} needs '{needed}'",
                file=folder,
                kind=Kind.CONFLICT,
                remedy=f"Prepare a folder with `sr3d prepare {dataset} --labels {needed}`.",
            )


@dataclass(frozen=True)
class Configured:
    """A setting's name, its configuration, and all overrides that made it, the setting's last."""

    name: str
    config: Config
    overrides: tuple[str, ...]


def read_settings(own: str | Path | None = None) -> dict[str, Setting]:
    """The package's settings by name, then those of the user's own file.

    Raises:
        InputError: the file cannot be read, says what no setting can be, or names a setting of the
            package.
    """
    settings = dict(_packaged())
    if own is not None:
        for name, setting in _read(Path(own), settings).items():
            if name in settings:
                problem, remedy = "is a setting of the package", "Choose another name."
                raise InputError(problem, file=own, field=name, kind=Kind.CONFLICT, remedy=remedy)
            settings[name] = setting
    return settings


def find_setting(settings: Mapping[str, Setting], name: str) -> Setting:
    """The setting of that name.

    Raises:
        InputError: there is none. The message names the nearest and says how to add one.
    """
    if name not in settings:
        raise InputError(
            f"unknown setting{did_you_mean(name, list(settings))}",
            field=f"--setting {name}",
            kind=Kind.UNKNOWN,
            remedy=_OWN_ROW,
        )
    return settings[name]


def configure(
    settings: Mapping[str, Setting],
    name: str,
    start: Config,
    given: Sequence[str] = (),
    trained: bool = False,
) -> Configured:
    """What a setting is under other overrides, such as a shorter schedule.

    start: the data set's configuration or, if `trained`, that of a finished training, which has the
    overrides of its own setting. given: overrides beside the setting's, which it may repeat.

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
    own = _own_overrides(settings, setting, trained)
    beside = [override for override in given if override not in own]
    # The setting decides the family of detectors, and so the keys that there are.
    family = apply_overrides(start, [o for o in own if split_override(o)[0] == "model"])
    apply_overrides(family, beside)  # refuses what is wrong by itself, in the order as given
    _check_presets(name, own, beside)
    told = apply_overrides(family, _presets_first(beside)).flat()
    config = with_overrides(start, _presets_first(beside, own))
    fixed, values = _fixed(own, start), config.flat()
    single = {split_override(override)[0] for override in beside}
    for key, value in values.items():
        if fixed.get(key, value) != value or (key in single and told.get(key) != value):
            culprits = [override for override in beside if key in _stated(override, start)]
            raise InputError(
                f"makes {key}={told[key]}, and the setting {name} has {key}="
                f"{fixed.get(key, value)}",
                field=", ".join(culprits),
                kind=Kind.CONFLICT,
                remedy=f"Omit the override, or name another setting. {_OWN_ROW}",
            )
    return Configured(name, config, (*beside, *own))


def recognise(
    settings: Mapping[str, Setting],
    start: Config,
    given: Sequence[str],
    trained: str | None = None,
    labels: str = "",
) -> Configured:
    """The same for a run without the name of a setting: the setting that the overrides make.

    Of several it is the one with the most overrides of its own. A run that is none is `custom`. So
    is an evaluation with other values than its training has, unless a setting names them.

    trained: the name of the training that is evaluated, whose configuration is `start`. labels: the
    version of the ground truth.

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


def choose(
    settings: Mapping[str, Setting],
    name: str | None,
    start: Config,
    given: Sequence[str],
    folder: Path,
    labels_of: Callable[[Path], str],
    trained: str | None = None,
) -> Configured:
    """The setting that a person named or, without a name, the setting that the overrides make.

    folder: the prepared data. labels_of: reads the version of the ground truth in a folder. Wrong
    names and overrides are refused before that. trained: the setting of the training run that is
    evaluated, whose configuration is `start`; None for a training.

    Raises:
        InputError: a setting that does not fit the training run or the data; see `configure`.
    """
    if name is None:
        with_overrides(start, given)
        return recognise(settings, start, given, trained, labels_of(folder))
    if name == trained and name not in settings:
        # The name comes from a settings file that this call does not have.
        return Configured(name, with_overrides(start, given), tuple(given))
    setting = find_setting(settings, name)
    if trained is None and setting.tests_of:
        raise InputError(
            f"evaluates training runs of {setting.tests_of} and has none of its own",
            field=f"--setting {name}",
            kind=Kind.CONFLICT,
            remedy=f"Train {setting.tests_of}. Then run `sr3d test --setting {name}`.",
        )
    if trained not in (None, setting.trained_as):
        raise InputError(
            f"evaluates training runs of {setting.trained_as}, and --run is one of {trained}",
            field=f"--setting {name}",
            kind=Kind.CONFLICT,
            remedy=f"Pass a training run of {setting.trained_as}, or omit --setting.",
        )
    chosen = configure(settings, name, start, given, trained is not None)
    setting.check_data(start.dataset, labels_of(folder), folder)
    return chosen


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
    own, values = _own_overrides(settings, settings[name], trained=False), config.flat()
    return [
        f"{key}={values.get(key)}, not {value}"
        for key, value in _fixed(own, start).items()
        if values.get(key) != value
    ]


def _fixed(own: Sequence[str], start: Config) -> dict[str, Any]:
    """What makes a setting: the fields of its method, and those that its overrides set otherwise
    than the data set's configuration.
    """
    stated = {key for override in own for key in _stated(override, start)}
    before, after = start.flat(), apply_overrides(start, own).flat()
    return {
        key: value
        for key, value in after.items()
        if key.startswith(METHOD) or (key in stated and value != before.get(key))
    }


def _own_overrides(
    settings: Mapping[str, Setting], setting: Setting, trained: bool
) -> tuple[str, ...]:
    if trained:
        return setting.overrides if setting.tests_of else ()
    before = settings[setting.tests_of].overrides if setting.tests_of else ()
    return (*before, *setting.overrides)


def _presets_first(*lists: Iterable[str]) -> list[str]:
    """The presets of all lists, then the single values of all lists."""
    groups = preset_names()
    ordered = [override for overrides in lists for override in overrides]
    return sorted(ordered, key=lambda override: split_override(override)[0] not in groups)


def _check_presets(name: str, own: Sequence[str], beside: Sequence[str]) -> None:
    """Refuse a preset beside the setting's own preset of the same group."""
    known = preset_names()
    groups = {group: text for group, text in map(split_override, own) if group in known}
    for override in beside:
        group, _ = split_override(override)
        if group in groups:
            raise InputError(
                f"contradicts {group}={groups[group]} of the setting {name}",
                field=override,
                kind=Kind.CONFLICT,
                remedy=f"Omit the override, or name another setting. {_OWN_ROW}",
            )


def _stated(override: str, start: Config) -> set[str]:
    """The fields that an override sets by name: one, or those that its preset lists."""
    name, text = split_override(override)
    if text not in preset_names().get(name, ()):
        return {name}
    values = preset_values(start, name, text)
    return {f"{group}.{key}" for group, fields in values.items() for key in fields}


def _makes(setting: Setting, config: Config) -> bool:
    """Whether a setting's overrides change nothing of a configuration."""
    try:
        return apply_overrides(config, setting.overrides) == config
    except InputError:
        return False


def _but_engine(config: Config) -> dict[str, object]:
    return {key: value for key, value in config.flat().items() if key != "model.engine"}


@cache
def _packaged() -> dict[str, Setting]:
    return _read(FILE)


def settings_schema() -> dict[str, Any]:
    """The JSON schema of a file with settings."""
    return json_schema(_ROWS)


_ROWS = dict[Name, Row]


def _read(path: Path, known: Mapping[str, Setting] | None = None) -> dict[str, Setting]:
    """known: settings that `tests_of` may name besides the file's own."""
    rows = validate(_ROWS, read_yaml(path), path)
    if not rows:
        remedy = "Write at least one. docs/workflow.md has an example."
        raise InputError("no settings", file=path, kind=Kind.EMPTY, remedy=remedy)
    if CUSTOM in rows:
        remedy = "Choose another name. Runs that are no setting have this one."
        raise InputError("is reserved", file=path, field=CUSTOM, kind=Kind.VALUE, remedy=remedy)
    settings = {name: Setting(name=name, **vars(row)) for name, row in rows.items()}
    for name, setting in settings.items():
        if setting.tests_of is None:
            continue
        trained = {**(known or {}), **settings}
        trains = [other for other, one in trained.items() if one.tests_of is None]
        if setting.tests_of not in trains:
            raise InputError(
                f"'{setting.tests_of}'{did_you_mean(setting.tests_of, trains)}",
                file=path,
                field=f"{name}.tests_of",
                kind=Kind.UNKNOWN,
            )
        for override in setting.overrides:
            if not override.startswith(OF_EVALUATION):
                raise InputError(
                    f"{override} changes what was trained",
                    file=path,
                    field=name,
                    kind=Kind.CONFLICT,
                    remedy="With tests_of, override only test.… and model.engine.",
                )
    return settings
