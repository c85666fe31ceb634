"""Boxes coded by the distances of their faces from an anchor, as FCAF3D has them."""

from __future__ import annotations

import torch
from torch import Tensor


def between_faces(anchors: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and size, (N, 3) each, of boxes whose faces lie at distances (N, 6) from anchors."""
    low, high = distance[:, ::2], distance[:, 1::2]
    return anchors + (high - low) / 2, low + high


def face_boxes(anchors: Tensor, distance: Tensor, code: Tensor) -> Tensor:
    """Boxes (N, 7) of anchors (N, 3) and distances (N, 6) in metres, differentiable.

    distance: to the faces towards -x, +x, -y, +y, -z, +z. code: (N, 0), or (N, 2) for boxes with a
    yaw. Then the sum of the four horizontal distances is x size + y size. The code encodes its
    split and the yaw, such that a box and the same box with exchanged axes have the same code.
    """
    center, size = between_faces(anchors, distance)
    if code.shape[1] == 0:
        return torch.cat([center, size, torch.zeros_like(size[:, :1])], dim=1)
    ratio = torch.linalg.vector_norm(code, dim=1).exp()
    width = (size[:, 0] + size[:, 1]) / (1 + ratio)
    yaw = torch.atan2(code[:, 0], code[:, 1]) / 2
    return torch.cat([center, torch.stack([width, width * ratio, size[:, 2], yaw], dim=1)], dim=1)
