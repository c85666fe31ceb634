import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from sr3d.losses.soft_rank import soft_rank


def literal(scores, groups, tau):
    """Eq. 9 and 10, one pair at a time."""
    ranks = []
    for i, score in enumerate(scores):
        members = [j for j in range(len(scores)) if groups[j] == groups[i]]
        above = sum(1 / (1 + math.exp(-(scores[j] - score) / tau)) for j in members if j != i)
        ranks.append(math.exp(-above / len(members)))
    return ranks


def test_values_by_hand():
    # Group 4: scores 0.9 and 0.8, tau 0.1: sigmoid(±1) = 0.7310586, 0.2689414, halved.
    # Group 1: alone, R = 0, r = 1. Group 0: three equal, R = 2 · 0.5 / 3.
    scores = torch.tensor([0.9, 0.3, 0.5, 0.8, 0.5, 0.5], dtype=torch.float64)
    groups = torch.tensor([4, 1, 0, 4, 0, 0])
    tied = math.exp(-1 / 3)
    expected = [math.exp(-0.2689414 / 2), 1.0, tied, math.exp(-0.7310586 / 2), tied, tied]
    torch.testing.assert_close(
        soft_rank(scores, groups, 0.1), torch.tensor(expected, dtype=torch.float64)
    )


def test_small_tau_gives_the_hard_rank():
    # Six members: R = 0, 1/6 … 5/6 from the best to the worst (notes: r in [0.435, 1]).
    scores = torch.tensor([0.1, 0.6, 0.2, 0.5, 0.3, 0.4], dtype=torch.float64)
    place = torch.tensor([5.0, 0, 4, 1, 3, 2], dtype=torch.float64)
    ranks = soft_rank(scores, torch.zeros(6, dtype=torch.int64), 1e-4)
    torch.testing.assert_close(ranks, torch.exp(-place / 6))


def test_six_equal_scores():
    ranks = soft_rank(torch.full((6,), 0.37), torch.zeros(6, dtype=torch.int64), 0.1)
    torch.testing.assert_close(ranks, torch.full((6,), math.exp(-5 / 12)))  # 0.659


@given(
    members=st.lists(
        st.tuples(st.integers(0, 5), st.floats(0, 1, allow_nan=False)), min_size=1, max_size=30
    ),
    tau=st.sampled_from([0.01, 0.1, 1.0]),
)
def test_equals_the_literal_transcription(members, tau):
    groups, scores = [m[0] * 10**9 for m in members], [m[1] for m in members]
    ranks = soft_rank(torch.tensor(scores, dtype=torch.float64), torch.tensor(groups), tau)
    expected = torch.tensor(literal(scores, groups, tau), dtype=torch.float64)
    torch.testing.assert_close(ranks, expected)


def test_large_groups_of_unequal_size():
    generator = torch.Generator().manual_seed(0)
    groups = torch.randint(0, 3, (300,), generator=generator).square()  # 0, 1, 4
    scores = torch.rand(300, generator=generator, dtype=torch.float64)
    expected = torch.tensor(literal(scores.tolist(), groups.tolist(), 0.1), dtype=torch.float64)
    torch.testing.assert_close(soft_rank(scores, groups, 0.1), expected)


def test_two_kinds_of_score_are_ranked_each_for_itself():
    scores = torch.rand(2, 50, generator=torch.Generator().manual_seed(0))
    groups = torch.arange(50) % 7
    both = soft_rank(scores, groups, 0.1)
    torch.testing.assert_close(both, torch.stack([soft_rank(s, groups, 0.1) for s in scores]))
    assert soft_rank(torch.zeros(2, 0), groups[:0]).shape == (2, 0)


def test_empty_and_without_gradient():
    empty = torch.zeros(0, requires_grad=True)
    assert soft_rank(empty, torch.zeros(0, dtype=torch.int64)).shape == (0,)
    scores = torch.rand(4, requires_grad=True)
    assert not soft_rank(scores, torch.zeros(4, dtype=torch.int64)).requires_grad
