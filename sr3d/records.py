"""What a run leaves on disk. Every later step (summaries, tables, MLflow) reads only this.

A run's folder holds `run.json` (a RunRecord, written last and whole: its presence means the run is
complete) and, of a training, `metrics.jsonl` and `model.safetensors`; of a test, `detections.npz`.
The layout is `results/{dataset}/{setting}/train{i}/` and, inside it, `test{j}/`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sr3d.errors import InputError
from sr3d.files import digest, read_json, write_json

SCHEMA_VERSION = 1
RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
MODEL_FILE = "model.safetensors"
DETECTIONS_FILE = "detections.npz"
NO_RUNS = "name the folder above DATASET/SETTING/train0, or run `sr3d train` and `sr3d test` first"


@dataclass(frozen=True)
class RunRecord:
    """One training (test is None) or one test. All values are plain and JSON-able.

    metrics of a test: AP25, AP50 in percent, per_class {name: {AP25, AP50}}, PCE and its quantiles;
    of a training: the last values of its curves, and their means over each epoch. timings, which
    differ from run to run: latency_ms of a test (median over its scenes, from points to boxes),
    seconds_per_epoch of a training. files: name to sha256 of what lies beside the record.
    tests_of: the setting whose training was tested, where that is another one.
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
    parameters: int
    files: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    tests_of: str | None = None
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
    """Write `run.json`; call it last."""
    write_json(Path(folder) / RUN_FILE, dataclasses.asdict(record))


def read_run(path: str | Path) -> RunRecord:
    """Read a record from its file or its folder.

    Raises:
        InputError: missing, not JSON, of another schema, or with wrong fields.
    """
    path = Path(path)
    if path.is_dir():
        path = path / RUN_FILE
    value = read_json(path)
    if not isinstance(value, dict) or value.get("schema_version") != SCHEMA_VERSION:
        found = value.get("schema_version") if isinstance(value, dict) else None
        raise InputError(
            f"{path}: schema_version {found}, this sr3d reads {SCHEMA_VERSION}; run it again"
        )
    try:
        return RunRecord(**value)
    except TypeError as error:
        raise InputError(f"{path}: not a run record ({error}); run it again") from None


def find_runs(results: str | Path) -> list[RunRecord]:
    """All complete runs below a results folder, ordered by key."""
    results = Path(results)
    paths = [*results.glob("*/*/train*/run.json"), *results.glob("*/*/train*/test*/run.json")]
    runs = [read_run(path) for path in paths]
    return sorted(
        runs, key=lambda r: (r.dataset, r.setting, r.train, -1 if r.test is None else r.test)
    )


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The steps of `metrics.jsonl`, each `{"step", "epoch", "lr", "loss", …}`."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line]
