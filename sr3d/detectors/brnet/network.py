"""BRNet's modules beside PointNet++ and the vote module: two heads, and the points traced back.

A box is known by six distances, of a reference point to its faces: +x, +y, +z, -x, -y, -z, along
the box's own axes. Headings turn clockwise, see `HeadingBins`.

Source: cheng052/BRNet (models/dense_heads/class_agnostic_vote_head.py,
models/roi_heads/roi_extractors/rep_point_roi_extractor.py, core/bbox/coders).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from sr3d.detectors.common.pointnet2 import LocalAggregation, PointSet
from sr3d.geometry.boxes import rotate_z

LEAST = 0.1  # metres, of the edge of a box


class StageHead(nn.Module):
    """Two layers, then one for logits and one for the box of each proposal."""

    def __init__(self, inputs: int, channels: int, classes: int, boxes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(inputs, channels, 1), nn.BatchNorm1d(channels)
        self.conv2, self.bn2 = nn.Conv1d(channels, channels, 1), nn.BatchNorm1d(channels)
        self.conv_cls = nn.Conv1d(channels, classes, 1)
        self.conv_reg = nn.Conv1d(channels, boxes, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P, classes) and (B, P, boxes) of features (B, C, P)."""
        x = relu(self.bn1(self.conv1(features)))
        x = relu(self.bn2(self.conv2(x)))
        cls, reg = self.conv_cls(x).float(), self.conv_reg(x).float()
        return cls.transpose(1, 2), reg.transpose(1, 2)


class BackTracing(nn.Module):
    """Looks at the seeds again, around points between a proposal's reference point and its faces.

    A group without a seed takes the first seed of the scene, as the original's kernel does.
    """

    def __init__(
        self, radius: float, samples: int, channels: Sequence[int], density: int, outputs: int
    ) -> None:
        """channels: of the seeds, then of each layer. density: points of a direction."""
        super().__init__()
        self.density = density
        self.seed_aggregation = LocalAggregation(radius, samples, channels)
        self.reduce_dim = nn.Conv1d(channels[-1] * 6 * density, outputs, 1)

    def forward(
        self, seeds: PointSet, references: Tensor, distances: Tensor, heading: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, C, P) features of the points (B, P, 6 density, 3) traced back, and these points.

        references: (B, P, 3). distances: (B, P, 6). heading: (B, P).
        """
        points = traced(references, distances, heading, self.density)
        found = self.seed_aggregation.around(seeds.points, seeds.features, points.flatten(1, 2))
        each = found.unflatten(2, points.shape[1:3])  # (B, C, P, 6 density)
        features: Tensor = self.reduce_dim(each.transpose(1, 2).flatten(2).transpose(1, 2))
        return features, points


def traced(references: Tensor, distances: Tensor, heading: Tensor, density: int) -> Tensor:
    """(B, P, 6 density, 3): points from each face halfway and further back to the reference point.

    Of a direction the first is the point on the face.
    """
    axes = torch.cat([torch.eye(3), -torch.eye(3)]).to(references)  # (6, 3)
    steps = torch.arange(density, 0, -1, device=references.device) / density
    along = distances[..., None] * steps  # (B, P, 6, density)
    local = (along[..., None] * axes[:, None]).flatten(2, 3)
    return references[:, :, None] + _to_scene(local, heading[..., None])


def faces_of(references: Tensor, boxes: Tensor) -> Tensor:
    """(B, P, 6) distances of references (B, P, 3) to the faces of boxes (B, P, 7).

    Negative beyond a face. They have a gradient with respect to the references.
    """
    offset = _to_box(references - boxes[..., :3], -boxes[..., 6])
    half = boxes[..., 3:6] / 2
    return torch.cat([half - offset, half + offset], dim=-1)


def decode(references: Tensor, distances: Tensor, heading: Tensor) -> Tensor:
    """(B, P, 7) boxes. No edge is shorter than 0.1 m."""
    front, back = distances.split(3, dim=-1)
    centres = references + _to_scene((front - back) / 2, heading)
    sizes = (front + back).clamp(min=LEAST)
    return torch.cat([centres, sizes, -heading[..., None]], dim=-1)


def _to_scene(local: Tensor, heading: Tensor) -> Tensor:
    """(…, 3) vectors in a box's own axes, in those of the scene. heading: (…)."""
    return rotate_z(local, -heading)


def _to_box(vectors: Tensor, heading: Tensor) -> Tensor:
    return rotate_z(vectors, heading)
