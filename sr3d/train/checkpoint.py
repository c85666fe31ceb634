"""Checkpoints of a training run: the last two, each with a checksum.

A file is one line with the format and the sha256 of the rest, then a `TrainingState` as written by
`torch.save`. The state has everything that a resumed run needs, including its metrics. So a
checkpoint depends on no other file.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sr3d.detectors.configuration import config_from_dict
from sr3d.errors import DamagedFile, InputError, Kind, OtherRun
from sr3d.runs.files import atomic_path
from sr3d.runs.record import CHECKPOINT_FILE, CHECKPOINT_FILES, EARLIER_FILE
from sr3d.validation import flatten

_FORMAT = b"sr3d/checkpoint 1 sha256:"
_HEAD = len(_FORMAT) + 64 + 1
_OF_EARLIER_VERSIONS = b"PK\x03\x04"  # without our first line
_ELSEWHERE = "Name another folder with --out."
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingState:
    """A training run after `step` steps.

    identity: the facts that must be equal to resume. code: a list of `{"step", "digest", "torch"}`,
    one for each version of the code, with the step at which it took over. seconds: training time so
    far. metrics: the lines so far, as in `metrics.jsonl`.
    """

    identity: dict[str, Any]
    code: list[dict[str, Any]]
    step: int
    seconds: float
    metrics: str
    model: dict[str, Any]
    optimizer: dict[str, Any]


def write_state(folder: Path, state: TrainingState) -> None:
    """Write the newest checkpoint. Keeps the previous one and removes older ones.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(vars(state), buffer)
    content = buffer.getbuffer()
    head = _FORMAT + hashlib.sha256(content).hexdigest().encode() + b"\n"
    newest = folder / CHECKPOINT_FILE
    with atomic_path(newest) as temporary:
        with open(temporary, "wb") as file:
            file.writelines((head, content))
        if newest.exists():
            newest.replace(folder / EARLIER_FILE)


def read_state(folder: Path) -> TrainingState | None:
    """The newest intact checkpoint, or None. A warning names each damaged one.

    Raises:
        OtherRun: a checkpoint of another version of sr3d.
    """
    found, faults = None, []
    for path in (folder / name for name in CHECKPOINT_FILES):
        if found is None and path.exists():
            try:
                found = _read(path)
            except DamagedFile as error:
                faults.append(error)
            else:
                # The next checkpoint then replaces the damaged one, not this one.
                path.replace(folder / CHECKPOINT_FILE)
    for fault in faults:
        step = found.step if found else 0
        _log.warning("%s: %s; training resumes from step %d", fault.file, fault.problem, step)
    return found


def resumable_state(
    folder: Path, identity: Mapping[str, Any], code: Mapping[str, Any], anyway: bool
) -> TrainingState | None:
    """The state from which a training run resumes, or None if there is none.

    identity: the identity of the run. code: the code of this process, `{"step", "digest",
    "torch"}`. If it is new, it is added to the state's list. anyway: accept a state of other code.

    Raises:
        OtherRun: the checkpoint belongs to another training run, or another version of sr3d wrote
            it.
        InputError: other code wrote the checkpoint.
    """
    state = read_state(folder)
    if state is None:
        return None
    path = folder / CHECKPOINT_FILE
    if differing := _differing(state.identity, identity):
        raise OtherRun(
            f"the training that was interrupted there at step {state.step} has another value",
            file=path,
            field=", ".join(differing),
            kind=Kind.CONFLICT,
            remedy=_ELSEWHERE,
        )
    before = state.code[-1]
    if all(before[name] == code[name] for name in ("digest", "torch")):
        return state
    if not anyway:
        raise InputError(
            f"other code took the first {state.step} steps (sr3d {before['digest']} with "
            f"PyTorch {before['torch']}, now {code['digest']} with {code['torch']})",
            file=path,
            field="code",
            kind=Kind.CONFLICT,
            remedy="Pass --resume-anyway to mix both. run.json will list both.",
        )
    _log.warning("%s: other code takes over at step %d", path, state.step)
    return replace(state, code=[*state.code, {**code, "step": state.step}])


def _differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The facts in which two identities differ. Values of the configuration are listed one by one.

    If the found configuration is older and lacks a value, the default counts.
    """
    facts = [name for name in wanted if name != "config" and found[name] != wanted[name]]
    ours = flatten(wanted["config"])
    try:
        theirs = config_from_dict(found["config"]).flat()
    except InputError:  # it has a value unknown to this version
        theirs = flatten(found["config"])
    names = dict.fromkeys([*ours, *theirs])
    return [*(name for name in names if ours.get(name) != theirs.get(name)), *facts]


def remove_states(folder: Path) -> None:
    """Remove the checkpoints of a finished training run."""
    for name in CHECKPOINT_FILES:
        (folder / name).unlink(missing_ok=True)


def _read(path: Path) -> TrainingState:
    data = path.read_bytes()
    if data.startswith(_OF_EARLIER_VERSIONS):
        raise OtherRun(
            "of an earlier version of sr3d", file=path, kind=Kind.UNREADABLE, remedy=_ELSEWHERE
        )
    head, content = data[:_HEAD], memoryview(data)[_HEAD:]
    if head != _FORMAT + hashlib.sha256(content).hexdigest().encode() + b"\n":
        raise DamagedFile(
            "damaged or cut off, because its checksum does not match",
            file=path,
            kind=Kind.UNREADABLE,
            remedy=_ELSEWHERE,
        )
    try:
        return TrainingState(**torch.load(io.BytesIO(content), "cpu", weights_only=True))
    except (RuntimeError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise OtherRun(
            f"not readable by this version of sr3d ({reason})",
            file=path,
            kind=Kind.UNREADABLE,
            remedy=_ELSEWHERE,
        ) from None
