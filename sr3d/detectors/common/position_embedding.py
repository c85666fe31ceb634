"""Learned embeddings of positions, which GroupFree, DEST and V-DETR share.

Source, also of the names of weights: zeliu98/Group-Free-3D (models/modules.py).
"""

from __future__ import annotations

from torch import Tensor, nn


class PositionEmbedding(nn.Module):
    """Features of positions, (B, N, 3 or 6) to (B, C, N)."""

    def __init__(self, numbers: int, channels: int) -> None:
        super().__init__()
        self.position_embedding_head = nn.Sequential(
            pointwise(numbers, channels),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            pointwise(channels, channels),
        )

    def forward(self, positions: Tensor) -> Tensor:
        return self.position_embedding_head(positions.transpose(1, 2))


def pointwise(inputs: int, outputs: int) -> nn.Conv1d:
    """A layer that treats each of N columns alike: (B, C, N) to (B, C', N)."""
    return nn.Conv1d(inputs, outputs, kernel_size=1)
