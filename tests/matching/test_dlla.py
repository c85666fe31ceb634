"""DLLA's assigner against its rule written as loops, scene by scene."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sr3d.matching.dlla import match_by_distance


def by_loops(distance: Tensor) -> list[int]:
    """distance: (W, M) of one scene without padding."""
    owner = distance.argmin(dim=1).tolist()
    for truth in range(distance.shape[1]):
        owner[int(distance[:, truth].argmin())] = truth
    return owner


@pytest.mark.parametrize("sizes", [[(9, 4), (5, 7), (1, 1)], [(3, 1), (12, 2), (2, 6)]])
def test_scenes_are_matched_as_alone(sizes: list[tuple[int, int]]) -> None:
    draw = torch.Generator().manual_seed(len(sizes))
    widest, most = (max(column) for column in zip(*sizes, strict=True))
    # Padding is nearer than everything else, and must not count.
    distance = torch.full((len(sizes), widest, most), -1.0)
    candidates = torch.zeros(len(sizes), widest, dtype=torch.bool)
    truths = torch.zeros(len(sizes), most, dtype=torch.bool)
    for scene, (w, m) in enumerate(sizes):
        distance[scene, :w, :m] = torch.rand(w, m, generator=draw)
        candidates[scene, :w], truths[scene, :m] = True, True
    found = match_by_distance(distance, candidates, truths)
    for scene, (w, m) in enumerate(sizes):
        assert found[scene, :w].tolist() == by_loops(distance[scene, :w, :m])
    assert int(found.min()) >= 0
    assert int(found.max()) < most


def test_every_ground_truth_gets_a_candidate_and_the_last_of_several_wins() -> None:
    here = torch.ones(1, 3, dtype=torch.bool)
    near_one = torch.tensor([[[1.0, 5, 9], [2, 6, 8], [3, 7, 7]]])
    # All candidates are nearest to ground truth 0. Candidate 0 is nearest to 0 and 1, 2 to 2.
    assert match_by_distance(near_one, here, here).tolist() == [[1, 0, 2]]


def test_scenes_without_candidates_or_ground_truths_do_no_harm() -> None:
    no, yes = torch.zeros(1, 2, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)
    distance = torch.rand(1, 2, 2)
    for candidates, truths in ((no, yes), (yes, no), (no, no)):
        assert match_by_distance(distance, candidates, truths).isfinite().all()
