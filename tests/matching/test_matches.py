import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from sr3d.geometry.iou import pairwise_iou
from sr3d.matching import matches
from sr3d.matching.matches import overlaps, places, settle

costs = st.sampled_from([0.0, 1.0, 2.0, math.inf, math.nan])


def key(cost):
    return (math.isnan(cost), cost)


@given(st.lists(st.tuples(st.integers(0, 3), costs), max_size=20))
def test_places_count_from_the_cheapest(pairs):
    pairs = sorted(pairs, key=lambda pair: pair[0])
    gt, cost = [p[0] for p in pairs], [p[1] for p in pairs]
    found = places(torch.tensor(gt, dtype=torch.int64), torch.tensor(cost), 5)
    for j in range(4):
        mine = [i for i in range(len(pairs)) if gt[i] == j]
        for place, i in enumerate(sorted(mine, key=lambda i: key(cost[i]))):
            assert found[i] == place


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 4), costs, st.booleans()), max_size=20)
)
def test_an_anchor_goes_to_its_cheapest_claim(pairs):
    pairs = [(gt, anchor, cost, claims and anchor >= 0) for gt, anchor, cost, claims in pairs]
    gt, anchor, cost, claimed = zip(*pairs, strict=True) if pairs else ((), (), (), ())
    assigned = settle(
        torch.tensor(gt, dtype=torch.int64),
        torch.tensor(anchor, dtype=torch.int64),
        torch.tensor(cost),
        torch.tensor(claimed, dtype=torch.bool),
        6,
    )
    for i in range(6):
        claims = [p for p in pairs if p[1] == i and p[3]]
        assert assigned[i] == (min(claims, key=lambda p: key(p[2]))[0] if claims else -1)


def test_overlaps_are_those_of_the_matrix(monkeypatch):
    monkeypatch.setattr(matches, "pairs_at_a_time", lambda device, rotated: 5)
    g = torch.Generator().manual_seed(0)
    a, b = (torch.rand(n, 7, generator=g, dtype=torch.float64) + 0.3 for n in (9, 6))
    i, j = torch.randint(9, (23,), generator=g), torch.randint(6, (23,), generator=g)
    for rotated in (False, True):
        full = pairwise_iou(a, b, rotated)
        torch.testing.assert_close(overlaps(a, b, i, j, rotated), full[i, j])
    assert overlaps(a, b, i[:0], j[:0], True).shape == (0,)
