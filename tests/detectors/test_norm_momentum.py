from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sr3d.detectors.common.norm_momentum import set_norm_momentum
from sr3d.sparse.nn import SparseBatchNorm
from sr3d.train.distributed import SharedBatchNorm, SharedSparseNorm, share_norms


def network() -> Any:
    return nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Sequential(nn.BatchNorm2d(4), SparseBatchNorm(4)),
        nn.GroupNorm(2, 4),
    )  # fmt: skip


def test_every_batch_norm_gets_the_momentum() -> None:
    model = network()
    set_norm_momentum(model, 0.25)
    assert [model[1].momentum, model[2][0].momentum, model[2][1].bn.momentum] == [0.25] * 3
    x = torch.ones(3, 4) * 8
    model[1](x)
    assert model[1].running_mean.tolist() == [2.0] * 4


def test_norms_of_every_kind_become_shared_and_keep_their_hook() -> None:
    model = network()
    names = list(model.state_dict())
    share_norms(model)
    shared = [model[1], model[2][0], model[2][1].bn]
    assert all(isinstance(norm, SharedBatchNorm) for norm in shared)
    assert isinstance(model[2][1], SharedSparseNorm)
    assert sorted(model.state_dict()) == sorted(names)
    set_norm_momentum(model, 0.25)
    assert [norm.momentum for norm in shared] == [0.25] * 3
