"""Weights in files: read in every naming there is, put into a network, and written.

A `.safetensors` of ours may hold the configuration and the classes as well, so that it needs
nothing beside it. `.pth` are checkpoints of mmdetection3d and of SamsungLabs. Nothing in a file is
executed (`sr3d.data.torch_files`).
"""

from __future__ import annotations

import json
import logging
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sr3d._version import __version__
from sr3d.config import Config, config_from_dict, did_you_mean
from sr3d.data.torch_files import load_tensors, read_torch_file
from sr3d.errors import InputError
from sr3d.files import LFS_REMEDY, atomic_path, is_lfs_pointer
from sr3d.models.checkpoint_names import (
    Naming,
    foreign_name,
    naming_of,
    own_name,
    wrote_bytes,
)
from sr3d.models.detector import Detector
from sr3d.models.state_dicts import find_state_dict

_log = logging.getLogger(__name__)

FORMAT = "sr3d/model 1"
_ABOUT = "sr3d"  # what says so in a safetensors' metadata
_META = "sr3d_config"  # likewise in a checkpoint's `meta`
_SHOWN = 3  # of each kind of misfit; the others are counted
_UNUSED = "num_batches_tracked"  # of batch norms; older files lack it, and inference needs none
_STEM, _COLOURS = "backbone.conv1.kernel", 255.0


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds. weights: under our names. naming: whose they had, in words. place: where
    in the file they were, in words, if it is unusual.

    config: in what `sr3d convert` wrote. classes, voxel_size: what a file says of its training.
    """

    path: Path
    weights: Mapping[str, Tensor]
    naming: str
    config: Config | None = None
    classes: tuple[str, ...] | None = None
    voxel_size: float | None = None
    place: str = ""


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The weights of a `.safetensors` or torch file; optimiser state, logs and copies are left out.

    SamsungLabs/fcaf3d divides colours by 255 in the network. Where the data's are in [0, 1]
    already (SUN RGB-D), the stem's kernel takes that factor: ours are in [0, 1] everywhere.

    Raises:
        InputError: missing, truncated, neither format, or without a state_dict of tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    with path.open("rb") as file:
        begin = file.read(64)
    if is_lfs_pointer(begin):
        raise InputError(f"{path}: {LFS_REMEDY}")
    if path.suffix == ".safetensors" or _is_safetensors(begin, path.stat().st_size):
        return _said_where(_read_safetensors(path))
    content = read_torch_file(path)
    found = find_state_dict(content, path)
    weights = load_tensors(path, _renamed(found.weights))
    if wrote_bytes(found.weights) and _is_sunrgbd(weights):
        weights[_STEM] = weights[_STEM] / _COLOURS
    meta = content.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    naming, config, said = naming_of(found.weights), _exported(path, meta), _said(meta)
    return _said_where(Checkpoint(path, weights, naming, config, *said, found.about()))


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Put a file's weights into a model, every one of them.

    Raises:
        InputError: names what is missing, left over or of another shape.
    """
    put_weights(model, read_checkpoint(path))


def put_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Put weights into a model, every one of them.

    Raises:
        InputError: names what is missing, left over, of another shape, or not a number.
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
            f"{checkpoint.path}: does not fit the model ({'; '.join(problems)}); check the data "
            "set and the file"
        )
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{checkpoint.path}: {name} holds NaN or infinity; take another epoch")
    model.load_state_dict({**{name: own[name] for name in absent}, **weights})


def write_model(
    path: str | Path, model: Detector[Any], config: Config, source: Mapping[str, str]
) -> None:
    """A `.safetensors` that needs nothing beside it; atomically, and always the same bytes.

    config: the model's. source: words on where the weights are from.
    """
    about = {
        "format": FORMAT,
        "sr3d": __version__,
        "config": config.to_dict(),
        "classes": model.classes,
        "source": dict(source),
    }
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        # One entry, for the library writes several in an order that changes from run to run.
        save_file(weights, temporary, {_ABOUT: json.dumps(about, sort_keys=True)})


def write_foreign(path: str | Path, model: Detector[Any], config: Config, naming: Naming) -> None:
    """A checkpoint as mmengine and mmcv load it; atomically, and always the same bytes.

    For SamsungLabs/fcaf3d on SUN RGB-D the stem's kernel gets back the factor that
    `read_checkpoint` took; that one tensor can differ in the last bit from what was read.
    """
    fcaf3d = config.model.name == "fcaf3d"
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    if naming == "samsung" and fcaf3d and _is_sunrgbd(weights):
        weights[_STEM] = weights[_STEM] * _COLOURS
    state = OrderedDict((foreign_name(n, naming, fcaf3d), t) for n, t in weights.items())
    # Without a version, or with one below 2, mmdetection3d's detector renames `head.` once more.
    state._metadata = OrderedDict({"": {"version": 2}})  # type: ignore[attr-defined]
    classes = model.classes
    meta = {
        "CLASSES": classes,
        "dataset_meta": {"classes": classes},
        "sr3d_version": __version__,
        _META: json.dumps(config.to_dict(), sort_keys=True),
    }
    # To an open file, for torch writes the name of a path into the archive.
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        torch.save({"meta": meta, "state_dict": state}, file)


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # of a library in another language
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: not a readable checkpoint ({reason}); it is cut off (compare its size with "
            "the original), or no safetensors file"
        ) from None
    found = find_state_dict(state, path)
    weights, naming = _renamed(found.weights), naming_of(found.weights)
    if _ABOUT not in metadata:
        return Checkpoint(path, weights, naming, place=found.about())
    try:
        about = json.loads(metadata[_ABOUT])
        if about["format"] != FORMAT:
            raise ValueError(f"'{about['format']}', this sr3d reads '{FORMAT}'")
        config, classes = config_from_dict(about["config"]), tuple(about["classes"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _of_another_version(path, error) from None
    return Checkpoint(path, weights, naming, config, classes)


def _of_another_version(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: its configuration is not readable ({error}); convert it again")


def _exported(path: Path, meta: dict[Any, Any]) -> Config | None:
    """The configuration that `write_foreign` has put into a file."""
    if _META not in meta:
        return None
    try:
        return config_from_dict(json.loads(meta[_META]))
    except (AttributeError, TypeError, ValueError) as error:  # an InputError is one
        raise _of_another_version(path, error) from None


def _renamed(state: Mapping[str, Any]) -> dict[str, Any]:
    named = ((own_name(name), value) for name, value in state.items())
    return {name: value for name, value in named if name is not None}


def _is_safetensors(begin: bytes, size: int) -> bool:
    """Whether a file of another name begins with the length of a JSON header, and that header."""
    return begin[8:10] in (b'{"', b"{}") and int.from_bytes(begin[:8], "little") < size


def _said_where(checkpoint: Checkpoint) -> Checkpoint:
    """The same, after a line on where the weights were, if that is unusual."""
    if checkpoint.place:
        _log.info("%s: %s", checkpoint.path, checkpoint.place)
    return checkpoint


def _is_sunrgbd(weights: Mapping[str, Tensor]) -> bool:
    heads = [weights.get(f"bbox_head.conv_{part}.kernel") for part in ("reg", "cls")]
    return [None if head is None else head.shape[-1] for head in heads] == [8, 10]


def _said(meta: dict[Any, Any]) -> tuple[tuple[str, ...] | None, float | None]:
    """Classes and edge of a voxel, where mmcv (`CLASSES`, `config`) or mmengine wrote them."""
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
