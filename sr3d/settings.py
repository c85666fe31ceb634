"""Settings: the rows of the paper's tables by name, each with the overrides that make it.

`settings.yaml` beside this file holds the package's settings. A file of the user adds others.
`sr3d.run_setting` makes configurations of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_args

from sr3d.config_groups import DatasetName
from sr3d.errors import InputError, Kind
from sr3d.validation import did_you_mean, json_schema, read_yaml, validate
from sr3d.value_types import Name, Override, Text, Validated

FILE = Path(__file__).with_name("settings.yaml")
CUSTOM = "custom"  # the name of a run that is no setting

# What an evaluation may change of its training: weights depend on neither.
OF_EVALUATION = ("test.", "model.engine=")
OTHER_METHOD = "For another method, write a settings file (docs/workflow.md) and pass --settings."


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
            remedy=OTHER_METHOD,
        )
    return settings[name]


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
