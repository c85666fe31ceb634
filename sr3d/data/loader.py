"""Batches of augmented scenes. (seed, epoch, position) determines every random draw.

So a training run resumes from any step with the same batches, whatever the number of threads is.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from sr3d.config import AugmentConfig
from sr3d.data.parallel import threaded_map
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.data.transforms import augment, pick_points

Place = tuple[int, int, int]  # epoch, position in it, index of the scene


def generator_for(*numbers: int) -> torch.Generator:
    """A generator seeded by a tuple of non-negative integers, well mixed."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


@dataclass(frozen=True)
class TrainingScenes:
    """Scenes by place. The same place always gives the same augmented scene."""

    scenes: PreparedDataset
    config: AugmentConfig
    seed: int

    def __getitem__(self, place: Place) -> Scene:
        epoch, position, index = place
        generator = generator_for(self.seed, epoch, position)
        rotated = self.scenes.manifest.rotated
        return augment(self.scenes[index], self.config, rotated, generator)


def epoch_batches(
    scenes: int,
    repeat: int,
    batch_size: int,
    seed: int,
    epoch: int,
    replaced: Sequence[int] = (),
    keep_last: bool = False,
) -> list[list[Place]]:
    """The shuffled batches of one epoch over `repeat` copies of the set.

    replaced: indices of scenes that are not used. At least one scene must remain. A random other
    scene takes the place of each, so the length of an epoch stays the same (mmdetection3d's
    `filter_empty_gt`). keep_last: whether to keep a short last batch. An only batch is kept anyway.
    """
    generator = generator_for(seed, epoch)
    order = torch.randperm(scenes * repeat, generator=generator) % scenes
    if replaced:
        gone = torch.isin(order, torch.tensor(replaced))
        shown = torch.tensor(sorted({*range(scenes)} - {*replaced}))
        drawn = torch.randint(len(shown), (int(gone.sum()),), generator=generator)
        order[gone] = shown[drawn]
    places = [(epoch, position, index) for position, index in enumerate(order.tolist())]
    size = min(batch_size, len(places))
    end = len(places) if keep_last else len(places) - size + 1
    return [places[i : i + size] for i in range(0, end, size)]


def load_batches(
    dataset: TrainingScenes, batches: list[list[Place]], workers: int, pin: bool = False
) -> Generator[list[Scene], None, None]:
    """The scenes of each batch, in order. Threads, if any, read two batches ahead.

    Threads are used because copying a scene between processes takes longer than its augmentation.
    pin: use pinned memory, from which a GPU copies asynchronously.
    """
    if not batches:
        return
    places = [place for batch in batches for place in batch]

    def load(place: Place) -> Scene:
        return pinned(dataset[place]) if pin else dataset[place]

    if workers:
        scenes = threaded_map(load, places, workers, ahead=2 * len(batches[0]))
    else:
        scenes = (load(place) for place in places)
    with closing(scenes):
        for batch in batches:
            yield list(islice(scenes, len(batch)))


def pinned(scene: Scene) -> Scene:
    """The same scene with its per-point tensors in pinned memory."""
    return scene.with_points(_pinned(scene.points), _pinned(scene.colors), _pinned)


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device, copied to a GPU without synchronisation."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = _pinned(tensor)
    return tensor.to(device, non_blocking=True)


def in_random_order(scene: Scene, generator: torch.Generator) -> Scene:
    """The scene with its points in random order, on their device. The order is drawn on the CPU."""
    order = torch.randperm(len(scene), generator=generator)
    return pick_points(scene, on_device(order, scene.points.device))


def _pinned(tensor: Tensor) -> Tensor:
    """Contiguous: PyTorch first copies a strided tensor to memory that is not pinned."""
    return tensor.contiguous().pin_memory()
