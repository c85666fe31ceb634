"""What each data set is: its classes in order, whether boxes turn, TR3D's level of each class."""

from __future__ import annotations

from dataclasses import dataclass

from sr3d.config import Config, did_you_mean
from sr3d.errors import InputError


@dataclass(frozen=True)
class Dataset:
    """classes: names, the label is the index. rotated: boxes have a yaw. floor_at_zero: the floor
    of its scenes lies at z = 0; elsewhere the camera is the origin, or the height is unknown.

    levels: TR3D's `label2level`, 0 the fine level and 1 the coarse one: the larger half of the
    classes by mean size is coarse (SamsungLabs/tr3d configs and issue 9). Empty where unknown.
    """

    name: str
    classes: tuple[str, ...]
    levels: tuple[int, ...]
    rotated: bool = False
    floor_at_zero: bool = False


SCANNET = Dataset(
    name="scannet",
    classes=(
        "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture",
        "counter", "desk", "curtain", "refrigerator", "showercurtrain", "toilet", "sink",
        "bathtub", "garbagebin",
    ),
    levels=(0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0),
    floor_at_zero=True,
)  # fmt: skip
SUNRGBD = Dataset(
    name="sunrgbd",
    classes=(
        "bed", "table", "sofa", "chair", "toilet", "desk", "dresser", "night_stand", "bookshelf",
        "bathtub",
    ),
    levels=(1, 1, 1, 0, 0, 1, 0, 0, 1, 0),
    rotated=True,
)  # fmt: skip
S3DIS = Dataset(
    name="s3dis",
    classes=("table", "chair", "sofa", "bookcase", "board"),
    levels=(1, 0, 1, 1, 0),
    floor_at_zero=True,
)
# Procedural rooms: ScanNet's names and levels for the classes that the generator builds.
_ROOM_CLASSES = (
    "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "desk",
    "refrigerator", "toilet", "garbagebin",
)  # fmt: skip
_ROOM_LEVELS = tuple(SCANNET.levels[SCANNET.classes.index(name)] for name in _ROOM_CLASSES)
SYNTHETIC = Dataset("synthetic", _ROOM_CLASSES, _ROOM_LEVELS, floor_at_zero=True)
SYNTHETIC_ROTATED = Dataset("synthetic_rotated", _ROOM_CLASSES, _ROOM_LEVELS, rotated=True)

DATASETS = {d.name: d for d in (SCANNET, SUNRGBD, S3DIS, SYNTHETIC, SYNTHETIC_ROTATED)}


def dataset_of(config: Config) -> Dataset:
    """The data set of a configuration: one of those above, or what it says of one's own data.

    Raises:
        InputError: it says nothing of them.
    """
    if config.dataset != "own":
        return get_dataset(config.dataset)
    own = config.own
    if not own.classes:
        raise InputError(
            "dataset=own: own.classes is empty; `sr3d train --data DIR` takes it from the prepared "
            "folder, and a training's folder has it"
        )
    return Dataset("own", own.classes, own.levels, own.rotated)


def get_dataset(name: str) -> Dataset:
    """The data set of that name.

    Raises:
        InputError: there is none, or it is one's own, which no name tells.
    """
    if name == "own":
        raise InputError(
            "data set 'own': its classes are those of a prepared folder or of a training; name "
            "that folder"
        )
    if name not in DATASETS:
        raise InputError(f"unknown data set '{name}'{did_you_mean(name, list(DATASETS))}")
    return DATASETS[name]
