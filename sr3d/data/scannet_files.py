"""ScanNet's file names, and the axis alignment in its files."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sr3d.errors import InputError, Kind

LABEL_MAP = "scannetv2-labels.combined.tsv"
SPLITS = {"train": "scannetv2_train.txt", "val": "scannetv2_val.txt"}
SUFFIXES = ("_vh_clean_2.ply", "_vh_clean_2.0.010000.segs.json", ".aggregation.json", ".txt")
"""Suffixes after a scan's id: its mesh, segments, objects and alignment."""

Array = npt.NDArray[Any]


def check_alignment(numbers: Any, source: str) -> Array:
    """(4, 4) float64, a rotation about z and a translation, from 16 numbers in rows.

    Raises:
        InputError: the numbers are not such a matrix. The message starts with `source`.
    """
    try:
        matrix = np.array(numbers, dtype=np.float64).reshape(4, 4)
    except (TypeError, ValueError):
        raise InputError(
            f"{source} must be 16 numbers", kind=Kind.VALUE, remedy="Download the file again."
        ) from None
    turn = matrix[:3, :3]
    if not (
        np.isfinite(matrix).all()
        and np.allclose(turn @ turn.T, np.eye(3), atol=1e-3)
        and np.linalg.det(turn) > 0
        and turn[2, 2] > 0.999
        and np.allclose(matrix[3], [0, 0, 0, 1])
    ):
        raise InputError(
            f"{source} must be a rotation about z and a shift",
            kind=Kind.VALUE,
            remedy="Download the file again.",
        )
    return matrix


def align(points: Array, matrix: Array) -> Array:
    """(N, 3) float32 points moved by a (4, 4) matrix, in float64 and then rounded.

    Written out, so all machines round equally. A matrix product may fuse its additions.
    """
    x, y, z = points.astype(np.float64).T
    rows = [a * x + b * y + c * z + d for a, b, c, d in matrix[:3].tolist()]
    return np.stack(rows, axis=1).astype(np.float32)
