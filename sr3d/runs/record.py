"""What a run leaves on disk. Every later step (summaries, tables, MLflow) reads only this.

A run's folder holds `run.json` (a RunRecord, written last and whole: its presence means the run is
complete) and, of a training, `metrics.jsonl` and `model.safetensors`; of a test, `detections.npz`.
`run.json` has a checksum of its own content and the sha256 of the files beside it.
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
# Not among a run's declared results, so a workflow that clears the results of a failed job keeps
# them. Named here, because the workflow needs the names and must not import torch.
CHECKPOINT_FILE = "last.ckpt"
EARLIER_FILE = "previous.ckpt"
CHECKPOINT_FILES = (CHECKPOINT_FILE, EARLIER_FILE)
_AGAIN = "repeat the run with its `sr3d train` or `sr3d test` command"
NO_RUNS = "name the folder above DATASET/SETTING/train0, or run `sr3d train` and `sr3d test` first"


@dataclass(frozen=True)
class RunRecord:
    """One training (test is None) or one test. All values are plain and JSON-able.

    metrics of a test: AP25, AP50 in percent, per_class {name: {AP25, AP50}}, PCE and its quantiles;
    of a training: the last values of its curves, and their means over each epoch. timings, which
    differ from run to run: latency_ms of a test (median over its scenes, from points to boxes) and
    other_load (load average of other work when it ended), seconds_per_epoch of a training. files:
    name to sha256 of what lies beside the record. tests_of: the setting whose training was tested,
    where that is another one. weights: of a test, the sha256 of the model that was tested; None in
    records of earlier versions.

    code: `commit`, `edited` and `digest` of `machine.code_version`. A training that was resumed
    with other code has `resumed` as well: `{"step", "digest", "torch"}` of each code, in order,
    with the number of steps that were done when it took over.

    external: of boxes that another program detected, `{"label", "file", "sha256", "boxes",
    "classes", "missing_scenes", "latency"}`; None of our own runs. boxes: digest of the boxes in
    the file. latency: who measured it, None if nobody did. Such a record has no configuration, no
    training record, and no number of parameters.
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
        """Names the run for ever, e.g. `scannet/sr3d/train0/test3`."""
        return run_key(self.dataset, self.setting, self.train, self.test)

    def digest(self) -> str:
        """Short digest of everything in the record."""
        return digest(dataclasses.asdict(self))


def run_key(dataset: str, setting: str, train: int, test: int | None = None) -> str:
    """The key of a run, which is also its folder below `results/`."""
    key = f"{dataset}/{setting}/train{train}"
    return key if test is None else f"{key}/test{test}"


def train_seed(base: int, train: int) -> int:
    """Seed of training `train`: initial weights, order and augmentation.

    Raises:
        InputError: a negative number, from which no generator starts.
    """
    if base < 0 or train < 0:
        raise InputError(f"seed {base}, training {train}: must be zero or more")
    return 1_000_000 * base + 1_000 * train


def test_seed(base: int, train: int, test: int) -> int:
    """Seed of test `test` of training `train`: point sampling and voxel representatives.

    Raises:
        InputError: as `train_seed`.
    """
    if test < 0:
        raise InputError(f"test {test}: must be zero or more")
    return train_seed(base, train) + 1 + test


test_seed.__test__ = False  # type: ignore[attr-defined]  # not a pytest function


def write_run(folder: str | Path, record: RunRecord) -> None:
    """Write `run.json` with a checksum of its content; call it last."""
    write_json(Path(folder) / RUN_FILE, with_checksum(dataclasses.asdict(record)))


def read_run(path: str | Path) -> RunRecord:
    """Read a record from its file or its folder, and verify its checksum.

    The files beside the record are verified where they are read (`run_file`).

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
    """The path of a file of a run, after its sha256 was compared with the one in the record.

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
