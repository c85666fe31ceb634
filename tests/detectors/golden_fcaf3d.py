"""FCAF3D as the golden files have it: weights by SamsungLabs/fcaf3d's names, and their scans."""

from __future__ import annotations

import ast
import zlib
from functools import cache

import numpy as np
import torch
from torch import Tensor

import sr3d
from sr3d.data.datasets import SCANNET
from sr3d.data.mmdet3d.infos import read_infos
from sr3d.detectors.common.checkpoint_names import own_name
from sr3d.detectors.fcaf3d.detector import FCAF3D
from tests.shared_data import shared

HEADS = ("centerness_conv.kernel", "reg_conv.kernel", "cls_conv.kernel")
ONES = (".bn.weight", "backbone.conv1.1.weight", ".scale")


def theirs(keys: str) -> dict[str, Tensor]:
    """The state dict that the goldens were made with. keys: a file of names and shapes."""
    rows = shared(f"golden/{keys}").read_text().splitlines()
    return {
        name: _rebuilt(name, ast.literal_eval(shape))
        for name, shape in (row.split("\t") for row in rows)
    }


def ours(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under mmdetection3d's names, which are ours."""
    return {str(own_name(name)): tensor for name, tensor in state.items()}


def built(dataset: str, weights: dict[str, Tensor]) -> FCAF3D:
    model = sr3d.load("fcaf3d", dataset=dataset, untrained=True)
    assert isinstance(model, FCAF3D)
    model.load_state_dict(weights)
    return model


def scannet_cloud(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """scene0000_00, aligned in float32 as mmdetection3d does it, and colours in [0, 1]."""
    raw = _points("real/scannet/points/scene0000_00.bin")
    path = shared("real/scannet/infos/scannet_infos_train.pkl")
    (info,) = [info for info in read_infos(path, SCANNET.classes) if info.id == "scene0000_00"]
    assert info.alignment is not None
    matrix = info.alignment.astype(np.float32)
    points = raw[:, :3] @ matrix[:3, :3].T + matrix[:3, 3]
    return torch.from_numpy(points[rows]), torch.from_numpy(raw[rows, 3:] / np.float32(255))


def sunrgbd_cloud(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Frame 000017, and colours in [0, 1]."""
    raw = torch.from_numpy(_points("real/sunrgbd/points/000017.bin")[rows])
    return raw[:, :3], raw[:, 3:]


def _points(name: str) -> np.ndarray:
    return np.fromfile(shared(name), dtype=np.float32).reshape(-1, 6)


@cache  # most tensors of the two data sets are the same ones, and take seconds to draw
def _rebuilt(name: str, shape: tuple[int, ...]) -> Tensor:
    """By the fact sheet's rule."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    draw = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    a: np.ndarray = np.asarray(draw).astype(np.float32)
    if name.endswith(HEADS):
        a = 0.05 * a
    elif name.endswith("kernel"):
        a = a * np.sqrt(2 / np.prod(shape[:-1]))
    elif name.endswith("running_var"):
        a = 0.75 + 0.5 * np.abs(a)
    elif name.endswith(ONES):
        a = 1 + 0.1 * a
    else:
        a = 0.1 * a
    return torch.from_numpy(np.asarray(a, dtype=np.float32))
