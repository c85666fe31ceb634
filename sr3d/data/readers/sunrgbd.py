"""Reads the original SUN RGB-D: depth images and Matlab files become points and oriented boxes.

The official folder contains

    SUNRGBD/<sensor>/.../<frame>/depth/*.png, image/*.jpg     the frames
    SUNRGBDMeta3DBB_v2.mat                                    cameras and boxes, version 2
    SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat                   the same, version 1
    SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat              the split

The rules are the same as in VoteNet's Matlab scripts (facebookresearch/votenet, `sunrgbd/matlab`)
and in mmdet3d's converter, but frames that fail are reported. The name of a scene is VoteNet's
frame number. The official test set is 000001 to 005050, the training set 005051 to 010335.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sr3d.data.datasets import SUNRGBD
from sr3d.data.prepared import Manifest, PreparedWriter
from sr3d.data.readers import published
from sr3d.data.readers.conversion import (
    ConversionOptions,
    Source,
    convert,
    folder_stamp,
    select_scenes,
)
from sr3d.data.readers.matlab import AGAIN, load_mat, struct_rows, texts
from sr3d.data.readers.rgbd import (
    check_rotation,
    read_color,
    read_depth,
    read_intrinsics,
    read_tilt,
    unproject,
)
from sr3d.data.scene import Scene, check_scene
from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes

Array = npt.NDArray[Any]

SPLIT_FILE = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
LABEL_FILES = {
    "v2": "SUNRGBDMeta3DBB_v2.mat",
    "v1": "SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat",
}
_REMEDY = "Download SUN RGB-D again (`sr3d download sunrgbd`)."


@dataclass(frozen=True)
class SunRgbdFrame:
    """The entry of a frame in the Matlab files.

    folder: its files, below the official folder. intrinsics (3, 3). tilt (3, 3) levels the camera.
    If absent, both are in the frame's own text files. boxes: (K, 7) float32. labels: (K,) int64 of
    the ten classes.
    """

    folder: str
    depth: str
    color: str
    intrinsics: Array | None
    tilt: Array | None
    boxes: Array
    labels: Array


def prepare_sunrgbd(
    raw: Path,
    out: Path,
    *,
    labels: str = "v2",
    points: int = 50_000,
    scenes: Sequence[str] | None = None,
    append: bool = False,
    how: ConversionOptions = ConversionOptions(),
) -> Manifest:
    """Turn the official folder into a prepared folder with the official split.

    raw: OFFICIAL_SUNRGBD, or its parent. labels: version of the boxes. points: number of points
    drawn once from each frame, with a seed that depends only on the frame. 0 keeps all. scenes:
    only these frames. By default all, whose number must equal the published one. append: add to the
    set in `out`.

    Raises:
        InputError: a missing or invalid file, or another number of frames. Nothing is written
            before all files are known to exist.
    """
    if points < 0:
        raise InputError("must be zero or more", field=f"--points {points}", kind=Kind.VALUE)
    root = raw / "OFFICIAL_SUNRGBD" if (raw / "OFFICIAL_SUNRGBD").is_dir() else raw
    if not root.is_dir():
        raise InputError(
            "no such folder",
            file=raw,
            kind=Kind.MISSING,
            remedy="Name SUN RGB-D's official folder with --raw.",
        )
    numbered = read_split(root / SPLIT_FILE)
    chosen = select_scenes({split: list(ids) for split, ids in numbered.items()}, scenes)
    meta = root / LABEL_FILES[labels]
    frames = read_frames(meta)
    sources = []
    for split, ids in chosen.items():
        for scene in ids:
            folder = numbered[split][scene]
            absent = InputError(
                f"has no frame {folder} ({scene} of {split})",
                file=meta,
                kind=Kind.EMPTY,
                remedy=_REMEDY,
            )
            frame = frames.get(folder, absent)
            if isinstance(frame, SunRgbdFrame):
                images = root / folder / frame.depth, root / folder / frame.color
                read = partial(read_frame, root, frame, scene, points)
                camera = folder_stamp(root / folder) + folder_stamp(root / folder / "extrinsics")
                sources.append(Source(split, scene, (*images, meta), read, camera))
            else:
                sources.append(Source(split, scene, (meta,), partial(_fail, frame)))
    sampled = f"{points} points a frame" if points else "all points"
    writer = PreparedWriter(
        out,
        "sunrgbd",
        SUNRGBD.classes,
        True,
        f"SUN RGB-D, official folder, {sampled}",
        labels=labels,
        append=append,
    )
    numbers = published.sunrgbd(labels)
    whole = numbers if scenes is None else numbers.of_some_scenes()
    return convert(sources, writer, whole, _REMEDY, how)


def read_frame(root: Path, frame: SunRgbdFrame, scene: str, points: int) -> Scene:
    """The points of a frame with its boxes, see `prepare_sunrgbd`.

    Raises:
        InputError: names the file, what is wrong with it and what to do.
    """
    folder = root / frame.folder
    depth, color = read_depth(folder / frame.depth), read_color(folder / frame.color)
    if depth.shape != color.shape[:2]:
        raise InputError(
            f"depth image {depth.shape} and colour image {color.shape[:2]} have different sizes",
            file=folder,
            kind=Kind.CONFLICT,
            remedy=_REMEDY,
        )
    intrinsics = read_intrinsics(folder) if frame.intrinsics is None else frame.intrinsics
    tilt = read_tilt(folder) if frame.tilt is None else frame.tilt
    xyz, rgb = unproject(depth, color, intrinsics, tilt, points, seed=int(scene))
    if len(xyz) == 0:
        raise InputError(
            "no pixel has a depth",
            file=folder / frame.depth,
            kind=Kind.VALUE,
            remedy=_REMEDY,
        )
    made = Scene(
        id=scene,
        points=torch.from_numpy(xyz),
        colors=torch.from_numpy(rgb),
        boxes=Boxes.from_array(frame.boxes),
        labels=torch.from_numpy(frame.labels),
    )
    check_scene(made, SUNRGBD.classes, str(folder))
    return made


def read_split(path: Path) -> dict[str, dict[str, str]]:
    """Split to scene id to frame folder. `val` is the official test set.

    Raises:
        InputError: not the split file, or one that lists a frame twice.
    """
    test, train = (texts(value) for value in load_mat(path, "alltest", "alltrain"))
    folders = [_below(name, path) for name in (*test, *train)]
    if twice := [name for name, count in Counter(folders).items() if count > 1]:
        raise InputError(
            f"lists the frame {twice[0]} twice", file=path, kind=Kind.CONFLICT, remedy=AGAIN
        )
    ids = [f"{number:06d}" for number in range(1, len(folders) + 1)]
    both = list(zip(ids, folders, strict=True))
    return {"train": dict(both[len(test) :]), "val": dict(both[: len(test)])}


def read_frames(path: Path) -> dict[str, SunRgbdFrame | InputError]:
    """Frame folder to its entry in a SUNRGBDMeta file, or to the error if the entry is invalid.

    Raises:
        InputError: the file cannot be read, or an entry does not name its frame.
    """
    (value,) = load_mat(path, "SUNRGBDMeta")
    try:
        rows = struct_rows(value, "depthpath")
    except (KeyError, ValueError) as error:
        raise InputError(
            str(error), file=path, field="SUNRGBDMeta", kind=Kind.VALUE, remedy=AGAIN
        ) from None
    frames: dict[str, SunRgbdFrame | InputError] = {}
    for number, row in enumerate(rows, start=1):
        depth = _below(row["depthpath"], path)
        folder = depth.rpartition("/depth/")[0]
        if folder in frames:
            raise InputError(
                f"has the frame {folder} twice", file=path, kind=Kind.CONFLICT, remedy=AGAIN
            )
        try:
            frames[folder] = _frame(row, folder, depth, path)
        except InputError as error:
            frames[folder] = error
        except (KeyError, ValueError, TypeError, IndexError) as error:
            fault = f"no field {error}" if isinstance(error, KeyError) else str(error)
            where = f"SUNRGBDMeta({number}), {folder}"
            frames[folder] = InputError(
                fault, file=path, field=where, kind=Kind.VALUE, remedy=AGAIN
            )
    return frames


def _fail(error: InputError) -> Scene:
    raise error


def _frame(row: Mapping[str, Any], folder: str, depth: str, path: Path) -> SunRgbdFrame:
    color = _below(row["rgbpath"], path)
    if not folder or not color.startswith(folder + "/"):
        raise ValueError(f"depthpath {depth} and rgbpath {color} are of different frames")
    boxes, labels = [], []
    for number, box in enumerate(struct_rows(row["groundtruth3DBB"], "classname"), start=1):
        if box["classname"] in SUNRGBD.classes:
            boxes.append(_box(box, f"groundtruth3DBB({number})"))
            labels.append(SUNRGBD.classes.index(box["classname"]))
    return SunRgbdFrame(
        folder=folder,
        depth=depth[len(folder) + 1 :],
        color=color[len(folder) + 1 :],
        intrinsics=_numbers(row, "K", (3, 3)) if _given(row, "K") else None,
        tilt=check_rotation(_numbers(row, "Rtilt", (3, 3))) if _given(row, "Rtilt") else None,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 7),
        labels=np.array(labels, dtype=np.int64),
    )


def _box(box: Mapping[str, Any], where: str) -> list[float]:
    """mmdet3d's reading: the heading is the box's x axis, along which its second half size lies."""
    try:
        center, half = _numbers(box, "centroid", (3,)), np.abs(_numbers(box, "coeffs", (3,)))
        heading = np.asarray(box["orientation"], dtype=np.float64).ravel()[:2]
        if len(heading) != 2 or not np.isfinite(heading).all() or not heading.any():
            raise ValueError(f"orientation is {heading}, which is no direction")
    except (KeyError, ValueError, TypeError) as error:
        fault = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{where}: {fault}") from None
    if half.min() <= 0:
        raise ValueError(f"{where}: a {box['classname']} has no extent, half sizes {half}")
    yaw = float(np.arctan2(heading[1], heading[0]))
    return [*center, 2 * half[1], 2 * half[0], 2 * half[2], yaw]


def _numbers(row: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Array:
    values = np.asarray(row[name], dtype=np.float64)
    if values.size != np.prod(shape) or not np.isfinite(values).all():
        raise ValueError(f"{name} must be {np.prod(shape)} numbers, and is {values.tolist()}")
    return values.reshape(shape)


def _given(row: Mapping[str, Any], name: str) -> bool:
    return np.size(row.get(name, ())) > 0


def _below(name: Any, path: Path) -> str:
    """A path from `SUNRGBD/` on. Copies of the data set differ in the part before it."""
    _, found, below = str(name).replace("\\", "/").rpartition("SUNRGBD/")
    if not found or ".." in below.split("/"):
        raise InputError(
            f"'{name}' is not below SUNRGBD/", file=path, kind=Kind.UNREADABLE, remedy=AGAIN
        )
    return f"SUNRGBD/{below.strip('/')}"
