"""The box type of the package: geometric centre, full size, yaw.

A box is seven numbers `(cx, cy, cz, dx, dy, dz, yaw)` in metres and radians. The yaw is
counter-clockwise about z (up). An axis-aligned box has yaw 0. Readers convert other conventions
(bottom centres, half sizes, clockwise headings).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Signs of the corners: index bits 0, 1, 2 are x, y, z. 0 is the minimum corner, 7 the maximum.
_SIGNS = torch.tensor([[(i >> axis & 1) * 2 - 1 for axis in range(3)] for i in range(8)])


@dataclass(frozen=True)
class Boxes:
    """K boxes as a `(K, 7)` tensor. Indexing with a mask, slice or indices returns Boxes."""

    tensor: Tensor

    def __post_init__(self) -> None:
        if self.tensor.ndim != 2 or self.tensor.shape[1] != 7:
            raise ValueError(f"boxes must be (K, 7), got {tuple(self.tensor.shape)}")

    @staticmethod
    def empty() -> Boxes:
        return Boxes(torch.zeros(0, 7))

    @staticmethod
    def from_array(array: Any) -> Boxes:
        """From an array `(K, 6)` (axis-aligned) or `(K, 7)`, or an empty array of any shape."""
        tensor = torch.as_tensor(array, dtype=torch.float32)
        if tensor.numel() == 0:
            return Boxes.empty()
        if tensor.ndim == 2 and tensor.shape[1] == 6:
            tensor = torch.cat([tensor, tensor.new_zeros(len(tensor), 1)], dim=1)
        return Boxes(tensor)

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: Any) -> Boxes:
        rows = self.tensor[index]
        return Boxes(rows[None] if rows.ndim == 1 else rows)

    @property
    def centers(self) -> Tensor:
        """(K, 3) metres."""
        return self.tensor[:, :3]

    @property
    def sizes(self) -> Tensor:
        """(K, 3) metres, along the box's own axes."""
        return self.tensor[:, 3:6]

    @property
    def yaw(self) -> Tensor:
        """(K,) radians."""
        return self.tensor[:, 6]

    def corners(self) -> Tensor:
        """(K, 8, 3). Corner 0 is the minimum corner in the box's own frame, 7 the maximum."""
        return corners(self.tensor)

    def contains(self, points: Tensor) -> Tensor:
        """(N, K) bool: whether each point `(N, 3)` is in each box, including the faces."""
        offset = in_frame(points[:, None], self.tensor)
        return (offset.abs() <= self.sizes / 2).all(dim=-1)

    def flipped(self, axis: int, keep_front: bool = False) -> Boxes:
        """Mirrored across the plane through the origin normal to x (axis 0) or y (axis 1).

        keep_front: whether +x of a box's own frame becomes +x of its mirror image. Otherwise it may
        become -x, because a cuboid is symmetric under a rotation by pi.
        """
        box = self.tensor.clone()
        box[:, axis] = -box[:, axis]
        box[:, 6] = -box[:, 6]
        if keep_front and axis == 0:
            box[:, 6] += math.pi
        return Boxes(box)

    def rotated(self, angle: float) -> Boxes:
        """Rotated about the world's z axis, exactly: an axis-aligned box gets a yaw."""
        box = self.tensor.clone()
        box[:, :3] = rotate_z(box[:, :3], box.new_tensor(angle))
        box[:, 6] = box[:, 6] + angle
        return Boxes(box)

    def enclosing(self) -> Boxes:
        """The smallest axis-aligned boxes around these."""
        return Boxes(enclosing_boxes(self.tensor))

    def scaled(self, factor: float) -> Boxes:
        """Scaled about the origin."""
        box = self.tensor.clone()
        box[:, :6] *= factor
        return Boxes(box)

    def translated(self, offset: Tensor) -> Boxes:
        """Moved by `(3,)` metres."""
        box = self.tensor.clone()
        box[:, :3] += offset
        return Boxes(box)


def rotate_z(points: Tensor, angle: Tensor) -> Tensor:
    """Rotate `(…, 3)` points counter-clockwise about z. `angle` broadcasts against `(…,)`."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    x, y, z = points.unbind(dim=-1)
    return torch.stack([x * cos - y * sin, x * sin + y * cos, z.expand_as(x * cos)], dim=-1)


def in_frame(points: Tensor, boxes: Tensor) -> Tensor:
    """(…, 3): points (…, 3) in the frames of boxes (…, 7) that broadcast, from their centres."""
    return rotate_z(points - boxes[..., :3], -boxes[..., 6])


def corners(boxes: Tensor) -> Tensor:
    """(…, 7) boxes to (…, 8, 3) corners, differentiable. See `Boxes.corners` for their order."""
    signs = _SIGNS.to(boxes)
    offset = signs * boxes[..., None, 3:6] / 2
    return boxes[..., None, :3] + rotate_z(offset, boxes[..., None, 6])


def enclosing_boxes(boxes: Tensor) -> Tensor:
    """The smallest axis-aligned boxes around (…, 7) boxes, (…, 7), differentiable."""
    cos, sin = torch.cos(boxes[..., 6]).abs(), torch.sin(boxes[..., 6]).abs()
    dx, dy, dz = boxes[..., 3:6].unbind(-1)
    size = torch.stack([dx * cos + dy * sin, dx * sin + dy * cos, dz], dim=-1)
    return torch.cat([boxes[..., :3], size, torch.zeros_like(boxes[..., 6:])], dim=-1)


def centerness(points: Tensor, boxes: Tensor) -> Tensor:
    """Centerness of points (…, 3) in boxes (…, 7), broadcast to (…): 1 at the centre, 0 on a face
    and outside.

    The square root of the product over the axes of (nearer face) / (farther face), as in FCAF3D.
    """
    offset = in_frame(points, boxes).abs()
    half = boxes[..., 3:6] / 2
    return ((half - offset).clamp(min=0) / (half + offset)).prod(dim=-1).sqrt()
