"""The learned distances between candidates and ground truths. Only training uses this network.

Source, also of the names of weights: liuxinrun/dlla (`qkv0`, `qkv1`, `q_linear` and `k_linear` of
both heads). Its `pe_linear0` and `pe_linear1` are never used, and absent here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from sr3d.detectors.dlla.config import HEADS, DLLALoss
from sr3d.geometry.boxes import enclosing_boxes


class Matcher(nn.Module):
    """Maps boxes with classes to a space in which distances decide about matches.

    An object is centre, full size, and a number per class: probabilities of a candidate, one or
    zero of a ground truth.
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        inputs = 6 + classes
        self.qkv0 = nn.Linear(3 * inputs, 3 * channels)
        self.qkv1 = nn.Linear(3 * channels, 3 * channels)
        self.q_linear = nn.Linear(channels, channels)
        self.k_linear = nn.Linear(inputs, channels)
        for layer in (self.qkv0, self.qkv1, self.q_linear, self.k_linear):
            nn.init.xavier_uniform_(layer.weight)

    def queries(self, objects: Tensor, real: Tensor) -> Tensor:
        """(B, W, D) of W objects (B, W, 6 + C) of each scene, which see each other.

        real: (B, W) bool, False where padded.
        """
        x = objects
        for qkv in (self.qkv0, self.qkv1):
            x = _attend(qkv(x.repeat(1, 1, 3)), real)
        found: Tensor = self.q_linear(x)
        return found

    def keys(self, objects: Tensor) -> Tensor:
        """(B, M, D) of ground truths (B, M, 6 + C), each alone."""
        found: Tensor = self.k_linear(objects)
        return found


def _attend(qkv: Tensor, real: Tensor) -> Tensor:
    """(B, W, 3 D) to (B, W, D): attention between the objects of a scene, plus the queries."""
    queries, keys, values = (
        part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=2)
    )
    logits = queries @ keys.transpose(2, 3) / queries.shape[-1] ** 0.5
    # Finite, so that a scene of padded rows alone has no NaN.
    logits = logits.masked_fill(~real[:, None, None], torch.finfo(logits.dtype).min)
    found = logits.softmax(dim=3) @ values + queries
    return found.transpose(1, 2).flatten(2)


def as_objects(boxes: Tensor, classes: Tensor) -> Tensor:
    """(N, 6 + C) of boxes (N, 7) and a number per class (N, C).

    An oriented box is represented by the axis-aligned box around it.
    """
    return torch.cat([enclosing_boxes(boxes)[:, :6], classes], dim=1)


@dataclass(frozen=True)
class Noise:
    """Draws for M ground truths of C classes, uniform in [0, 1) unless said otherwise.

    chance: (M,), below which a class changes. labels: (M,) int64 in [0, C), the other class. box:
    (M, 6), of centre and size.
    """

    chance: Tensor
    labels: Tensor
    box: Tensor

    @staticmethod
    def draw(truths: int, classes: int, device: torch.device) -> Noise:
        """From PyTorch's own generator of the device."""
        return Noise(
            torch.rand(truths, device=device),
            torch.randint(classes, (truths,), device=device),
            torch.rand(truths, 6, device=device),
        )

    def applied(self, objects: Tensor, labels: Tensor, config: DLLALoss) -> Tensor:
        """Ground truths (M, 6 + C) with labels (M,), moved and resized, some of another class."""
        boxes, classes = objects[:, :6], objects.shape[1] - 6
        shift = (2 * self.box - 1) * config.noise * boxes[:, 3:].repeat(1, 2)
        center = boxes[:, :3] + shift[:, :3] / 2
        size = (boxes[:, 3:] + shift[:, 3:]).clamp(min=0)
        changed = self.labels.where(self.chance < config.noise / 2, labels)
        return torch.cat([center, size, one_hot(changed, classes).to(objects.dtype)], dim=1)
