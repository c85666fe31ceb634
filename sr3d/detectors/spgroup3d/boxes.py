"""SPGroup3D's coding of boxes by distances to faces, some of which may be negative."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.detectors.common.face_boxes import face_boxes
from sr3d.geometry.boxes import in_frame

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
    """Anchors (S, 3) and `distances` (S, 6 or 8) to boxes (S, 7), see `face_boxes`."""
    return face_boxes(anchors, coded[:, :6], coded[:, 6:])


def turned_over(boxes: Tensor) -> Tensor:
    """Boxes (…, 7) with the magnitudes of their sizes.

    With a yaw, both horizontal sizes have one sign, so the footprint is the same.
    """
    return torch.cat([boxes[..., :3], boxes[..., 3:6].abs(), boxes[..., 6:]], dim=-1)


def face_distances(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (…, 3) of points (…, 3) to the upper and lower faces of boxes (…, 7) that
    broadcast, negative outside.
    """
    offset = in_frame(points, boxes)
    half = boxes[..., 3:6] / 2
    return half - offset, half + offset
