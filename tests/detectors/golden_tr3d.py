"""The golden files' weights, rebuilt from their names as their README says."""

from __future__ import annotations

import zlib
from functools import cache

import numpy as np
import torch
from torch import Tensor

import sr3d
from sr3d.detectors.base import Detector
from tests.shared_data import shared


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(shared(f"golden/{name}")) as file:
        return dict(file)


def rebuilt_weights(model: Detector) -> dict[str, Tensor]:
    """In mmdet3d's naming, which is the model's own."""
    return {name: _rebuilt(name, tuple(t.shape)) for name, t in model.state_dict().items()}


def _rebuilt(name: str, shape: tuple[int, ...]) -> Tensor:
    seed = zlib.crc32(name.encode())
    draw = np.random.RandomState(seed).standard_normal(shape)
    a: np.ndarray = np.asarray(draw).astype(np.float32)
    if name.endswith("kernel"):
        head = "conv_reg" in name or "conv_cls" in name
        a = 0.05 * a if head else a * np.sqrt(2 / np.prod(shape[:-1]))
    elif name.endswith("running_var"):
        a = 0.75 + 0.5 * np.abs(a)
    elif name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    elif name.endswith("bn.weight"):
        a = 1 + 0.1 * a
    else:
        a = 0.1 * a
    return torch.from_numpy(np.asarray(a, dtype=np.float32))


@cache
def golden_model() -> Detector:
    model = sr3d.load("tr3d", dataset="scannet", untrained=True)
    model.load_state_dict(rebuilt_weights(model))
    return model
