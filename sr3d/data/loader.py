"""Batches of augmented scenes whose every random draw follows from (seed, epoch, position).

So a training can go on from any step with the same batches, and the number of worker processes
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from sr3d.config import AugmentConfig
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene, table
from sr3d.data.transforms import augment
from sr3d.geometry.boxes import Boxes

Place = tuple[int, int, int]  # epoch, position in it, index of the scene


def generator_for(*numbers: int) -> torch.Generator:
    """A generator seeded by a tuple of non-negative integers, well mixed."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


@dataclass(frozen=True)
class TrainingScenes(TorchDataset[Scene]):
    """Scenes by place: the same place gives the same augmented scene."""

    scenes: PreparedDataset
    config: AugmentConfig
    seed: int

    def __getitem__(self, place: Place) -> Scene:
        epoch, position, index = place
        generator = generator_for(self.seed, epoch, position)
        rotated = self.scenes.manifest.rotated
        return augment(self.scenes[index], self.config, rotated, generator)


def epoch_batches(
    scenes: int, repeat: int, batch_size: int, seed: int, epoch: int
) -> list[list[Place]]:
    """The batches of one epoch over `repeat` copies of the set, shuffled; a short last one drops.

    A set smaller than one batch gives one short batch.
    """
    generator = generator_for(seed, epoch)
    order = torch.randperm(scenes * repeat, generator=generator).tolist()
    places = [(epoch, position, index % scenes) for position, index in enumerate(order)]
    size = min(batch_size, len(places))
    return [places[i : i + size] for i in range(0, len(places) - size + 1, size)]


def load_batches(
    dataset: TrainingScenes, batches: list[list[Place]], workers: int
) -> Iterator[list[Scene]]:
    """The scenes of each batch, in order, read ahead by worker processes if there are any."""
    if not workers:
        return ([dataset[place] for place in batch] for batch in batches)
    loader: DataLoader[Scene] = DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=_pack,
        num_workers=workers,
        multiprocessing_context="spawn",
    )
    return map(_unpack, loader)


@dataclass(frozen=True)
class _Packed:
    """A batch as three tensors: a worker hands over each tensor at a price, whatever its size.

    rows: (N, 6) points and colours of all scenes; boxes: (K, 7); labels: (K,).
    """

    ids: list[str]
    points: list[int]  # of each scene
    box_counts: list[int]
    rows: Tensor
    boxes: Tensor
    labels: Tensor


def _pack(scenes: list[Scene]) -> _Packed:
    return _Packed(
        [s.id for s in scenes],
        [len(s) for s in scenes],
        [len(s.boxes) for s in scenes],
        torch.cat([table(s) for s in scenes]),
        torch.cat([s.boxes.tensor for s in scenes]),
        torch.cat([s.labels for s in scenes]),
    )


def _unpack(batch: _Packed) -> list[Scene]:
    parts = (
        batch.ids,
        batch.rows.split(batch.points),
        batch.boxes.split(batch.box_counts),
        batch.labels.split(batch.box_counts),
    )
    return [
        Scene(scene, rows[:, :3], rows[:, 3:], Boxes(boxes), labels)
        for scene, rows, boxes, labels in zip(*parts, strict=True)
    ]
