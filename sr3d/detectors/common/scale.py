"""A learnable factor."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Scale(nn.Module):
    """A learnable factor, initially 1."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale
