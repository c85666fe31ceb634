"""Configurations of one family, for tests that read its own fields."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from sr3d.config import Config
from sr3d.data.datasets import get_dataset
from sr3d.detectors import FAMILIES
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.tr3d.config import TR3DConfig

C = TypeVar("C", bound=Config)
# The families that draw points instead of making voxels.
ON_POINTS = [
    name
    for name, family in FAMILIES.items()
    if hasattr(family.config.of_values({}).model, "num_points")
]


def of_family(kind: type[C], config: Config) -> C:
    """The configuration, which is of that family."""
    assert isinstance(config, kind)
    return config


def tr3d_config(dataset: str, *overrides: str) -> TR3DConfig:
    """TR3D's configuration of a data set."""
    return of_family(TR3DConfig, with_overrides(default_config(dataset), overrides))


def small_config(name: str, *overrides: str, points: int = 1024) -> Config:
    """The network for procedural rooms of a family on points, with fewer points."""
    given = [f"model={name}_small", f"model.num_points={points}", *overrides]
    config = with_overrides(default_config("synthetic"), given)
    sizes = ((1.0, 1.0, 1.0),) * len(get_dataset("synthetic").classes)
    return replace(config, mean_sizes=sizes)
