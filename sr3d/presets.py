"""Values of the configuration that go by a name: of data sets, and of published detectors.

Plain nested values, `{"train": {"epochs": 12, …}, …}`; what they leave out keeps its default.
`config` checks and applies them: `model=fcaf3d` says all of the group `model` and, where the one
does not make sense without the other, single fields of other groups.

Sources: the paper and its supplement; configs of SamsungLabs/tr3d and open-mmlab/mmdetection3d.
"""

from __future__ import annotations

from typing import Any

Values = dict[str, dict[str, Any]]

PRESETS = {
    "model": ("tr3d", "fcaf3d", "small", "fcaf3d_small"),
    "train": ("tr3d", "fcaf3d", "small"),
    "augment": ("sr3d", "tr3d", "fcaf3d", "paper", "small"),
}
_PROCEDURAL = ("synthetic", "synthetic_rotated")
_SINGLE_VIEW = ("sunrgbd", "synthetic_rotated")
_REPEAT = {
    "tr3d": {"scannet": 15, "sunrgbd": 5, "s3dis": 13, "own": 15},
    "fcaf3d": {"scannet": 10, "sunrgbd": 3, "s3dis": 13, "own": 10},
}
# Scenes that an epoch goes through at least, where the data are one's own and few.
_OWN_EPOCH, _SMALL_EPOCH = 1500, 160


def dataset_values(dataset: str, scenes: int = 0) -> Values:
    """The paper's training on a data set; for procedural rooms, one that two cores can do.

    scenes: how many there are of one's own, 0 where that is unknown. On these it is ScanNet's
    training, but an epoch is at least 1500 scenes long, so that the schedule of 13 epochs has at
    least 1200 steps.
    """
    if dataset in _PROCEDURAL:
        return _rooms(rotated=dataset == "synthetic_rotated")
    if dataset == "scannet":
        return {}
    if dataset == "own":
        return {"train": {"repeat": _repeat("tr3d", dataset, scenes)}}
    return {
        "augment": _augment("sr3d", dataset),
        "train": {"repeat": _REPEAT["tr3d"][dataset]},
        "test": {"sample_count": 100_000},
    }


def preset(group: str, name: str, dataset: str, scenes: int = 0, rotated: bool = False) -> Values:
    """What `group=name` sets on a data set. The name must be one of `PRESETS[group]`.

    On procedural rooms networks are thin and `train` is the rooms' own, whatever the name. `small`
    is what they use, for any data set; `fcaf3d_small` their FCAF3D. scenes, rotated: of one's own
    data, see `config.OwnData`.
    """
    if name == "small":
        return {group: _small(dataset, scenes, rotated)[group]}
    match group:
        case "model":
            if name == "tr3d":
                return _tr3d(dataset)
            return _fcaf3d(thin=name == "fcaf3d_small" or dataset in _PROCEDURAL)
        case "train":
            return {"train": _train(name, dataset, scenes)}
        case "augment":
            return {"augment": _augment(name, dataset)}
    raise ValueError(f"no presets of '{group}'")


def _tr3d(dataset: str) -> Values:
    return {"model": dict(_ROOMS_MODEL) if dataset in _PROCEDURAL else {}}


def _fcaf3d(thin: bool) -> Values:
    """FCAF3D goes with an assigner and losses of its own, and is tested on 100,000 points.

    The thin one, of procedural rooms, has three levels, of 0.16, 0.32 and 0.64 m: no piece of
    furniture holds the 27 cells of 1.28 m that its assigner asks for.
    """
    network: dict[str, Any] = {"planes": [64, 128, 256, 512]}
    test: dict[str, Any] = {"sample_count": 100_000}
    if thin:
        network, test = {**_ROOMS_MODEL, "planes": [16, 24, 48], "blocks": [1, 1, 1]}, {}
    return {
        "model": {**network, "name": "fcaf3d", "stem_norm": "instance"},
        "assigner": {"name": "fcaf3d"},
        "loss": {"cls": "focal"},
        "test": test,
    }


def _small(dataset: str, scenes: int, rotated: bool) -> Values:
    """A network and a schedule for a laptop. Few scenes of one's own are gone through as often as
    makes the steps of the rooms, 400 or, with a yaw to learn, 1200.
    """
    single_view = dataset in _SINGLE_VIEW
    values = _rooms(rotated=single_view or rotated)
    values["augment"]["flip_y"] = 0.0 if single_view else 0.5
    if scenes:
        values["train"]["repeat"] = -(-_SMALL_EPOCH // scenes)
    return values


def _repeat(name: str, dataset: str, scenes: int) -> int:
    """How often an epoch goes through the scenes: as published, or more often if these are few.

    A data set that no paper trains on takes ScanNet's number.
    """
    least = -(-_OWN_EPOCH // scenes) if scenes else 1
    return max(_REPEAT[name].get(dataset, _REPEAT[name]["own"]), least)


def _train(name: str, dataset: str, scenes: int) -> dict[str, Any]:
    """As published: 12 epochs without warm-up; the rest is common to the paper and to both.

    FCAF3D's configurations, of SamsungLabs and of mmdetection3d, replace scenes without boxes
    (`filter_empty_gt=True`); TR3D's keep them, in both repositories and on every data set.
    """
    if dataset in _PROCEDURAL:
        return dataset_values(dataset)["train"]
    values = {
        "epochs": 12,
        "milestones": [8, 11],
        "repeat": _repeat(name, dataset, scenes),
        "warmup_iters": 0,
    }
    return values | ({"filter_empty_gt": True} if name == "fcaf3d" else {})


def _augment(name: str, dataset: str) -> dict[str, Any]:
    """`sr3d`: what the paper states, and TR3D's on the data sets of which it is silent (single
    views are not flipped front to back, nor turned as little as whole rooms). `tr3d`, `fcaf3d`:
    theirs; for `fcaf3d`, on procedural rooms, the rooms' own. `paper`: what the paper states, on
    every data set.
    """
    single_view = {
        "sample_count": 100_000,
        "flip_y": 0.0,
        "rotation": 30.0,
        "scale": [0.85, 1.15],
    }
    match name, dataset:
        case (("tr3d" | "sr3d" | "fcaf3d"), "sunrgbd"):
            return single_view
        case (("tr3d" | "sr3d"), "s3dis"):
            return {"sample_count": 100_000, "rotation": 0.0, "scale": [0.95, 1.05]}
        case "tr3d", _:
            return {"rotation": 1.1459156, "scale": [0.9, 1.1]}  # 0.02 rad
        case "fcaf3d", ("scannet" | "s3dis" | "own"):
            return {"sample_count": 100_000, "scale": [0.9, 1.1]}
        case "fcaf3d", _:
            return dataset_values(dataset).get("augment", {})
    return {}


_ROOMS_MODEL = {
    "voxel_size": 0.08,
    "stem_channels": 16,
    "stem_stride": 1,
    "stem_pool": False,
    "planes": [16, 24, 48, 64],
    "blocks": [1, 1, 1, 1],
    "neck_channels": 24,
}


def _rooms(rotated: bool) -> Values:
    """Small on purpose: a thin network and coarse voxels, 400 steps in about a minute.

    Rooms of one view show less of each object and have a yaw to learn: three times the steps, and
    no flip front to back, which would put the camera behind the room.
    """
    return {
        "model": dict(_ROOMS_MODEL),
        "augment": {
            "sample_fraction": [0.5, 1.0],
            "flip_y": 0.0 if rotated else 0.5,
            "scale": [0.9, 1.1],
            "translation": 0.1,
            "rotation": 5.0,
        },
        "train": {
            "epochs": 15 if rotated else 5,
            "milestones": [12] if rotated else [4],
            "repeat": 1,
            "batch_size": 2,
            "lr": 4e-3,
            "warmup_iters": 20,
        },
        "test": {"sample_count": 15_000, "nms_pre": 300},
    }
