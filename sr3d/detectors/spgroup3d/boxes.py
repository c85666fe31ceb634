"""SPGroup3D's coding of boxes by distances to faces, some of which may be negative."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.detectors.fcaf3d.network import between_faces
from sr3d.geometry.boxes import rotate_z

_LINEAR = 3  # of the six distances: the original takes exp of the last three only


def distances(outputs: Tensor, all_positive: bool) -> Tensor:
    """(S, 6 or 8) raw outputs to distances towards -x, +x, -y, +y, -z, +z in metres, and the code
    of the yaw.

    As published, the first three distances are the raw outputs, so a size can be negative.
    """
    linear = 0 if all_positive else _LINEAR
    parts = [outputs[:, :linear], outputs[:, linear:6].exp(), outputs[:, 6:]]
    return torch.cat(parts, dim=1)


def decode(anchors: Tensor, coded: Tensor) -> Tensor:
    """Anchors (S, 3) and `distances` (S, 6 or 8) to boxes (S, 7), differentiable.

    The last two of eight values encode the split of x size + y size, and the yaw, as in FCAF3D.
    """
    center, size = between_faces(anchors, coded[:, :6])
    if coded.shape[1] == 6:
        return torch.cat([center, size, torch.zeros_like(size[:, :1])], dim=1)
    ratio = torch.linalg.vector_norm(coded[:, 6:8], dim=1).exp()
    width = (size[:, 0] + size[:, 1]) / (1 + ratio)
    yaw = torch.atan2(coded[:, 6], coded[:, 7]) / 2
    return torch.cat([center, torch.stack([width, width * ratio, size[:, 2], yaw], dim=1)], dim=1)


def turned_over(boxes: Tensor) -> Tensor:
    """Boxes (…, 7) with the magnitudes of their sizes.

    With a yaw, both horizontal sizes have one sign, so the footprint is the same.
    """
    return torch.cat([boxes[..., :3], boxes[..., 3:6].abs(), boxes[..., 6:]], dim=-1)


def face_distances(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (…, 3) of points (…, 3) to the upper and lower faces of boxes (…, 7) that
    broadcast, negative outside.
    """
    offset = rotate_z(points - boxes[..., :3], -boxes[..., 6])
    half = boxes[..., 3:6] / 2
    return half - offset, half + offset
