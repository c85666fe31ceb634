"""Shared by training and evaluation runs: device, split, determinism, and finished runs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from sr3d.config import Config
from sr3d.data.datasets import Dataset
from sr3d.data.prepared import PreparedDataset
from sr3d.errors import DamagedFile, InputError, Kind, OtherRun
from sr3d.runs.devices import DEVICES, refuse_apple_gpu
from sr3d.runs.files import sha256
from sr3d.runs.machine import code_version, machine_facts, peak_memory_mb, versions
from sr3d.runs.record import RUN_FILE, RunRecord, read_run, verify_run, write_run
from sr3d.sparse.triton_check import native_engine

_log = logging.getLogger(__name__)


def check_device(device: str) -> None:
    """Refuse a device that is unknown or not available.

    Raises:
        InputError: in either case.
    """
    refuse_apple_gpu(device)
    if device not in DEVICES:
        raise InputError(
            f"unknown device '{device}'",
            field="--device",
            kind=Kind.UNKNOWN,
            remedy=f"Pass one of {', '.join(DEVICES)}.",
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "PyTorch finds no GPU",
            field="--device",
            kind=Kind.MISSING,
            remedy="Pass --device cpu. `sr3d doctor` gives the reason.",
        )


@contextmanager
def as_jobs_run(threads: int) -> Iterator[None]:
    """The settings of training and evaluation runs, for bitwise reproducible results.

    threads: of the CPU. Another number of threads gives other rounding.
    """
    # cuBLAS reads this on its first use: its sums have a fixed order only with workspaces of one
    # size. `sr3d.sparse.determinism` has the other measures on a GPU.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def open_split(
    data: Path, split: str, dataset: Dataset, instances: bool = False, superpoints: bool = False
) -> PreparedDataset:
    """A split of prepared data. It must belong to the configured data set.

    instances, superpoints: see `PreparedDataset`.

    Raises:
        InputError: other classes, other box coding, or an empty split.
    """
    scenes = PreparedDataset(data, split, instances, superpoints)
    manifest = scenes.manifest
    if tuple(manifest.classes) != dataset.classes or manifest.rotated != dataset.rotated:
        other = manifest.dataset != dataset.name
        raise InputError(
            f"holds '{manifest.dataset}', not '{dataset.name}'"
            if other
            else f"holds '{dataset.name}' with other classes or boxes than the model has",
            file=data,
            field="--data",
            kind=Kind.CONFLICT,
            remedy="Pass the folder that was prepared for this data set."
            if other
            else "Pass the folder that the model was trained on.",
        )
    if len(scenes) == 0:
        raise InputError(
            f"no scenes in split '{split}'",
            file=data,
            field="--split",
            kind=Kind.EMPTY,
            remedy="Name another split.",
        )
    return scenes


@dataclass
class Stopwatch:
    """The start time of a run, its code, and its duration.

    The code is read at the start, so an edit during the run affects only the next run.
    """

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)
    code: dict[str, Any] = field(default_factory=code_version)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.clock


def facts_of(record: RunRecord) -> dict[str, Any]:
    """The facts about a run, by names for messages. Two runs of one folder must agree in all."""
    return {
        "kind": record.kind,
        "data set": record.dataset,
        "setting": record.setting,
        "training": record.train,
        "evaluation": record.test,
        "configuration": record.config_digest,
        "data": record.data.get("digest"),
        "split": record.data.get("split"),
        "weights": record.weights,
    }


def finished_run(
    out: Path, expected: Mapping[str, Any], code: Mapping[str, Any]
) -> RunRecord | None:
    """The record of the finished run in a folder, or None if there is none or it is damaged.

    A warning says that the run is not repeated, or names a damaged file. expected: see `facts_of`.
    Facts that a record of an earlier version lacks are not compared. code: of this process.

    Raises:
        OtherRun: the folder holds another finished run.
    """
    if not (out / RUN_FILE).exists():
        return None
    try:
        record = read_run(out)
        found = facts_of(record)
        differing = [name for name in expected if found[name] not in (None, expected[name])]
        if differing:
            raise OtherRun(
                f"{record.key} has finished there with another value",
                file=out,
                field=", ".join(differing),
                kind=Kind.CONFLICT,
                remedy="Name another folder with --out.",
            )
        verify_run(out, record)
    except DamagedFile as error:
        _log.warning("%s: %s. The run is repeated now", error.file, error.problem)
        return None
    with_other = "" if record.code.get("digest") == code["digest"] else ", with other code than now"
    _log.warning(
        "%s: has finished already%s. To repeat it, name another folder with --out", out, with_other
    )
    return record


def finish_run(
    out: Path,
    *,
    kind: Literal["train", "test"],
    config: Config,
    overrides: Sequence[str],
    setting: str,
    train: int,
    test: int | None,
    seeds: dict[str, int],
    scenes: PreparedDataset,
    model: nn.Module,
    device: str,
    watch: Stopwatch,
    earlier_seconds: float,
    metrics: dict[str, Any],
    timings: dict[str, float],
    files: Sequence[str],
    resumed: Sequence[Mapping[str, Any]] = (),
    tests_of: str | None = None,
    weights: str | None = None,
) -> RunRecord:
    """Collect the record of a run whose files are in `out`, and write it there as the last file.

    resumed: see `RunRecord.code`, for a training run that other code began.
    """
    record = RunRecord(
        kind=kind,
        dataset=config.dataset,
        setting=setting,
        train=train,
        test=test,
        config=config.to_dict(),
        config_digest=config.digest(),
        overrides=list(overrides),
        seeds=seeds,
        code=watch.code | ({"resumed": list(resumed)} if len(resumed) > 1 else {}),
        data={
            **scenes.manifest.provenance(),
            "split": scenes.split,
            "scenes": len(scenes),
        },
        machine=machine_facts(),
        versions=versions(),
        engine=_engine_name(config, device),
        device=device,
        started=watch.started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_seconds=round(earlier_seconds + watch.seconds, 3),
        peak_memory_mb=peak_memory_mb(),
        metrics=metrics,
        parameters=sum(p.numel() for p in model.parameters()),
        files={name: sha256(out / name) for name in files},
        timings={name: round(value, 3) for name, value in timings.items()},
        tests_of=tests_of,
        weights=weights,
    )
    write_run(out, record)
    return record


def _engine_name(config: Config, device: str) -> str:
    """The configured engine. On a GPU machine, also the engine that native means."""
    name = config.model.engine
    if name != "native" or device == "cpu":
        return name
    return f"native ({native_engine(torch.device(device))})"
