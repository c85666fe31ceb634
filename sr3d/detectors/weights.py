"""Reads weights in every known naming, puts them into a network, and writes them.

Our `.safetensors` holds weights, configuration, classes, and a checksum of all of them. `.pth`
files are checkpoints of mmdetection3d and of SamsungLabs. Nothing in a file is executed
(`sr3d.data.torch_files`).
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sr3d._version import __version__
from sr3d.config import Config
from sr3d.data.torch_files import load_tensors, read_torch_file
from sr3d.detectors import FAMILIES
from sr3d.detectors.base import Detector
from sr3d.detectors.configuration import config_from_dict
from sr3d.detectors.family import CheckpointFormat, without_ddp
from sr3d.detectors.state_dicts import find_state_dict
from sr3d.errors import DamagedFile, InputError, Kind
from sr3d.runs.files import LFS_REMEDY, is_lfs_pointer, write_bytes
from sr3d.validation import did_you_mean

V = TypeVar("V")
_log = logging.getLogger(__name__)

FORMAT = "sr3d/model 1"
_ABOUT = "sr3d"  # key of our entry in a safetensors' metadata
_SHA256 = "sha256"  # key in our entry: checksum of the rest of the entry and of the tensors
_OURS = '"format": "sr3d/model'  # part of our entry, even if its key is damaged
_META = "sr3d_config"  # key of our entry in a checkpoint's `meta`
_SHOWN = 3  # maximum number of names listed per kind of mismatch
_OWN_NAMES = "sr3d"  # whose names our own files have
_UNUSED = "num_batches_tracked"  # of batch norms. Older files lack it, inference ignores it


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file. weights: under our names, in our conventions. naming: whose names the
    file has, in words. place: the place in the file, in words, if it is unusual.

    config: in files of `sr3d convert`. classes, voxel_size: facts about the training in the file.
    """

    path: Path
    weights: Mapping[str, Tensor]
    naming: str
    config: Config | None = None
    classes: tuple[str, ...] | None = None
    voxel_size: float | None = None
    place: str = ""


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the weights of a `.safetensors` or torch file, without optimiser state, logs and copies.

    Weights of other conventions are converted to ours (`CheckpointFormat.adopt`).

    Raises:
        InputError: missing, truncated, of neither format, or without a state_dict of tensors.
        DamagedFile: written by us and changed since.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such checkpoint", file=path, kind=Kind.MISSING)
    with path.open("rb") as file:
        begin = file.read(64)
    if is_lfs_pointer(begin):
        raise InputError(LFS_REMEDY, file=path, kind=Kind.UNREADABLE)
    if path.suffix == ".safetensors" or _is_safetensors(begin, path.stat().st_size):
        return _log_place(_read_safetensors(path))
    content = read_torch_file(path)
    found = find_state_dict(content, path)
    meta = content.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    config, facts = _exported(path, meta), _training_facts(meta)
    names = _Names.of(found.weights, config)
    weights = names.adopt(load_tensors(path, names.renamed(found.weights)))
    return _log_place(Checkpoint(path, weights, names.written_by, config, *facts, found.about()))


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Put a file's weights into a model, every one of them.

    Raises:
        InputError: names the weights that are missing, left over or of another shape.
    """
    put_weights(model, read_checkpoint(path))


def put_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Put weights into a model, every one of them.

    Raises:
        InputError: names the weights that are missing, left over, of another shape, or NaN.
    """
    weights, own = checkpoint.weights, model.state_dict()
    absent = [name for name in own if name not in weights]
    missing = [name for name in absent if not name.endswith(_UNUSED)]
    unknown = [name for name in weights if name not in own]
    shapes = [
        f"{name} is {tuple(weights[name].shape)}, the model's is {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    problems = [_few(shapes, "of another shape")] if shapes else []
    if missing:
        problems.append(f"{len(missing)} missing: {_few(missing, 'more')}")
    if unknown:
        hint = did_you_mean(unknown[0], missing) if 0 < len(missing) < 5 else ""
        problems.append(f"{len(unknown)} unknown: {_few(unknown, 'more')}{hint}")
    if problems:
        raise InputError(
            f"does not fit the model ({'; '.join(problems)})",
            file=checkpoint.path,
            kind=Kind.CONFLICT,
            remedy="Check the data set and the file.",
        )
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(
                f"{name} holds NaN or infinity",
                file=checkpoint.path,
                kind=Kind.VALUE,
                remedy="Take another epoch.",
            )
    model.load_state_dict({**{name: own[name] for name in absent}, **weights})


def write_model(
    path: str | Path, model: Detector[Any, Any], config: Config, source: Mapping[str, str]
) -> None:
    """Write a self-contained `.safetensors`, atomically. Its bytes are deterministic.

    config: of the model. source: the origin of the weights, in words.
    """
    about = {
        "format": FORMAT,
        "sr3d": __version__,
        "config": config.to_dict(),
        "classes": model.classes,
        "source": dict(source),
    }
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    about[_SHA256] = _digest(about, weights)
    # A single entry, because the library writes several entries in varying order.
    write_bytes(path, save(weights, {_ABOUT: json.dumps(about, sort_keys=True)}))


def write_foreign(path: str | Path, model: Detector[Any, Any], config: Config, to: str) -> None:
    """Write a checkpoint for another program, atomically. Its bytes are deterministic.

    to: of the family's `CheckpointFormat.published`. The weights are in the conventions of that
    repository.

    Raises:
        InputError: the family has no such format.
    """
    known = FAMILIES[config.model.name].checkpoints
    formats = known.published if known else {}
    if to not in formats:
        raise InputError(
            f"{config.model.name} has no format '{to}'",
            field="--to",
            kind=Kind.UNKNOWN,
            remedy=f"Choose {' or '.join(('sr3d', *formats))}.",
        )
    published = formats[to]
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    state = OrderedDict(published.convert(weights))
    # Without a version of at least 2, mmdetection3d's detector would rename `head.` again.
    state._metadata = OrderedDict({"": {"version": 2}})  # type: ignore[attr-defined]
    classes = model.classes
    meta = {
        "CLASSES": classes,
        "dataset_meta": {"classes": classes},
        "sr3d_version": __version__,
        _META: json.dumps(config.to_dict(), sort_keys=True),
    }
    buffer = io.BytesIO()  # because torch would write the file's name into the archive
    torch.save({"meta": meta, published.entry: state}, buffer)
    write_bytes(path, buffer.getbuffer())


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # the library raises its own classes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"not a readable checkpoint ({reason})",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Compare its size with the original. It is cut off, or not a safetensors file.",
        ) from None
    if _ABOUT not in metadata:
        if any(_OURS in text for text in metadata.values()):
            raise _changed(path)
        found = find_state_dict(state, path)
        names = _Names.of(found.weights)
        weights = names.adopt(names.renamed(found.weights))
        return Checkpoint(path, weights, names.written_by, place=found.about())
    try:
        about = json.loads(metadata[_ABOUT])
        expected = about.pop(_SHA256, None)  # files of earlier versions have none
        if expected is not None and expected != _digest(about, state):
            raise _changed(path)
        if about["format"] != FORMAT:
            raise ValueError(f"'{about['format']}', this sr3d reads '{FORMAT}'")
        config, classes = config_from_dict(about["config"]), tuple(about["classes"])
    except DamagedFile:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _of_another_version(path, error) from None
    return Checkpoint(path, state, _OWN_NAMES, config, classes)


def _digest(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """sha256 of our entry in a file, and of its tensors with their names and shapes."""
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(state.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _changed(path: Path) -> DamagedFile:
    return DamagedFile(
        "damaged or edited, because its checksum does not match its content",
        file=path,
        kind=Kind.UNREADABLE,
        remedy="Copy or convert it again from its source.",
    )


def _of_another_version(path: Path, error: Exception) -> InputError:
    return InputError(
        f"its configuration is not readable ({error})",
        file=path,
        kind=Kind.VALUE,
        remedy="Convert it again.",
    )


def _exported(path: Path, meta: dict[Any, Any]) -> Config | None:
    """The configuration that `write_foreign` wrote into a file."""
    if _META not in meta:
        return None
    try:
        return config_from_dict(json.loads(meta[_META]))
    except (AttributeError, TypeError, ValueError) as error:  # InputError is a ValueError
        raise _of_another_version(path, error) from None


@dataclass(frozen=True)
class _Names:
    """The names in a file, and the format of the family that has such weights, if one has."""

    given: tuple[str, ...]
    format: CheckpointFormat | None

    @staticmethod
    def of(names: Iterable[str], config: Config | None = None) -> _Names:
        """config: of the file, if it has one, which names the family."""
        given = tuple(names)
        if config is not None:
            return _Names(given, FAMILIES[config.model.name].checkpoints)
        for family in FAMILIES.values():
            format = family.checkpoints
            if format is None:
                continue
            ours = {own for name in given if (own := format.own_name(name)) is not None}
            if format.recognises(ours):
                return _Names(given, format)
        return _Names(given, None)

    @property
    def written_by(self) -> str:
        return self.format.written_by(self.given) if self.format else "no repository that we know"

    def renamed(self, state: Mapping[str, V]) -> dict[str, V]:
        """The weights under our names. If no family fits, under the names of the file."""
        rename = self.format.own_name if self.format else without_ddp
        named = ((rename(name), value) for name, value in state.items())
        return {name: value for name, value in named if name is not None}

    def adopt(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights under our names, in our conventions."""
        return self.format.adopt(weights, self.given) if self.format else weights


def _is_safetensors(begin: bytes, size: int) -> bool:
    """Whether a file of another name begins with the length of a JSON header, and that header."""
    return begin[8:10] in (b'{"', b"{}") and int.from_bytes(begin[:8], "little") < size


def _log_place(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint. Logs the place of the weights first, if it is unusual."""
    if checkpoint.place:
        _log.info("%s: %s", checkpoint.path, checkpoint.place)
    return checkpoint


def _training_facts(meta: dict[Any, Any]) -> tuple[tuple[str, ...] | None, float | None]:
    """Classes and voxel size, as mmcv (`CLASSES`, `config`) or mmengine wrote them."""
    about = meta.get("dataset_meta")
    classes = about.get("classes") if isinstance(about, dict) else meta.get("CLASSES")
    text = str(meta.get("cfg") or meta.get("config") or "")
    sizes = set(re.findall(r"\bvoxel_size ?= ?([0-9.]+)\b", text))
    return (
        tuple(map(str, classes)) if isinstance(classes, list | tuple) else None,
        float(sizes.pop()) if len(sizes) == 1 else None,
    )


def _few(items: list[str], rest: str) -> str:
    more = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {more} {rest}" if more > 0 else "")
