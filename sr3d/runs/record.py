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

from sr3d.errors import DamagedFile, InputError, Kind
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
_AGAIN = "Repeat the command that made the run: `sr3d train`, `sr3d test` or `sr3d evaluate`."
NO_RUNS = "Name the folder above DATASET/SETTING/train0."


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

    peak_memory_mb: see `machine.peak_memory_mb`.

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
        raise InputError(
            f"seed {base}, training run {train}: must be zero or more",
            field="--seed" if base < 0 else "--train",
            kind=Kind.VALUE,
            remedy="Pass a number from 0 on.",
        )
    return 1_000_000 * base + 1_000 * train


def evaluation_seed(base: int, train: int, test: int) -> int:
    """Seed of evaluation run `test` of training run `train`: sampling and choice of voxel points.

    Raises:
        InputError: see `train_seed`.
    """
    if test < 0:
        raise InputError(
            f"evaluation {test}: must be zero or more",
            field="--test",
            kind=Kind.VALUE,
            remedy="Pass a number from 0 on.",
        )
    return train_seed(base, train) + 1 + test


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
        raise _damaged(path, "not a run record")
    has_checksum, value = CHECKSUM in value, without_checksum(value, path, _AGAIN)
    if "weights" in value and not has_checksum:  # earlier versions wrote neither
        raise _damaged(path, "damaged or edited, because its checksum is missing")
    if value.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"is {value.get('schema_version')}, this sr3d reads {SCHEMA_VERSION}",
            file=path,
            field="schema_version",
            kind=Kind.UNREADABLE,
            remedy="Use the version of sr3d that wrote the record.",
        )
    try:
        return RunRecord(**value)
    except TypeError as error:
        raise InputError(
            f"not a run record of this version ({error})",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Use the version of sr3d that wrote the record.",
        ) from None


def read_training(path: str | Path) -> RunRecord:
    """`read_run` of a folder that must hold a training run.

    Raises:
        InputError: as `read_run`, or the record of an evaluation run.
    """
    record = read_run(path)
    if record.kind != "train":
        raise InputError(
            f"holds the evaluation run {record.key}, not a training run",
            file=path,
            kind=Kind.CONFLICT,
            remedy="Name a folder that `sr3d train` wrote.",
        )
    return record


def _damaged(path: Path, problem: str, remedy: str = _AGAIN) -> DamagedFile:
    return DamagedFile(problem, file=path, kind=Kind.UNREADABLE, remedy=remedy)


def run_file(folder: str | Path, record: RunRecord, name: str) -> Path:
    """The path of a file of a run, after its sha256 was compared with the record.

    Raises:
        DamagedFile: the file is missing or changed, or the record does not list it.
    """
    path = Path(folder) / name
    verb = "evaluate" if record.external else record.kind
    again = f"Repeat the run with its `sr3d {verb}` command."
    if name not in record.files:  # the same command would find that the run has finished
        again = f"Move {path.parent} away, then repeat the run with its `sr3d {verb}` command."
        raise _damaged(path, f"{RUN_FILE} does not list this file", again)
    if not path.is_file():
        raise DamagedFile("missing", file=path, kind=Kind.MISSING, remedy=again)
    if sha256(path) != record.files[name]:
        raise _damaged(path, f"damaged or changed since {RUN_FILE} was written", again)
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
        raise _damaged(Path(path), f"a line is not JSON ({error})") from None
