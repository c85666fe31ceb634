"""DLLA's losses on learned distances against their formulas, scene by scene."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sr3d.losses.clusters import cluster_closeness, cluster_spread, distances


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("keys", [2, 3, 5])
def test_formulas(keys: int) -> None:
    q, k = vectors(1, 4, 6), vectors(1, keys, 6, seed=1)
    owner, real = torch.arange(4)[None] % keys, torch.ones(1, keys, dtype=torch.bool)
    found, near = cluster_spread(q, k, owner, real)[0], cluster_closeness(k, real)[0]
    for i in range(4):
        far = [float((q[0, i] - k[0, j]).norm()) for j in range(keys)]
        own = far.pop(int(owner[0, i]))
        assert float(found[i]) == pytest.approx(own / sum(far), rel=1e-4)
    for j in range(keys):
        others = [float((k[0, j] - k[0, i]).norm()) for i in range(keys) if i != j]
        assert float(near[j]) == pytest.approx((keys - 1) / sum(others))


def test_padding_changes_nothing() -> None:
    q, k = vectors(1, 4, 6), vectors(1, 3, 6, seed=1)
    owner, real = torch.tensor([[0, 1, 2, 0]]), torch.ones(1, 3, dtype=torch.bool)
    more = torch.cat([k, torch.zeros(1, 2, 6)], dim=1)
    padded = torch.tensor([[True] * 3 + [False] * 2])
    wanted, found = cluster_spread(q, k, owner, real), cluster_spread(q, more, owner, padded)
    torch.testing.assert_close(found, wanted)
    closeness = cluster_closeness(more, padded)
    torch.testing.assert_close(closeness[:, :3], cluster_closeness(k, real))
    assert not closeness[:, 3:].any()


def test_a_single_key_costs_nothing_and_equal_keys_are_finite() -> None:
    q, one = vectors(1, 4, 6).requires_grad_(), vectors(1, 1, 6).requires_grad_()
    owner, real = torch.zeros(1, 4, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool)
    for loss in (cluster_spread(q, one, owner, real).sum(), cluster_closeness(one, real).sum()):
        assert float(loss.detach()) == 0
    same = vectors(1, 1, 6).repeat(1, 2, 1).requires_grad_()
    both = torch.ones(1, 2, dtype=torch.bool)
    loss = (
        cluster_spread(same * 1, same, owner[:, :2], both).sum()
        + cluster_closeness(same, both).sum()
    )
    loss.backward()
    assert loss.isfinite()
    assert same.grad is not None
    assert same.grad.isfinite().all()


def test_keys_learn_from_their_closeness_alone() -> None:
    q, k = vectors(1, 4, 6).requires_grad_(), vectors(1, 3, 6, seed=1).requires_grad_()
    owner, real = torch.tensor([[0, 1, 2, 0]]), torch.ones(1, 3, dtype=torch.bool)
    cluster_spread(q, k, owner, real).sum().backward()
    assert k.grad is None
    assert q.grad is not None
    cluster_closeness(k, real).sum().backward()
    assert k.grad is not None


def test_equal_rows_are_no_distance_apart() -> None:
    rows = vectors(1, 40, 8)
    assert not distances(rows, rows)[0].diagonal().any()
