"""Claims on candidates of several scenes, whose rows are filled up where a scene has fewer."""

import math

import pytest
import torch

from sr3d.matching.batching import Rows, Scenes
from sr3d.matching.dynamic_k import Candidates


def match(candidates, cost, iou, top_n=10):
    """Matches of the ten candidates, which are anchors 10 to 19."""
    candidate = torch.tensor(candidates)
    rows = Rows.make(torch.zeros(1, 3), Scenes(torch.zeros(1).long(), torch.zeros(1).long()))
    index = torch.arange(10, 20)
    chosen = Candidates(index, candidate, torch.zeros_like(candidate).bool(), rows)
    costs, ious = (torch.tensor(x, dtype=torch.float64) for x in (cost, iou))
    assigned = chosen.match(costs, ious, top_n, 20)
    assert (assigned[:10] == -1).all()
    return assigned[10:].tolist()


@pytest.mark.parametrize("cost", [5.0, math.inf, math.nan])
def test_what_fills_a_row_up_is_never_claimed(cost):
    # The second scene has one candidate; a cheaper filling must not take its place.
    found = match(
        [[0, 1, 2], [3, -1, -1]],
        [[1.0, 2.0, 3.0], [cost, 0.0, 0.0]],
        [[0.9, 0.9, 0.4], [0.2, 0.0, 0.0]],
    )
    assert found == [0, 0, -1, 1, *[-1] * 6]


def test_several_claims_go_to_the_least_cost_of_all_in_the_scene():
    # Both of the first two claim candidate 0; the third has not, but is cheaper. The fourth, of
    # another scene and cheaper still, has nothing to say.
    found = match(
        [[0, 1], [0, 1], [0, 1], [2, 3]],
        [[3.0, 4.0], [2.0, 4.0], [1.0, 0.5], [0.1, 0.2]],
        [[0.5, 0.0]] * 3 + [[0.0, 0.0]],
    )
    assert found[:4] == [2, 2, 3, -1]


def test_one_claim_is_kept_against_a_cheaper_ground_truth():
    found = match([[0, 1], [0, 1]], [[2.0, 9.0], [1.0, 0.5]], [[0.5, 0.0]] * 2)
    assert found[:2] == [0, 1]


def test_k_is_the_sum_of_the_best_overlaps_rounded_down():
    cost, iou = [[1.0, 2.0, 3.0, 4.0]], [[0.9, 0.8, 0.75, 0.5]]  # 2.95
    assert match([[0, 1, 2, 3]], cost, iou)[:4] == [0, 0, -1, -1]
    assert match([[0, 1, 2, 3]], cost, iou, top_n=1)[:4] == [0, -1, -1, -1]
