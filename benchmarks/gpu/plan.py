"""What a stage measures on: the device, the sizes, and the scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sr3d.config import Config
from sr3d.data.scene import point_table
from sr3d.detectors import FAMILIES
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.needs import with_mean_sizes
from sr3d.run_setting import configure
from sr3d.settings import read_settings
from sr3d.study.benchmarking.subject import (
    PreparedScenes,
    Rooms,
    SceneSource,
    Subject,
    mean_sizes,
)


@dataclass(frozen=True)
class Plan:
    """The full size on a GPU, by default.

    dataset: of configurations and scenes. overrides: of SR3D's configuration. scenes, repeats: of a
    latency. batch: scenes per training step. compared: points of a scene in training steps that the
    CPU takes too, with `threads` threads. data: a prepared folder of the data set. scan: an .npz
    file with `points` (N, 6), metres and colours in [0, 1]. Without them, scenes are procedural
    rooms.
    """

    device: str = "cuda"
    dataset: str = "scannet"
    overrides: tuple[str, ...] = ()
    scenes: int = 4
    repeats: int = 10
    batch: int = 16
    compared: int = 20_000
    threads: int = 8
    data: Path | None = None
    scan: Path | None = None

    @property
    def dry(self) -> bool:
        return self.device == "cpu"

    @property
    def source(self) -> SceneSource:
        if self.data:
            return PreparedScenes(self.dataset, self.data, "val", self.scenes)
        return Rooms(self.dataset, self.scenes)

    def points(self) -> Tensor:
        """One scan (N, 6), on the CPU."""
        if self.scan:
            return torch.from_numpy(np.load(self.scan)["points"]).float()
        return point_table(replace(self, scenes=1).source.load()[0])

    def sr3d(self, *overrides: str, compiled: str | None = None) -> Subject:
        """SR3D with random weights."""
        config = with_overrides(default_config(self.dataset), [*self.overrides, *overrides])
        return Subject(config, device=self.device, compiled=compiled)

    def detector(self, setting: str) -> Subject:
        """The detector of a setting, with random weights."""
        config = configure(read_settings(), setting, default_config(self.dataset)).config
        family, sizes = FAMILIES[config.model.name], partial(mean_sizes, self.source)
        return Subject(with_mean_sizes(config, family, sizes), device=self.device)


# A dry run: thin networks, one room, and the CPU, with Triton's kernels in its interpreter.
DRY = Plan(
    device="cpu",
    dataset="synthetic",
    overrides=(
        "model.voxel_size=0.2",
        "model.stem_channels=8",
        "model.planes=[8,8,8,8]",
        "model.neck_channels=8",
        "test.sample_count=3000",
    ),
    scenes=1,
    repeats=1,
    batch=1,
    compared=4_000,
    threads=1,
)


def networks(dataset: str) -> Sequence[str]:
    """One setting for each network that the package has for a data set."""
    start, found = default_config(dataset), dict[object, str]()
    for name, setting in read_settings().items():
        if setting.tests_of is None and dataset in setting.datasets:
            config: Config = configure({name: setting}, name, start).config
            found.setdefault(config.model, name)
    return list(found.values())
