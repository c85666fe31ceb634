"""RBGNet's modules beside PointNet++ and the vote module: ray-based grouping, and the heads.

Source: Haiyang-W/RBGNet (pcdet/models/dense_heads/rbg_head.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.pointnet2 import PointSet, SharedMLP, interpolated
from sr3d.detectors.rbgnet.config import Margin, RBGNetModel
from sr3d.detectors.rbgnet.rays import anchors_on, coarse_fractions, fine_fractions, unit_rays
from sr3d.points import ball_query

RAY = 0.5  # length of a ray in units of the box's diagonal


class PointLayer(nn.Sequential):
    """A convolution of one point with bias, batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        conv = nn.Conv1d(inputs, outputs, 1)
        norm = nn.BatchNorm1d(outputs)
        super().__init__(OrderedDict(conv=conv, bn=norm, activation=nn.ReLU()))


class PointMLP(nn.Sequential):
    """Layers that treat each point alike: (B, C, N) to (B, C', N).

    channels: of the input, then of each layer.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        layers = [PointLayer(a, b) for a, b in pairwise(channels)]
        super().__init__(OrderedDict((f"layer{i}", layer) for i, layer in enumerate(layers)))


@dataclass(frozen=True)
class AnchorFeatures:
    """What a branch found at the anchors of all rays.

    features: (B, C, P). scores: (B, 2, P K R), whether an anchor lies on the cluster's own object:
    no and yes. mask, hits: (B, P, K, R) bool, by these scores, and whether a point is near.
    """

    features: Tensor
    scores: Tensor
    mask: Tensor
    hits: Tensor


class RayBranch(nn.Module):
    """Looks for points around anchors, and joins what it finds bin by bin, then ray by ray."""

    def __init__(
        self, bins: int, rays: int, radius: float, samples: int, points: int, channels: int,
        width: int,
    ) -> None:  # fmt: skip
        """points, channels, width: channels of points, anchors and clusters."""
        super().__init__()
        self.bins, self.radius, self.samples, self.channels = bins, radius, samples, channels
        self.aggregation = SharedMLP([3 + points, channels])
        self.intersection = PointMLP([width + channels, channels, 2])
        self.bin_reduce = PointMLP([bins * channels, channels])
        self.ray_reduce = PointMLP([rays * channels, 2 * width, width])

    def forward(
        self, clusters: Tensor, anchors: Tensor, points: Tensor, features: Tensor
    ) -> AnchorFeatures:
        """clusters: features (B, C, P). anchors: (B, P, K, R, 3). points: (B, M, 3), with features
        (B, C', M).
        """
        shape = anchors.shape[1:4]
        found, hits = self.around(anchors.flatten(1, 3), points, features)
        repeated = clusters[..., None].expand(-1, -1, -1, shape[1:].numel()).flatten(2)
        scores = self.intersection(torch.cat([repeated, found], dim=1)).float()
        mask = scores[:, 1] > scores[:, 0]
        each = (found * mask[:, None]).unflatten(2, shape)  # (B, C, P, K, R)
        joined = self.bin_reduce(each.transpose(2, 3).flatten(1, 2).flatten(2))
        joined = joined.unflatten(2, (shape[0], shape[2])).transpose(2, 3).flatten(1, 2)
        return AnchorFeatures(
            self.ray_reduce(joined), scores, mask.unflatten(1, shape), hits.unflatten(1, shape)
        )

    def around(self, anchors: Tensor, points: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, A) features of the points around anchors (B, A, 3), and whether there are any.

        Anchors without points have zeros, and take no part in the batch norm.
        """
        index = ball_query(points, anchors, self.radius, self.samples, pad="zero")
        hits = index[..., 0] > 0
        scene = hits.nonzero()[:, 0]
        near = index[hits] - 1 + scene[:, None] * points.shape[1]  # (V, S), over all scenes
        cloud = torch.cat([points.transpose(1, 2), features], dim=1)
        grouped = cloud.transpose(0, 1).flatten(1).index_select(1, near.flatten())
        offsets = grouped[:3].unflatten(1, near.shape) - anchors[hits].t()[..., None]
        grouped = torch.cat([offsets, grouped[3:].unflatten(1, near.shape)])
        if len(near):
            own = self.aggregation(grouped[None])[0].amax(dim=-1).t()
        else:  # a batch norm refuses to train on nothing
            own = features.new_zeros(0, self.channels)
        found = own.new_zeros(*hits.shape, own.shape[1])
        found[hits] = own
        return found.transpose(1, 2), hits


@dataclass(frozen=True)
class RayFeatures:
    """features: (B, C, P), of fine and coarse anchors together."""

    features: Tensor
    coarse: AnchorFeatures
    fine: AnchorFeatures


class RayGrouping(nn.Module):
    """Coarse anchors all along each ray, then fine anchors where these met their own object."""

    def __init__(self, model: RBGNetModel) -> None:
        super().__init__()
        width, seeds = model.proposal_channels, model.seed_channels
        points, channels = seeds // 4, model.ray_channels
        self.margin: Margin = model.fine_margin
        self.register_buffer("rays", unit_rays(model.rays), persistent=False)
        self.rays: Tensor
        self.reduce = PointMLP([seeds, seeds // 2, points])
        (self.coarse, self.fine) = (
            RayBranch(bins, model.rays, radius, samples, points, channels, width)
            for bins, radius, samples in (
                (model.coarse_bins, model.coarse_radius, model.coarse_samples),
                (model.fine_bins, model.fine_radius, model.fine_samples),
            )
        )
        self.fuse = PointMLP([2 * width, 2 * width, width])

    def forward(
        self, clusters: PointSet, length: Tensor, points: Tensor, seeds: PointSet
    ) -> RayFeatures:
        """length: (B, P) of the rays in metres. points: (B, M, 3) that anchors look for. Their
        features come from the seeds.
        """
        features = self.reduce(interpolated(points, seeds.points, seeds.features))
        anchors = self.coarse_anchors(clusters.points, length)
        coarse: AnchorFeatures = self.coarse(clusters.features, anchors, points, features)
        anchors = self.fine_anchors(clusters.points, length, coarse.hits & coarse.mask)
        fine: AnchorFeatures = self.fine(clusters.features, anchors, points, features)
        fused = self.fuse(torch.cat([fine.features, coarse.features], dim=1))
        return RayFeatures(fused, coarse, fine)

    def coarse_anchors(self, centres: Tensor, length: Tensor) -> Tensor:
        """(B, P, K, R, 3), see `anchors_on`."""
        fractions = coarse_fractions(self.coarse.bins, centres.device)
        return anchors_on(centres, length, fractions, self.rays)

    def fine_anchors(self, centres: Tensor, length: Tensor, hits: Tensor) -> Tensor:
        """(B, P, K, R, 3), see `fine_fractions`."""
        margin: float | Tensor = self.coarse.radius
        if self.margin == "metres":
            margin = margin / length[..., None, None]
        fractions = fine_fractions(hits, self.fine.bins, margin)
        return anchors_on(centres, length, fractions, self.rays)


class ScaleHead(nn.Module):
    """The logarithm of the diagonal of each cluster's box in metres."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = PointMLP([channels, channels, channels])
        self.conv = nn.Conv1d(channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, P) of features (B, C, P)."""
        scale: Tensor = self.conv(self.mlp(features))
        return scale.squeeze(1).float()


class BoxHead(nn.Module):
    """Two layers, then one for logits and one for the box of each proposal."""

    def __init__(self, channels: int, classes: int, boxes: int) -> None:
        super().__init__()
        self.shared = PointMLP([channels, channels, channels])
        self.conv_cls = nn.Conv1d(channels, classes, 1)
        self.conv_reg = nn.Conv1d(channels, boxes, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P, classes) and (B, P, boxes) of features (B, C, P)."""
        x = self.shared(features)
        cls, reg = self.conv_cls(x).float(), self.conv_reg(x).float()
        return cls.transpose(1, 2), reg.transpose(1, 2)


@dataclass(frozen=True)
class RayOutputs:
    """The outputs of P proposals of B scenes.

    scale: (B, P) diagonals in metres. objectness: (B, P, 2) logits of background and object.
    centres: (B, P, 3). headings: (B, P, H) logits of bins. heading_offsets: (B, P, H) in units of
    half a bin, or in half turns with a single bin. log_sizes: (B, P, 3), of metres.
    classes: (B, P, C) logits.
    """

    scale: Tensor
    objectness: Tensor
    centres: Tensor
    headings: Tensor
    heading_offsets: Tensor
    log_sizes: Tensor
    classes: Tensor

    @property
    def sizes(self) -> Tensor:
        """(B, P, 3) metres."""
        return self.log_sizes.exp()


def count_box_outputs(bins: int) -> int:
    """Number of a proposal's outputs for its box: centre, heading, size."""
    return 3 + 2 * bins + 3


def read_outputs(
    scale: Tensor, cls: Tensor, reg: Tensor, clusters: Tensor, bins: HeadingBins
) -> RayOutputs:
    """The outputs of both heads for proposals at clusters (B, P, 3)."""
    objectness, classes = cls.split([2, cls.shape[-1] - 2], dim=-1)
    offset, headings, heading_offsets, sizes = reg.split([3, bins.count, bins.count, 3], dim=-1)
    return RayOutputs(
        scale, objectness, clusters + offset, headings, heading_offsets, sizes, classes
    )


def decode(outputs: RayOutputs, bins: HeadingBins) -> Tensor:
    """(B, P, 7) boxes with the heading of the most probable bin."""
    yaw = -bins.likeliest(outputs.headings, outputs.heading_offsets)
    return torch.cat([outputs.centres, outputs.sizes, yaw[..., None]], dim=-1)
