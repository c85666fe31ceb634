"""Check config.yaml and workflow/tiers.yaml before any job."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Interval, MinLen

from sr3d.config_groups import DatasetName
from sr3d.errors import InputError
from sr3d.runs.devices import refuse_apple_gpu
from sr3d.validation import json_schema, validate
from sr3d.value_types import DIFFERENT, Name, Override, Pattern, Text, Validated
from workflow.refusal import Refusal

Positive = Annotated[int, Interval(ge=1)]
Whole = Annotated[int, Interval(ge=0)]
Names = Annotated[tuple[Name, ...], MinLen(1), DIFFERENT]
Cited = Annotated[tuple[Name, ...], DIFFERENT]
Datasets = Annotated[tuple[DatasetName, ...], MinLen(1), DIFFERENT]
Scenes = Annotated[tuple[str, ...], MinLen(1), DIFFERENT]
Files = Annotated[tuple[Text, ...], MinLen(1), DIFFERENT]
Address = Annotated[str, Pattern("^https?://", "an address that begins with https://")]


@dataclass(frozen=True, kw_only=True)
class RoomsConfig:
    """Procedural rooms to generate."""

    train: Positive
    val: Positive
    points: Positive
    seed: Whole


@dataclass(frozen=True, kw_only=True)
class Tier(Validated):
    """The amount of work of a tier."""

    tables: Names
    datasets: Datasets
    trainings: Positive
    tests: Positive
    overrides: tuple[Override, ...]
    train_split: Name
    test_split: Name
    results: Text
    synthetic: RoomsConfig
    settings: Names | None = None
    cited: Cited = ()
    prepared: Mapping[DatasetName, Name] = field(default_factory=dict)
    scans: Scenes | None = None
    clouds: Scenes | None = None
    infos: Mapping[Name, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Raw:
    """The folders of original files."""

    scannet: str
    sunrgbd: str
    s3dis: str
    own: str


@dataclass(frozen=True, kw_only=True)
class ScanNetServer:
    """The options for downloading ScanNet."""

    accept_terms: bool
    url: Address
    parallel: Annotated[int, Interval(ge=1, le=16)]


@dataclass(frozen=True, kw_only=True)
class SunRgbdServer:
    """The options for downloading SUN RGB-D."""

    url: Address


@dataclass(frozen=True, kw_only=True)
class DownloadConfig:
    """The download options of each data set."""

    scannet: ScanNetServer
    sunrgbd: SunRgbdServer


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The folders of prepared data sets."""

    synthetic: str
    rooms: str
    synthetic_rotated: str
    scannet: str
    sunrgbd: str
    sunrgbd_v1: str
    s3dis: str
    own: str
    real: str
    real_sunrgbd: str


@dataclass(frozen=True, kw_only=True)
class External:
    """Boxes of another framework (docs/external_detector.md). files: one per evaluation run, files
    of the same training run side by side. tests: evaluation runs per training run.
    """

    dataset: DatasetName
    files: Files
    label: Text | None = None
    tests: Positive = 1
    latency_ms: Annotated[float, Interval(ge=0)] | None = None
    allow_missing: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkflowConfig(Validated):
    """config.yaml. It may also set any key of a tier. prepare_own: options of `sr3d prepare
    folder`. settings_file: your own settings. assume: for `snakemake plan`, as in `sr3d plan
    --assume`.
    """

    tier: str
    device: Literal["cpu", "cuda"]
    seed: Whole
    raw: Raw
    download: DownloadConfig
    data: Prepared
    prepare_own: tuple[Text, ...] = ()
    real_scans: str | None = None
    settings_file: Text | None = None
    external: Mapping[Name, External] = field(default_factory=dict)
    assume: str | None = None
    tables: Names | None = None
    settings: Names | None = None
    cited: Cited | None = None
    datasets: Datasets | None = None
    trainings: Positive | None = None
    tests: Positive | None = None
    overrides: tuple[Override, ...] | None = None
    train_split: Name | None = None
    test_split: Name | None = None
    results: Text | None = None
    synthetic: RoomsConfig | None = None
    prepared: Mapping[DatasetName, Name] | None = None
    scans: Scenes | None = None
    clouds: Scenes | None = None
    infos: Mapping[Name, str] | None = None


Tiers = Annotated[Mapping[str, Tier], MinLen(1)]


def check_experiment(config: Mapping[str, Any], file: str = "config.yaml") -> None:
    """Refuse an invalid config.yaml.

    Raises:
        Refusal: the problem and its place, in one sentence.
    """
    try:
        refuse_apple_gpu(config.get("device"))
    except InputError as error:
        raise Refusal(str(error.inside(file))) from None
    if (empty := next((key for key, value in config.items() if value is None), None)) is not None:
        raise Refusal(f"{file}: {empty}: has no value. Give it one, or remove the line.")
    _check(WorkflowConfig, config, file)


def check_tiers(tiers: Any, file: str) -> None:
    """Refuse an invalid file of tiers.

    Raises:
        Refusal: the problem and its place, in one sentence.
    """
    _check(Tiers, tiers, file)


def _check(kind: Any, value: Any, file: str) -> None:
    try:
        validate(kind, value, file)
    except InputError as error:
        raise Refusal(str(error)) from None


if __name__ == "__main__":
    # The JSON schema of a file, for editors: python -m workflow.checking config
    print(
        json.dumps(json_schema({"config": WorkflowConfig, "tiers": Tiers}[sys.argv[1]]), indent=2)
    )
