"""A scan from a file of whichever kind it comes in."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from sr3d.data.mmdet3d.reader import color_scale, read_cloud
from sr3d.data.readers.scannet import read_mesh
from sr3d.errors import InputError

_KINDS = ".npy or .npz (N, 6), .bin as mmdet3d has it, or .ply"


def read_scan(path: Path, dataset: str) -> tuple[Tensor, Tensor]:
    """Points (N, 3) float32 in metres, z up, and colours (N, 3) in [0, 1].

    `.npy`: (N, 6) x, y, z, r, g, b. `.npz`: the same as `points`. `.bin`: float32, colours as
    mmdet3d has those of the data set. `.ply`: vertices with red, green, blue from 0 to 255.

    Raises:
        InputError: missing, of another kind or shape, empty, not finite, colours beyond [0, 1].
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; pass a scan, {_KINDS}")
    match path.suffix.lower():
        case ".npy" | ".npz":
            rows = _numpy(path)
        case ".bin":
            rows = read_cloud(path).copy()
            rows[:, 3:] /= color_scale(dataset)
        case ".ply":
            rows = np.concatenate(read_mesh(path), axis=1)
        case kind:
            raise InputError(f"{path}: '{kind}' is no kind of scan; pass {_KINDS}")
    if rows.ndim != 2 or rows.shape[1] != 6 or len(rows) == 0:
        raise InputError(f"{path}: the shape is {rows.shape}; make it (N, 6): x, y, z, r, g, b")
    if not np.isfinite(rows).all():
        raise InputError(f"{path}: NaN or infinity; drop such points first")
    low, high = rows[:, 3:].min(), rows[:, 3:].max()
    if low < 0 or high > 1:
        raise InputError(f"{path}: colours span {low:.3g} to {high:.3g}; scale them to 0 to 1")
    points = torch.from_numpy(rows)
    return points[:, :3], points[:, 3:]


def _numpy(path: Path) -> np.ndarray:
    try:
        value = np.load(path, allow_pickle=False)
        if path.suffix.lower() == ".npz":
            with value:
                value = value["points"]
        return np.ascontiguousarray(value, dtype=np.float32)
    except KeyError:
        raise InputError(f"{path}: has no array `points`; name it so") from None
    except (OSError, ValueError, EOFError, BadZipFile, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); write it again") from None
