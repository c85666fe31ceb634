"""The inter-state space model: seeds pass by queries, which are the states, and both change.

Source: OpenSpaceAI/DEST3D (models/dest_module.py), including the names of parameters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from sr3d.detectors.dest.selective_scan import selective_scan
from sr3d.detectors.dest.spatial import FEATURES, nearness, vertex_features
from sr3d.detectors.dest.torch_engine import ScanTerms

KERNEL = 7  # seeds that a convolution along the scan sees
_STEPS = (1e-4, 0.1)  # the range of the first step sizes
_RATES = (1.0, 16.0)  # and of the first decay rates
_EPSILON = 1e-5


class ScanConv(nn.Module):
    """A convolution of each channel along the scan, and SiLU: (B, S, C) to (B, S, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = along_scan(channels)

    def forward(self, x: Tensor) -> Tensor:
        return silu(self.dwconv(x.transpose(1, 2)).transpose(1, 2))


class InterStateScan(nn.Module):
    """Returns what each seed has read from the queries, and the queries after all seeds.

    The step size of a seed for a query, and so how much the query changes, depends on where the
    seed lies to the query's box. bidirectional: also scan from the last seed to the first, and
    take the mean.
    """

    key_conv_back: ScanConv | None

    def __init__(self, channels: int, heads: int, bidirectional: bool) -> None:
        super().__init__()
        self.heads = heads
        self.widths = [channels, channels + 2, heads]  # of gates, of x, B and C, and of step sizes
        self.dt_bias = nn.Parameter(_first_steps(heads))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(*_RATES).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.key_proj = nn.Linear(channels, sum(self.widths), bias=False)
        self.key_conv = ScanConv(channels + 2)
        self.key_conv_back = ScanConv(channels + 2) if bidirectional else None
        self.query_proj = nn.Linear(channels, channels, bias=False)
        self.bc_proj = nn.Linear(FEATURES, 2, bias=False)
        self.dt_proj = nn.Linear(FEATURES, heads, bias=False)
        self.out_key_proj = nn.Linear(channels, channels, bias=False)
        self.out_query_proj = nn.Linear(channels, channels, bias=False)
        self.key_norm = nn.RMSNorm(channels, eps=_EPSILON)
        self.query_norm = nn.LayerNorm(channels)

    def forward(
        self, key: Tensor, query: Tensor, table: Tensor, seeds: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, S, C) and (B, K, C).

        key: (B, S, C) in the order of the scan, as seeds (B, S, 3). query: (B, K, C). table: see
        `VertexTable`. places: (B, K, 6), see `Stage.places`.
        """
        gate, moving, steps = self.key_proj(key).split(self.widths, dim=2)
        state = self.query_proj(query).unflatten(2, (self.heads, -1)).permute(0, 2, 3, 1)
        # The projections are linear, so they apply to the table instead of all pairs.
        projections = torch.cat([self.dt_proj.weight, self.bc_proj.weight])
        with torch.autocast(table.device.type, enabled=False):
            features = vertex_features(linear(table, projections), seeds, places)
        gates, inputs, outputs = features.split([self.heads, 1, 1], dim=2)
        near = nearness(seeds, places)

        def scanned(moving: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
            x, b, c = moving.float().split([key.shape[2], 1, 1], dim=2)
            x = x.unflatten(2, (self.heads, -1))
            terms = ScanTerms(
                x=x,
                gates=gates,
                steps=steps.float() + self.dt_bias,
                near=near,
                inputs=inputs.squeeze(2) + b,
                outputs=outputs.squeeze(2) + c,
                rates=-self.A_log.exp(),
                state=state,
            )
            y, after = selective_scan(terms, reverse)
            return (y + self.D[:, None] * x).flatten(2), after.flatten(1, 2).transpose(1, 2)

        moving = self.key_conv(moving)
        y, after = scanned(moving, reverse=False)
        if self.key_conv_back is not None:
            back, after_back = scanned(self.key_conv_back(moving), reverse=True)
            y, after = (y + back) / 2, (after + after_back) / 2
        found = self.out_key_proj(self.key_norm(y * silu(gate.float())))
        return found, self.out_query_proj(self.query_norm(after))


def along_scan(channels: int) -> nn.Conv1d:
    """A convolution of each channel along the scan, (B, C, S) to (B, C, S)."""
    return nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels)


def _first_steps(heads: int) -> Tensor:
    """(H,) whose softplus is distributed evenly on a logarithmic scale."""
    low, high = (math.log(step) for step in _STEPS)
    steps = torch.empty(heads).uniform_(low, high).exp().clamp(min=_STEPS[0])
    return steps + torch.log(-torch.expm1(-steps))
