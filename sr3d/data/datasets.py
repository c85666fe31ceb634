"""The data sets: their classes in order, whether boxes have a yaw, TR3D's level of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from sr3d.config import Config
from sr3d.data.scene import Scene
from sr3d.errors import InputError, Kind
from sr3d.validation import did_you_mean


@dataclass(frozen=True)
class Dataset:
    """classes: names, in the order of labels. rotated: boxes have a yaw. floor_at_zero: the floor
    of its scenes is at z = 0. Otherwise the camera is the origin, or the height is unknown.

    levels: TR3D's `label2level`, 0 for the fine level and 1 for the coarse level. The larger half
    of the classes by mean size is coarse (SamsungLabs/tr3d configs and issue 9). Empty if unknown.

    mean_sizes: per class the mean full size (dx, dy, dz) of its boxes in the training split, metres
    (ScanNet, SUN RGB-D: facebookresearch/votenet, `scannet_means.npz` and `model_util_sunrgbd.py`).
    For other data sets they are in the prepared manifest and, if the detector needs them, in the
    configuration. Empty if unknown.

    instances: whether its original files give the object of each point, so that prepared scenes can
    have `Scene.instance`.
    """

    name: str
    classes: tuple[str, ...]
    levels: tuple[int, ...]
    rotated: bool = False
    floor_at_zero: bool = False
    mean_sizes: tuple[tuple[float, float, float], ...] = ()
    instances: bool = False


SCANNET = Dataset(
    name="scannet",
    classes=(
        "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture",
        "counter", "desk", "curtain", "refrigerator", "showercurtrain", "toilet", "sink",
        "bathtub", "garbagebin",
    ),
    levels=(0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0),
    mean_sizes=(
        (0.76966726, 0.81160211, 0.92573741), (1.876858, 1.84255952, 1.19315654),
        (0.61327999, 0.61486087, 0.71827014), (1.39550063, 1.51215451, 0.83443565),
        (0.97949596, 1.06751485, 0.63296875), (0.53166301, 0.59555772, 1.75001483),
        (0.96247056, 0.72462326, 1.14818682), (0.83221924, 1.04909355, 1.68756634),
        (0.21132214, 0.4206159, 0.53728459), (1.44400728, 1.89708334, 0.26985747),
        (1.02942616, 1.40407966, 0.87554322), (1.37664116, 0.65521793, 1.68131292),
        (0.66508189, 0.71111926, 1.29885307), (0.41999174, 0.37906947, 1.75139715),
        (0.59359559, 0.59124924, 0.73919014), (0.50867595, 0.50656087, 0.30136236),
        (1.15115265, 1.0546296, 0.49706794), (0.47535286, 0.49249493, 0.58021168),
    ),
    floor_at_zero=True,
    instances=True,
)  # fmt: skip
SUNRGBD = Dataset(
    name="sunrgbd",
    classes=(
        "bed", "table", "sofa", "chair", "toilet", "desk", "dresser", "night_stand", "bookshelf",
        "bathtub",
    ),
    levels=(1, 1, 1, 0, 0, 1, 0, 0, 1, 0),
    mean_sizes=(
        (2.114256, 1.6203, 0.927272), (0.791118, 1.279516, 0.718182),
        (0.923508, 1.867419, 0.845495), (0.591958, 0.552978, 0.827272),
        (0.699104, 0.454178, 0.75625), (0.69519, 1.346299, 0.736364),
        (0.528526, 1.002642, 1.172878), (0.500618, 0.632163, 0.683424),
        (0.404671, 1.071108, 1.688889), (0.76584, 1.398258, 0.472728),
    ),
    rotated=True,
)  # fmt: skip
S3DIS = Dataset(
    name="s3dis",
    classes=("table", "chair", "sofa", "bookcase", "board"),
    levels=(1, 0, 1, 1, 0),
    floor_at_zero=True,
    instances=True,
)
# Procedural rooms: ScanNet's names and levels for the classes that the generator builds.
_ROOM_CLASSES = (
    "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "desk",
    "refrigerator", "toilet", "garbagebin",
)  # fmt: skip
_ROOM_LEVELS = tuple(SCANNET.levels[SCANNET.classes.index(name)] for name in _ROOM_CLASSES)
SYNTHETIC = Dataset("synthetic", _ROOM_CLASSES, _ROOM_LEVELS, floor_at_zero=True, instances=True)
SYNTHETIC_ROTATED = Dataset(
    "synthetic_rotated", _ROOM_CLASSES, _ROOM_LEVELS, rotated=True, instances=True
)

DATASETS = {d.name: d for d in (SCANNET, SUNRGBD, S3DIS, SYNTHETIC, SYNTHETIC_ROTATED)}


def dataset_of(config: Config) -> Dataset:
    """The data set of a configuration: one of the above, or the user's own data.

    Raises:
        InputError: own data without classes in the configuration, or mean sizes for another number
            of classes.
    """
    known = _own(config) if config.dataset == "own" else get_dataset(config.dataset)
    if not config.mean_sizes:
        return known
    if len(config.mean_sizes) != len(known.classes):
        raise InputError(
            f"{len(config.mean_sizes)} sizes for {len(known.classes)} classes",
            field="mean_sizes",
            kind=Kind.CONFLICT,
            remedy="Give one [dx, dy, dz] per class, or let `sr3d train` compute them.",
        )
    return replace(known, mean_sizes=config.mean_sizes)


def _own(config: Config) -> Dataset:
    own = config.own
    if not own.classes:
        raise InputError(
            "is empty, so the classes of dataset=own are unknown",
            field="own.classes",
            kind=Kind.EMPTY,
            remedy="Run `sr3d train --data DIR`, which takes them from the prepared folder. Or "
            "load the folder of a training run.",
        )
    return Dataset("own", own.classes, own.levels, own.rotated)


def get_dataset(name: str) -> Dataset:
    """The data set with this name.

    Raises:
        InputError: the name is unknown, or it is `own`, whose classes are in a folder.
    """
    if name == "own":
        raise InputError(
            "data set 'own' takes its classes from a prepared folder or a training run",
            field="dataset",
            kind=Kind.MISSING,
            remedy="Name that folder.",
        )
    if name not in DATASETS:
        raise InputError(
            f"unknown data set '{name}'{did_you_mean(name, list(DATASETS))}",
            field="dataset",
            kind=Kind.UNKNOWN,
        )
    return DATASETS[name]


def coarse_classes(scenes: Sequence[Scene], count: int) -> tuple[int, ...]:
    """TR3D's level of each class, `Dataset.levels`: 0 fine, 1 coarse.

    The larger half by mean volume is coarse. With an odd number of classes, the fine half has one
    class more. Classes without a box are fine.
    """
    labels = torch.cat([scene.labels for scene in scenes])
    volumes = torch.cat([scene.boxes.sizes.double().prod(dim=1) for scene in scenes])
    totals = torch.zeros(count, dtype=torch.float64).index_add(0, labels, volumes)
    mean = totals / torch.bincount(labels, minlength=count).clamp(min=1)
    larger = sorted(range(count), key=lambda i: -float(mean[i]))[: count // 2]
    return tuple(int(i in larger and float(mean[i]) > 0) for i in range(count))
