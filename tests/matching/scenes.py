"""Random scenes for the assigners: anchors on a grid of two levels, predictions, ground truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Case:
    anchors: Tensor
    anchor_levels: Tensor
    pred: Tensor
    gt: Tensor
    gt_levels: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.anchors, self.anchor_levels, self.pred, self.gt, self.gt_levels


def make_case(
    seed: int, anchors: int, truths: int, *, rotated: bool, trained: bool = False
) -> Case:
    """trained: predictions are near the nearest ground truth, not near the anchor."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    room = torch.tensor([4.0, 3.0, 2.0], dtype=torch.float64)
    yaw = (uniform(truths, 1) - 0.5) * 2 * math.pi
    gt = torch.cat([uniform(truths, 3) * room, uniform(truths, 3) * 1.4 + 0.1, yaw], dim=1)
    levels = torch.randint(0, 2, (anchors,), generator=generator)
    spacing = torch.tensor([0.16, 0.32], dtype=torch.float64)[levels][:, None]
    points = (uniform(anchors, 3) * room / spacing).round() * spacing
    if trained and truths:
        nearest = torch.cdist(points, gt[:, :3]).argmin(dim=1)
        pred = gt[nearest] + normal(anchors, 7) * 0.05
    else:
        sizes = torch.exp(normal(anchors, 3) * 0.5 - 0.4)
        pred = torch.cat([points + normal(anchors, 3) * 0.2, sizes, normal(anchors, 1)], dim=1)
    pred[:, 3:6] = pred[:, 3:6].clamp(min=0.02)
    if not rotated:
        gt[:, 6] = 0
        pred[:, 6] = 0
    gt_levels = torch.randint(0, 2, (truths,), generator=generator)
    return Case(points, levels, pred, gt, gt_levels)
