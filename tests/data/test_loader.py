from pathlib import Path

import torch

from sr3d.config import AugmentConfig
from sr3d.data.loader import TrainingScenes, epoch_batches, load_batches
from sr3d.data.prepared import PreparedDataset


def test_an_epoch_shows_every_scene_as_often_as_it_repeats() -> None:
    batches = epoch_batches(scenes=5, repeat=4, batch_size=5, seed=1, epoch=0)
    assert [len(b) for b in batches] == [5, 5, 5, 5]
    shown = [index for batch in batches for _, _, index in batch]
    assert sorted(shown) == sorted(list(range(5)) * 4)
    assert batches != epoch_batches(5, 4, 5, seed=1, epoch=1)
    assert batches == epoch_batches(5, 4, 5, seed=1, epoch=0)


def test_a_short_last_batch_drops_and_a_tiny_set_gives_one() -> None:
    assert [len(b) for b in epoch_batches(7, 1, 3, 0, 0)] == [3, 3]
    assert [len(b) for b in epoch_batches(2, 1, 16, 0, 0)] == [2]


def test_batches_do_not_depend_on_the_workers(rooms: Path) -> None:
    dataset = TrainingScenes(PreparedDataset(rooms, "train"), AugmentConfig(), seed=3)
    batches = epoch_batches(len(dataset.scenes), 1, 2, seed=3, epoch=0)
    alone = list(load_batches(dataset, batches, workers=0))
    helped = list(load_batches(dataset, batches, workers=2))
    assert [[s.id for s in b] for b in alone] == [[s.id for s in b] for b in helped]
    for one, other in zip(alone, helped, strict=True):
        for s, t in zip(one, other, strict=True):
            assert torch.equal(s.points, t.points)
            assert torch.equal(s.boxes.tensor, t.boxes.tensor)
