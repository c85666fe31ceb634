"""Add a detector of another framework as a setting: turn files of boxes into evaluation records.

Each file is one evaluation run. Its record lies where the record of an own run would lie, but
without a training run above it: `results/{dataset}/{name}/train{i}/test{j}`. So summaries, reports
and MLflow show the detector as one more row.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from sr3d.config_groups import DATASETS
from sr3d.data.prepared import PreparedDataset
from sr3d.errors import DamagedFile, InputError, Kind
from sr3d.evaluate.scored_files import write_scored
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.files import digest, exclusive, sha256
from sr3d.runs.folder import Stopwatch
from sr3d.runs.machine import machine_facts, peak_memory_mb, versions
from sr3d.runs.record import (
    DETECTIONS_FILE,
    RUN_FILE,
    RunRecord,
    read_run,
    verify_run,
    write_run,
)
from sr3d.settings import CUSTOM, read_settings
from sr3d.study.external_boxes import Evaluation, ScoredFile, evaluate_files

UNKNOWN = "unknown"  # engine and device of a detector that sr3d did not run


@dataclass(frozen=True)
class ExternalRow:
    """A detector of which sr3d has only the boxes.

    name: of the setting. label: its name in print. data, split: the prepared scenes of the
    evaluation. files: one per evaluation run, files of the same training run side by side. tests:
    evaluation runs per training run. latency_ms: per scene, as measured by the user.
    allow_missing: count the objects of scenes that are absent from a file as missed.
    """

    name: str
    label: str
    data: Path
    split: str
    files: tuple[Path, ...]
    tests: int = 1
    latency_ms: float | None = None
    allow_missing: bool = False


def write_row(
    row: ExternalRow, results: str | Path, wait: bool = False
) -> tuple[Evaluation, list[Path]]:
    """Score the files and write their run records. Returns the scores and the runs' folders.

    Records of the same row for other files are replaced. Records that match are kept. wait: wait
    for another process that writes the row.

    Raises:
        InputError: a name that is taken, a number of files that is not a multiple of `tests`, the
            same boxes twice, missing scenes, an input that `evaluate_files` refuses, or own runs of
            that name.
    """
    watch = Stopwatch()
    _check_name(row.name)
    if len(row.files) % row.tests:
        raise InputError(
            f"{len(row.files)} files are not a multiple of --tests {row.tests}",
            field="--detections",
            kind=Kind.CONFLICT,
            remedy="Give every training run the same number of files.",
        )
    scenes = PreparedDataset(row.data, row.split)
    dataset = scenes.manifest.dataset
    if dataset not in DATASETS:
        raise InputError(f"{row.data}: holds '{dataset}', which no report knows", kind=Kind.UNKNOWN)
    found = evaluate_files(row.data, row.files, split=row.split)
    contents = [_content(file.test.detections) for file in found.files]
    _check_different(row.files, contents)
    if not row.allow_missing:
        _check_complete(found.files)
    place = Path(results) / dataset / row.name
    with exclusive(place / RUN_FILE, wait):
        earlier = _earlier_runs(place)
        folders = []
        for number, (file, content) in enumerate(zip(found.files, contents, strict=True)):
            train, test = divmod(number, row.tests)
            record = _record(row, scenes, file, content, train, test, found.classes, watch)
            folder = Path(results) / record.key
            if not _same(earlier.pop(folder, None), record, folder):
                (folder / RUN_FILE).unlink(missing_ok=True)  # no record beside other boxes
                write_scored(folder / DETECTIONS_FILE, file.test)
                record.files[DETECTIONS_FILE] = sha256(folder / DETECTIONS_FILE)
                write_run(folder, record)
            folders.append(folder)
        for folder in earlier:  # of an earlier call with more files
            shutil.rmtree(folder)
    return found, folders


def _check_name(name: str) -> None:
    if not re.fullmatch("[a-z0-9_]+", name) or name == CUSTOM:
        raise InputError(
            f"the name of a setting has small letters, digits and _, and is not {CUSTOM}",
            field=f"--as {name}",
            kind=Kind.VALUE,
        )
    if name in read_settings():
        raise InputError(
            "is a setting of the package",
            field=f"--as {name}",
            kind=Kind.VALUE,
            remedy="Choose another name.",
        )


def _check_different(files: Sequence[Path], contents: Sequence[str]) -> None:
    """Refuse the same boxes twice: copies of a training run make the interval too narrow."""
    first: dict[str, Path] = {}
    for path, content in zip(files, contents, strict=True):
        if content in first:
            raise InputError(
                f"has the same boxes as {first[content]}",
                file=path,
                kind=Kind.CONFLICT,
                remedy="Pass each training or evaluation run once. Copies make the interval too "
                "narrow.",
            )
        first[content] = path


def _check_complete(files: Sequence[ScoredFile]) -> None:
    for file in files:
        missing = file.missing_scenes
        if missing:
            raise InputError(
                f"{len(missing)} of {len(file.test.truth.scenes)} scenes are "
                f"missing, such as '{missing[0]}'",
                file=file.path,
                kind=Kind.MISSING,
                remedy="List scenes without boxes in `scenes`, or pass --allow-missing to count "
                "their objects as missed.",
            )


def _earlier_runs(place: Path) -> dict[Path, RunRecord | None]:
    """Folders of the row's records. The record is None if it cannot be read.

    Raises:
        InputError: a run of sr3d itself has that name.
    """
    ours = next(place.glob(f"train*/{RUN_FILE}"), None)
    found: dict[Path, RunRecord | None] = {}
    for path in sorted(place.glob(f"train*/test*/{RUN_FILE}")):
        try:
            record = read_run(path)
        except DamagedFile:
            found[path.parent] = None
            continue
        found[path.parent] = record
        ours = ours or (None if record.external else path)
    if ours is not None:
        raise InputError(
            f"{ours}: is a run of sr3d",
            kind=Kind.VALUE,
            remedy=f"Choose another name than {place.name}.",
        )
    return found


def _same(earlier: RunRecord | None, record: RunRecord, folder: Path) -> bool:
    """Whether a record has the same content, and its files are intact."""
    if earlier is None or any(
        getattr(earlier, name) != getattr(record, name)
        for name in ("external", "metrics", "data", "timings")
    ):
        return False
    try:
        verify_run(folder, earlier)
    except DamagedFile:
        return False
    return earlier.code.get("digest") == record.code.get("digest")


def _record(
    row: ExternalRow,
    scenes: PreparedDataset,
    file: ScoredFile,
    content: str,
    train: int,
    test: int,
    classes: Sequence[str],
    watch: Stopwatch,
) -> RunRecord:
    dataset = scenes.manifest.dataset
    external: dict[str, Any] = {
        "label": row.label,
        "file": str(file.path),
        "sha256": _sha256(file.path),
        "boxes": content,
        "classes": list(classes),
        "missing_scenes": len(file.missing_scenes),
        "latency": None if row.latency_ms is None else "as given by the user",
    }
    return RunRecord(
        kind="test",
        dataset=dataset,
        setting=row.name,
        train=train,
        test=test,
        config={},
        config_digest=digest({}),
        overrides=[],
        seeds={},
        code=watch.code,
        data={**scenes.manifest.provenance(), "split": scenes.split, "scenes": len(scenes)},
        machine=machine_facts(),
        versions=versions(),
        engine=UNKNOWN,
        device=UNKNOWN,
        started=watch.started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_seconds=round(watch.seconds, 3),
        peak_memory_mb=peak_memory_mb(),
        metrics={**file.result, "detections": len(file.test.detections)},
        parameters=None,
        timings={} if row.latency_ms is None else {"latency_ms": row.latency_ms},
        external=external,
    )


def _content(boxes: BoxSet) -> str:
    """Digest of the boxes in any order. A copy in another format has the same digest."""
    assert boxes.score is not None
    order = np.lexsort((*boxes.box.T, boxes.score, boxes.label, boxes.scene))
    state = hashlib.sha256()
    state.update("\n".join(boxes.scene[order].tolist()).encode())
    for column in (boxes.label[order], boxes.score[order], boxes.box[order]):
        state.update(np.ascontiguousarray(column).tobytes())
    return state.hexdigest()


def _sha256(path: Path) -> str:
    """Digest of a file, or of the names and digests of the files in a folder."""
    if path.is_file():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return digest([[file.relative_to(path).as_posix(), sha256(file)] for file in files])
