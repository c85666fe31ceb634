"""Headings as a bin and an offset from its centre, as VoteNet and its successors predict them.

A heading turns clockwise seen from above, from +x towards -y: it is minus the yaw of our boxes.
Source: facebookresearch/votenet (sunrgbd/model_util_sunrgbd.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class HeadingBins:
    """`count` bins of equal width. Their centres are multiples of the width, from 0."""

    count: int

    @property
    def width(self) -> float:
        """Radians."""
        return 2 * math.pi / self.count

    def encode(self, heading: Tensor) -> tuple[Tensor, Tensor]:
        """Bin (…) int64, and offset (…) in units of half a bin, -1 to 1, of headings in radians.

        One bin stands for axis-aligned boxes: bin 0, offset 0.
        """
        if self.count == 1:
            return torch.zeros_like(heading, dtype=torch.int64), torch.zeros_like(heading)
        turned = torch.remainder(heading + self.width / 2, 2 * math.pi)
        bins = (turned / self.width).long().clamp(max=self.count - 1)
        return bins, (turned - (bins + 0.5) * self.width) / (self.width / 2)

    def decode(self, bins: Tensor, offset: Tensor) -> Tensor:
        """Headings in radians, at most pi. The inverse of `encode`."""
        if self.count == 1:
            return torch.zeros_like(offset)
        heading = bins * self.width + offset * (self.width / 2)
        return torch.where(heading > math.pi, heading - 2 * math.pi, heading)

    def likeliest(self, logits: Tensor, offsets: Tensor) -> Tensor:
        """Headings (…) in radians of the most probable bins. logits, offsets: (…, count)."""
        best = logits.argmax(dim=-1, keepdim=True)
        return self.decode(best, offsets.gather(-1, best)).squeeze(-1)
