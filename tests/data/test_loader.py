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


def test_other_scenes_take_the_places_of_replaced_ones() -> None:
    def shown(replaced: list[int], epoch: int = 0) -> list[int]:
        batches = epoch_batches(40, 5, 4, seed=1, epoch=epoch, replaced=replaced)
        return [index for batch in batches for _, _, index in batch]

    before, after = shown([]), shown([3, 17, 20])
    assert len(after) == len(before) == 200
    assert not {3, 17, 20} & {*after}
    kept = [new for old, new in zip(before, after, strict=True) if old not in (3, 17, 20)]
    assert kept == [old for old in before if old not in (3, 17, 20)]
    drawn = [new for old, new in zip(before, after, strict=True) if old in (3, 17, 20)]
    assert len(drawn) == 15
    assert len({*drawn}) > 5  # not always the same one
    assert shown([3, 17, 20]) == after
    assert shown([3, 17, 20], epoch=1) != after


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
