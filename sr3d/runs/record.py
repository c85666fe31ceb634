"""The record of a run. All later steps (summaries, tables, MLflow) read only this.

The folder of a run holds `run.json` (a RunRecord, written last and atomically, so a run that has
one is complete). A training run also has `metrics.jsonl` and `model.safetensors`, an evaluation run
`detections.npz`. `run.json` has a checksum of its content and the sha256 of the files beside it.
The layout is `results/{dataset}/{setting}/train{i}/` and, inside it, `test{j}/`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sr3d.errors import DamagedFile, InputError
from sr3d.runs.files import (
    CHECKSUM,
    digest,
    read_json,
    sha256,
    with_checksum,
    without_checksum,
    write_json,
)

SCHEMA_VERSION = 1
RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
MODEL_FILE = "model.safetensors"
DETECTIONS_FILE = "detections.npz"
_AGAIN = "repeat the run with its `sr3d train` or `sr3d test` command"
NO_RUNS = "name the folder above DATASET/SETTING/train0, or run `sr3d train` and `sr3d test` first"


@dataclass(frozen=True)
class RunRecord:
    """One training run (test is None) or one evaluation run. All values are JSON-able.

    metrics: of an evaluation run AP25, AP50 in percent, per_class {name: {AP25, AP50}}, PCE and its
    quantiles. Of a training run the last logged values, and their means over each epoch. timings:
    values that vary between runs. latency_ms of an evaluation run (median over its scenes, from
    points to boxes), other_load (load average of other work at its end), seconds_per_epoch of a
    training run. files: name to sha256 of the files beside the record. tests_of: the setting of the
    training run, if it is another one. weights: of an evaluation run, the sha256 of the model. None
    in records of earlier versions.

    code: `commit`, `edited` and `digest` of `machine.code_version`. A training run that was resumed
    with other code also has `resumed`: a list of `{"step", "digest", "torch"}`, one for each code,
    in order, with the step at which it took over.

    external: for boxes of another program, `{"label", "file", "sha256", "boxes", "classes",
    "missing_scenes", "latency"}`. None for our own runs. boxes: digest of the boxes in the file.
    latency: who measured it, or None. Such a record has no configuration, no training record, and
    no number of parameters.
    """

    kind: Literal["train", "test"]
    dataset: str
    setting: str
    train: int
    test: int | None
    config: dict[str, Any]
    config_digest: str
    overrides: list[str]
    seeds: dict[str, int]
    code: dict[str, Any]
    data: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    engine: str
    device: str
    started: str  # ISO 8601, UTC
    finished: str
    wall_seconds: float
    peak_memory_mb: dict[str, float]
    metrics: dict[str, Any]
    parameters: int | None
    files: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    tests_of: str | None = None
    weights: str | None = None
    external: dict[str, Any] | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> str:
        """The permanent name of the run, e.g. `scannet/sr3d/train0/test3`."""
        return run_key(self.dataset, self.setting, self.train, self.test)

    def digest(self) -> str:
        """Short digest of everything in the record."""
        return digest(dataclasses.asdict(self))


def run_key(dataset: str, setting: str, train: int, test: int | None = None) -> str:
    """The key of a run, which is also its folder below `results/`."""
    key = f"{dataset}/{setting}/train{train}"
    return key if test is None else f"{key}/test{test}"


def train_seed(base: int, train: int) -> int:
    """Seed of training run `train`: initial weights, order and augmentation.

    Raises:
        InputError: a negative number, which is not a valid seed.
    """
    if base < 0 or train < 0:
        raise InputError(f"seed {base}, training {train}: must be zero or more")
    return 1_000_000 * base + 1_000 * train


def test_seed(base: int, train: int, test: int) -> int:
    """Seed of evaluation run `test` of training run `train`: sampling and choice of voxel points.

    Raises:
        InputError: see `train_seed`.
    """
    if test < 0:
        raise InputError(f"test {test}: must be zero or more")
    return train_seed(base, train) + 1 + test


test_seed.__test__ = False  # type: ignore[attr-defined]  # not a pytest function


def write_run(folder: str | Path, record: RunRecord) -> None:
    """Write `run.json` with a checksum of its content. Call it last."""
    write_json(Path(folder) / RUN_FILE, with_checksum(dataclasses.asdict(record)))


def read_run(path: str | Path) -> RunRecord:
    """Read a record from its file or its folder, and verify its checksum.

    `run_file` verifies the other files when they are read.

    Raises:
        InputError: missing, of another schema, or with wrong fields.
        DamagedFile: not JSON, or damaged or edited.
    """
    path = Path(path)
    if path.is_dir():
        path = path / RUN_FILE
    value = read_json(path, _AGAIN)
    if not isinstance(value, dict):
        raise DamagedFile(f"{path}: not a run record; {_AGAIN}")
    has_checksum, value = CHECKSUM in value, without_checksum(value, path, _AGAIN)
    if "weights" in value and not has_checksum:  # earlier versions wrote neither
        raise DamagedFile(f"{path}: damaged or edited, because its checksum is missing; {_AGAIN}")
    if value.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema_version {value.get('schema_version')}, this sr3d reads "
            f"{SCHEMA_VERSION}; use the version of sr3d that wrote it, or repeat the run in "
            "another folder"
        )
    try:
        return RunRecord(**value)
    except TypeError as error:
        raise InputError(
            f"{path}: not a run record of this version ({error}); use the version of sr3d that "
            "wrote it, or repeat the run in another folder"
        ) from None


def run_file(folder: str | Path, record: RunRecord, name: str) -> Path:
    """The path of a file of a run, after its sha256 was compared with the record.

    Raises:
        DamagedFile: the file is missing or changed, or the record does not list it.
    """
    path = Path(folder) / name
    again = (
        f"repeat the run with its `sr3d {'evaluate' if record.external else record.kind}` command"
    )
    if name not in record.files:
        raise DamagedFile(f"{path}: {RUN_FILE} does not list this file; {again}")
    if not path.is_file():
        raise DamagedFile(f"{path}: missing; {again}")
    if sha256(path) != record.files[name]:
        raise DamagedFile(f"{path}: damaged or changed since {RUN_FILE} was written; {again}")
    return path


def verify_run(folder: str | Path, record: RunRecord) -> None:
    """Compare all files of a run with its record.

    Raises:
        DamagedFile: names the first file that is missing or changed.
    """
    for name in record.files:
        run_file(folder, record, name)


def find_runs(results: str | Path) -> list[RunRecord]:
    """All complete runs below a results folder, ordered by key."""
    results = Path(results)
    paths = [*results.glob("*/*/train*/run.json"), *results.glob("*/*/train*/test*/run.json")]
    runs = [read_run(path) for path in paths]
    return sorted(
        runs, key=lambda r: (r.dataset, r.setting, r.train, -1 if r.test is None else r.test)
    )


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The steps of `metrics.jsonl`, each `{"step", "epoch", "lr", "loss", …}`.

    Raises:
        DamagedFile: a line is not JSON.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line]
    except ValueError as error:
        raise DamagedFile(f"{path}: a line is not JSON ({error}); {_AGAIN}") from None
