"""MLCVNet's modules: VoteNet's with context, on three levels.

Names of weights are those of NUAAXQ/MLCVNet (models/CGNL.py, models/voting_module.py,
models/proposal_module.py).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from sr3d.detectors.common.pointnet2 import PointSet, SetAbstraction
from sr3d.detectors.common.votes import VoteModule
from sr3d.detectors.votenet.network import ProposalModule

_GROUPS = 4


class ContextBlock(nn.Module):
    """Compact generalised non-local attention: one scalar a group of channels scales a projection.

    Takes and returns (B, C, N). Nothing is normalised before the group norm, so only the scalar's
    sign and its size against the norm's epsilon matter.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.t, self.p, self.g = (nn.Conv2d(channels, inner, 1, bias=False) for _ in range(3))
        self.z = nn.Conv2d(inner, channels, 1, groups=_GROUPS, bias=False)
        self.gn = nn.GroupNorm(_GROUPS, channels)

    def forward(self, x: Tensor) -> Tensor:
        whole = x[..., None]
        t, p, g = (
            conv(whole).float().unflatten(1, (_GROUPS, -1)) for conv in (self.t, self.p, self.g)
        )
        scalar = (p * g).sum(dim=(2, 3, 4), keepdim=True)
        return x + self.gn(self.z((scalar * t).flatten(1, 2))).squeeze(-1)


class ContextVoteModule(VoteModule):
    """Patch level: seeds vote by features that have seen all other seeds."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.sa1 = ContextBlock(channels, channels // 2)

    def shift(self, features: Tensor) -> Tensor:
        return super().shift(self.sa1(features))


class ContextProposalModule(ProposalModule):
    """Object level: clusters see each other. Global level: a gate that sees seeds and clusters."""

    def __init__(
        self, aggregation: SetAbstraction, channels: int, outputs: int, seed_channels: int
    ) -> None:
        super().__init__(aggregation, channels, outputs)
        self.sa1 = ContextBlock(channels, channels // 2)
        self.sa2 = ContextBlock(channels, channels // 2)
        self.gs_conv1 = nn.Conv1d(seed_channels + 2 * channels, channels, 1)

    def propose(self, clusters: PointSet, seeds: PointSet) -> Tensor:
        x = self.sa2(self.sa1(clusters.features))
        scene = torch.cat([each.features.amax(dim=2) for each in (seeds, clusters)], dim=1)
        seen = torch.cat([scene[..., None].expand(-1, -1, x.shape[2]), x], dim=1)
        gate = _gate(self.gs_conv1(seen).float())
        return super().propose(replace(clusters, features=x * gate), seeds)


def _gate(x: Tensor) -> Tensor:
    """sigmoid(log|x|), from 0 to 1. With a logarithm, as published, its gradient at 0 is NaN."""
    return x.abs() / (1 + x.abs())
