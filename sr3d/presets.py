"""Values of the configuration that go by a name and belong to no family of detectors.

Plain nested values, `{"train": {"epochs": 12, …}, …}`; what they leave out keeps its default. Each
family has presets of its own in `sr3d/detectors/*/config.py`, made of these parts.

Sources: the paper and its supplement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Values = dict[str, dict[str, Any]]

# Scenes that an epoch goes through at least, where the data are one's own and few.
_OWN_EPOCH, _SMALL_EPOCH = 1500, 160


@dataclass(frozen=True)
class DataFacts:
    """What presets depend on. scenes: number of training scenes of own data, 0 where unknown.
    rotated: whether boxes of own data have a yaw.
    """

    dataset: str
    scenes: int = 0
    rotated: bool = False

    @property
    def procedural(self) -> bool:
        """Whether the scenes are generated rooms."""
        return self.dataset in ("synthetic", "synthetic_rotated")

    @property
    def single_view(self) -> bool:
        """Whether the camera is the origin, so that rooms are not mirrored front to back."""
        return self.dataset in ("sunrgbd", "synthetic_rotated")


def rooms(rotated: bool) -> Values:
    """Training and evaluation on procedural rooms: small on purpose, 400 steps in about a minute.

    Rooms of one view show less of each object and have a yaw to learn: three times the steps, and
    no flip front to back, which would put the camera behind the room.
    """
    return {
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


def rooms_of(data: DataFacts) -> Values:
    """The same for the procedural data set that these facts are of."""
    return rooms(rotated=data.dataset == "synthetic_rotated")


def repeat(published: Mapping[str, int], data: DataFacts) -> int:
    """How often an epoch goes through the scenes: as published, or more often if these are few.

    A data set that no paper trains on takes the number of `own`. On own data an epoch is at least
    1500 scenes long, so that the schedule of 13 epochs has at least 1200 steps.
    """
    least = -(-_OWN_EPOCH // data.scenes) if data.scenes else 1
    return max(published.get(data.dataset, published["own"]), least)


def twelve_epochs(published: Mapping[str, int], data: DataFacts) -> dict[str, Any]:
    """The published schedule of TR3D and FCAF3D: 12 epochs without warm-up.

    On procedural rooms the schedule is the rooms' own. published: see `repeat`.
    """
    if data.procedural:
        return rooms_of(data)["train"]
    count = repeat(published, data)
    return {"epochs": 12, "milestones": [8, 11], "repeat": count, "warmup_iters": 0}


def evaluation_points(data: DataFacts) -> Values:
    """TR3D's evaluation: on 100,000 points where it draws points, on the rooms' own points."""
    if data.procedural:
        return {"test": rooms_of(data)["test"]}
    return {"test": {"sample_count": 100_000} if data.dataset in ("sunrgbd", "s3dis") else {}}


# TR3D's and FCAF3D's augmentation of single views, which the paper does not change: they are not
# flipped front to back, nor turned as little as whole rooms.
SINGLE_VIEW: Mapping[str, Any] = {
    "sample_count": 100_000,
    "flip_y": 0.0,
    "rotation": 30.0,
    "scale": [0.85, 1.15],
}


# A learning rate that falls along a cosine, step by step, after some epochs of warm-up.
COSINE: Mapping[str, Any] = {
    "milestones": [],
    "warmup_start_lr": 1e-6,
    "warmup_iters": 0,
    "schedule": "cosine",
    "schedule_by": "step",
    "min_lr": 1e-6,
}


def small_training(data: DataFacts) -> Values:
    """A schedule for a laptop. Few own scenes are repeated, so that a training run has the steps of
    the rooms: 400 or, with a yaw to learn, 1200.
    """
    train = rooms(data.single_view or data.rotated)["train"]
    if data.scenes:
        train["repeat"] = -(-_SMALL_EPOCH // data.scenes)
    return {"train": train}


def small_augmentation(data: DataFacts) -> Values:
    """The rooms' augmentation on any data set."""
    augment = rooms(data.single_view or data.rotated)["augment"]
    return {"augment": augment | {"flip_y": 0.0 if data.single_view else 0.5}}


def paper_augmentation(data: DataFacts) -> Values:
    """What the paper states, on every data set: the defaults."""
    return {"augment": {}}
