"""A detector thin enough to be measured in a test."""

from __future__ import annotations

from typing import Any

from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.study.benchmarking.stages import STAGES
from sr3d.study.benchmarking.subject import Subject
from tests.family_configs import small_config

THIN = [
    "model.voxel_size=0.1",
    "model.stem_channels=8",
    "model.planes=[8,8,8,8]",
    "model.neck_channels=8",
    "test.sample_count=3000",
    "train.batch_size=2",
]
THIN_FCAF3D = [*THIN[:2], "model.planes=[8,8,8]", "model.neck_channels=8", "model.pts_prune=400"]


def subject(*overrides: str, dataset: str = "synthetic", **fields: Any) -> Subject:
    return Subject(with_overrides(default_config(dataset), [*THIN, *overrides]), **fields)


def fcaf3d(**fields: Any) -> Subject:
    overrides = ["model=fcaf3d", *THIN_FCAF3D]
    return Subject(with_overrides(default_config("synthetic"), overrides), **fields)


def on_points(name: str, **fields: Any) -> Subject:
    """A detector on points."""
    return Subject(small_config(name), **fields)


ON_VOXELS = ("voxelise", *(stage for stage in STAGES if stage != "points"))
