"""A training's checkpoints: the last two, each with a checksum.

A file is one line with the format and the sha256 of all that follows, then what `torch.save` makes
of a `TrainingState`. The state has everything that a resumed training needs, its metrics included.
So a checkpoint depends on no other file.
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

from sr3d.config import config_from_dict, flatten
from sr3d.errors import DamagedFile, InputError, OtherRun
from sr3d.runs.files import atomic_path
from sr3d.runs.record import CHECKPOINT_FILE, CHECKPOINT_FILES, EARLIER_FILE

_FORMAT = b"sr3d/checkpoint 1 sha256:"
_HEAD = len(_FORMAT) + 64 + 1
_OF_EARLIER_VERSIONS = b"PK\x03\x04"  # without a line of ours
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingState:
    """A training after `step` steps.

    identity: what is trained on what, to be equal where a training resumes. code: which code took
    the steps, `{"step", "digest", "torch"}` of each, with the steps that were done when it took
    over. seconds: spent so far. metrics: the lines so far, as in `metrics.jsonl`.
    """

    identity: dict[str, Any]
    code: list[dict[str, Any]]
    step: int
    seconds: float
    metrics: str
    model: dict[str, Any]
    optimizer: dict[str, Any]


def write_state(folder: Path, state: TrainingState) -> None:
    """Write the newest checkpoint; the one before is kept, older ones go.

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
    """The newest checkpoint that is not damaged, or None; a warning names each damaged one.

    Raises:
        InputError: a checkpoint of another version of sr3d.
    """
    found, faults = None, []
    for path in (folder / name for name in CHECKPOINT_FILES):
        if found is None and path.exists():
            try:
                found = _read(path)
            except DamagedFile as error:
                faults.append(error)
            else:
                # So that the next checkpoint takes the place of the damaged one, not of this one.
                path.replace(folder / CHECKPOINT_FILE)
    for fault in faults:
        _log.warning("%s; training resumes from step %d", fault, found.step if found else 0)
    return found


def resumable_state(
    folder: Path, identity: Mapping[str, Any], code: Mapping[str, Any], anyway: bool
) -> TrainingState | None:
    """The state that a training resumes from, or None if there is none.

    identity: of the training. code: of this process, `{"step", "digest", "torch"}`, which joins the
    state's list where it is new. anyway: accept a state that other code wrote.

    Raises:
        OtherRun: the checkpoint is another training's.
        InputError: the checkpoint is of another version of sr3d, or other code wrote it.
    """
    state = read_state(folder)
    if state is None:
        return None
    path = folder / CHECKPOINT_FILE
    anew = (
        f"name another folder with --out, or delete {' and '.join(CHECKPOINT_FILES)} there to "
        "start from step 0"
    )
    if differing := _differing(state.identity, identity):
        raise OtherRun(
            f"{path}: another training was interrupted there at step {state.step}, and differs "
            f"from this one in {', '.join(differing)}; {anew}"
        )
    before = state.code[-1]
    if all(before[name] == code[name] for name in ("digest", "torch")):
        return state
    if not anyway:
        raise InputError(
            f"{path}: other code took the first {state.step} steps (sr3d {before['digest']} with "
            f"PyTorch {before['torch']}, now {code['digest']} with {code['torch']}); go back to "
            f"that code, or pass --resume-anyway to mix both, which run.json will say, or {anew}"
        )
    _log.warning("%s: other code takes over at step %d", path, state.step)
    return replace(state, code=[*state.code, {**code, "step": state.step}])


def _differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """In which facts two identities differ; of the configuration, in which values.

    A value that the found configuration lacks, because it is older, has its default there.
    """
    facts = [name for name in wanted if name != "config" and found[name] != wanted[name]]
    ours = flatten(wanted["config"])
    try:
        theirs = config_from_dict(found["config"]).flat()
    except InputError:  # it has a value that this version does not know
        theirs = flatten(found["config"])
    names = dict.fromkeys([*ours, *theirs])
    return [*(name for name in names if ours.get(name) != theirs.get(name)), *facts]


def remove_states(folder: Path) -> None:
    """Remove the checkpoints of a training that has finished."""
    for name in CHECKPOINT_FILES:
        (folder / name).unlink(missing_ok=True)


def _read(path: Path) -> TrainingState:
    data = path.read_bytes()
    if data.startswith(_OF_EARLIER_VERSIONS):
        raise InputError(
            f"{path}: of an earlier version of sr3d; finish the training with that version, or "
            "start it anew in another folder with --out"
        )
    head, content = data[:_HEAD], memoryview(data)[_HEAD:]
    if head != _FORMAT + hashlib.sha256(content).hexdigest().encode() + b"\n":
        raise DamagedFile(f"{path}: damaged or cut off, for its checksum does not match")
    try:
        return TrainingState(**torch.load(io.BytesIO(content), "cpu", weights_only=True))
    except (RuntimeError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: not readable by this version of sr3d ({reason}); finish the training with "
            "the version that began it, or start it anew in another folder with --out"
        ) from None
