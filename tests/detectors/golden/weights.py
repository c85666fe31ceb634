"""The weights of the golden files, rebuilt from their names as the fact sheets say."""

from __future__ import annotations

import ast
import zlib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

import sr3d
from sr3d.detectors.base import Detector
from tests.detectors.golden.comparing import Golden

Shapes = Mapping[str, tuple[int, ...]]
D = TypeVar("D", bound=Detector[Any, Any])


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a state dict from `FAMILY_keys.txt`."""
    rows = (row.split("\t") for row in path.read_text().splitlines())
    return {name: ast.literal_eval(shape) for name, shape in rows}


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a state dict."""
    return {name: tuple(value.shape) for name, value in weights.items()}


def rebuilt(
    shapes: Shapes,
    scales: Mapping[str, float] | None = None,
    constants: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """Weights by their published names: normal draws, seeded by the name and scaled by its kind.

    scales: factors instead of the rule's, by a pattern of names (`*head.weight`). constants:
    values instead of draws, likewise. The first pattern that matches counts.
    """
    return {
        name: _rebuilt(name, shape, _first(scales or {}, name), _first(constants or {}, name))
        for name, shape in shapes.items()
    }


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32, for weights that follow a rule of their own."""
    state = np.random.RandomState(zlib.crc32(name.encode()))
    return np.asarray(state.standard_normal(shape)).astype(np.float32)


def _first(table: Mapping[str, float], name: str) -> float | None:
    return next((value for pattern, value in table.items() if fnmatchcase(name, pattern)), None)


def _rebuilt(
    name: str, shape: tuple[int, ...], scale: float | None, constant: float | None
) -> Tensor:
    if constant is not None:
        return torch.full(shape, constant)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    a, last = draw(name, shape), name.rsplit(".", 1)[-1]
    if scale is not None:
        a = a * np.float32(scale)
    elif last == "running_var":
        a = np.float32(0.75) + np.float32(0.5) * np.abs(a)
    elif last.endswith("weight") and a.ndim >= 2:
        a = a * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    elif last == "kernel":  # of a sparse convolution, output channels last
        a = a * np.float32(np.sqrt(2 / np.prod(shape[:-1])))
    elif last in ("weight", "scale"):
        a = 1 + np.float32(0.1) * a
    else:  # running means and biases
        a = np.float32(0.1) * a
    return torch.from_numpy(np.asarray(a, dtype=np.float32))


def through_file(
    kind: type[D], family: str, golden: Golden, path: Path, content: Mapping[str, Any]
) -> D:
    """The detector with a checkpoint, written as its original writes it and loaded by name."""
    torch.save(dict(content), path)
    loaded = sr3d.load(family, dataset=golden.dataset, checkpoint=path)
    path.unlink()
    assert isinstance(loaded, kind)
    return loaded
