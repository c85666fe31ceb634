"""One-to-one matching of queries and ground truth."""

from __future__ import annotations

from itertools import permutations

import torch
from hypothesis import given
from hypothesis import strategies as st

from sr3d.data.ground_truth import NEGATIVE
from sr3d.matching.hungarian import HungarianMatcher, least_cost


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**20))
def test_no_assignment_costs_less(queries: int, truths: int, seed: int) -> None:
    cost = torch.randn(1, queries, truths, generator=torch.Generator().manual_seed(seed))
    (found,) = least_cost(cost)
    rows = (found >= 0).nonzero().squeeze(1)
    assert len(rows) == len(set(found[rows].tolist())) == min(queries, truths)
    wide = cost[0] if queries <= truths else cost[0].t()
    every = (
        sum(float(wide[i, j]) for i, j in enumerate(order[: wide.shape[0]]))
        for order in permutations(range(wide.shape[1]))
    )
    assert abs(float(cost[0, rows, found[rows]].sum()) - min(every)) < 1e-5


def test_the_cost_is_the_weighted_sum() -> None:
    g = torch.Generator().manual_seed(0)
    layers, queries, truths, classes = 2, 6, 3, 4
    probabilities = torch.rand(layers, queries, classes, generator=g)
    objectness = torch.rand(layers, queries, generator=g)
    distance = torch.rand(layers, queries, truths, generator=g)
    giou = torch.rand(layers, queries, truths, generator=g)
    labels = torch.tensor([3, 0, 3])
    found = HungarianMatcher(cls=1.0, objectness=5.0, center=4.0, giou=3.0)(
        probabilities, objectness, distance, giou, labels
    )
    cost = torch.empty(layers, queries, truths)
    for layer in range(layers):
        for query in range(queries):
            for truth in range(truths):
                at = layer, query, truth
                cost[at] = -probabilities[layer, query, labels[truth]]
                cost[at] -= 5 * objectness[layer, query]
                cost[at] += 4 * distance[at] - 3 * giou[at]
    assert torch.equal(found, least_cost(cost))
    assert ((found >= 0).sum(dim=1) == truths).all()
    assert (found[found < 0] == NEGATIVE).all()


def test_a_diverged_network_is_matched_anyway() -> None:
    """The loss, which is then not finite, stops the training run with a clear error."""
    cost = torch.full((1, 3, 2), torch.nan)
    assert sorted(least_cost(cost)[0].tolist()) == [NEGATIVE, 0, 1]
