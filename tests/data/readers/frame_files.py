"""A tiny SUN RGB-D in the official layout, written by the tests that read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sr3d.data.readers.sunrgbd import LABEL_FILES, SPLIT_FILE
from tests.data.readers.mat_files import write_mat

FOLDERS = ("SUNRGBD/kv1/b3dodata/img_0001", "SUNRGBD/kv2/a room/img 2", "SUNRGBD/xtion/r/img_3")
"""The first two are the test set, 000001 and 000002; the third, 000003, is the training set."""
TEST = FOLDERS[:2]
FRAME = FOLDERS[0]
META = LABEL_FILES["v2"]
DEPTH = np.array([[1000, 0, 2000, 9000], [1500, 1500, 0, 500], [700, 800, 900, 65535]])  # mm
COLOR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7
K = np.array([[2.0, 0, 2.5], [0, 4.0, 1.5], [0, 0, 1]])


def box(name: str = "chair", **fields: Any) -> dict[str, Any]:
    plain = {
        "classname": name,
        "centroid": np.array([0.5, 2.0, -0.25]),
        "coeffs": np.array([0.3, -0.5, 0.4]),  # half sizes; some are negative in the real files
        "orientation": np.array([0.6, 0.8, 0.0]),
        "basis": np.eye(3),
    }
    return {**plain, **fields}


def frame(folder: str, boxes: Any = None, prefix: str = "/n/fs/sun3d/data/", **fields: Any) -> Any:
    plain = {
        "sequenceName": folder,
        "depthpath": f"{prefix}{folder}/depth/d_abs.png",
        "rgbpath": f"{prefix}{folder}/image/c.png",
        "K": K,
        "Rtilt": np.eye(3),
        "groundtruth3DBB": [box()] if boxes is None else boxes,
    }
    return {**plain, **fields}


def write_official(
    root: Path,
    frames: list[Any] | None = None,
    version: str = "v5",
    test: tuple[str, ...] = TEST,
    train: tuple[str, ...] = FOLDERS[2:],
    prefix: str = "/n/fs/sun3d/data/",
) -> Path:
    for folder in dict.fromkeys((*test, *train)):
        write_frame(root / folder)
    write_meta(root, frames or [frame(folder) for folder in FOLDERS], version)
    lists = {
        "alltest": [f"{prefix}{name}/" for name in test],
        "alltrain": [prefix + name for name in train],
    }
    write_mat(root / SPLIT_FILE, version, **lists)
    return root


def write_meta(root: Path, frames: list[Any], version: str = "v5", labels: str = "v2") -> None:
    write_mat(root / LABEL_FILES[labels], version, SUNRGBDMeta=frames)


def write_frame(folder: Path, depth: np.ndarray = DEPTH, color: np.ndarray = COLOR) -> None:
    (folder / "depth").mkdir(parents=True, exist_ok=True)
    (folder / "image").mkdir(exist_ok=True)
    millimetres = depth.astype(np.uint16)
    turned = millimetres << 3 | millimetres >> 13  # as the official files keep them
    Image.fromarray(turned).save(folder / "depth" / "d_abs.png")
    Image.fromarray(color).save(folder / "image" / "c.png")
