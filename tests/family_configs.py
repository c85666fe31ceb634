"""Configurations of one family, for tests that read its own fields."""

from __future__ import annotations

from typing import TypeVar

from sr3d.config import Config
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.tr3d.config import TR3DConfig

C = TypeVar("C", bound=Config)


def of_family(kind: type[C], config: Config) -> C:
    """The configuration, which is of that family."""
    assert isinstance(config, kind)
    return config


def tr3d_config(dataset: str, *overrides: str) -> TR3DConfig:
    """TR3D's configuration of a data set."""
    return of_family(TR3DConfig, with_overrides(default_config(dataset), overrides))
