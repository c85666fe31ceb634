"""PointNet++: set abstraction and feature propagation, for every detector that samples points.

The names of weights are those of facebookresearch/votenet (pointnet2/pointnet2_modules.py), whose
rules these layers follow. Other repositories name the same layers differently, see each family's
`names.py`.

Points are (B, N, 3) in metres. Features are (B, C, N).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from sr3d.points import ball_query, furthest_points, group, interpolate, nearest

_EPSILON = 1e-8  # metres, added to distances before they are inverted
_CACHED = 1 << 20  # features that fit into the cache of a CPU, about


@dataclass(frozen=True)
class PointSet:
    """points: (B, M, 3) metres. features: (B, C, M). index: (B, M) int64, of these points among the
    points that the module was given. For a whole backbone these are the points of the batch.
    """

    points: Tensor
    features: Tensor
    index: Tensor


class SharedLayer(nn.Sequential):
    """A 1x1 convolution without bias, batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        nn.init.kaiming_normal_(conv.weight)
        norm = nn.Sequential(OrderedDict(bn=nn.BatchNorm2d(outputs)))  # named `bn.bn`
        super().__init__(OrderedDict(conv=conv, bn=norm, activation=nn.ReLU(inplace=True)))


class SharedMLP(nn.Sequential):
    """Layers that treat each point alike: (B, C, M, S) to (B, C', M, S).

    channels: of the input, then of each layer. Initialised by Kaiming's normal distribution over
    the inputs.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        layers = [SharedLayer(a, b) for a, b in pairwise(channels)]
        super().__init__(OrderedDict((f"layer{i}", layer) for i, layer in enumerate(layers)))


class LocalAggregation(nn.Module):
    """Groups the points around given centres, and takes the maximum of their features.

    radius: of a group in metres. samples: points of a group. channels: of the input's features, 0
    if it has none, then of each layer. normalize: divide offsets by the radius.
    """

    def __init__(
        self, radius: float, samples: int, channels: Sequence[int], *, normalize: bool = True
    ) -> None:
        super().__init__()
        self.radius, self.samples, self.normalize = radius, samples, normalize
        self.mlp_module = SharedMLP([channels[0] + 3, *channels[1:]])
        self.widest = max(channels[1:])

    def around(self, points: Tensor, features: Tensor | None, centres: Tensor) -> Tensor:
        """(B, C, M) features of the groups around centres (B, M, 3), which need not be points."""
        index = ball_query(points, centres, self.radius, self.samples)
        if self.training or torch.is_grad_enabled() or index.device.type != "cpu":
            return self._maxima(points, features, centres, index)
        # Twice as fast on a CPU if the features of these groups fit into its cache. Gradients, and
        # batch norms in training mode, need all groups.
        count = max(1, _CACHED // (index.shape[0] * index.shape[2] * self.widest))
        parts = zip(centres.split(count, dim=1), index.split(count, dim=1), strict=True)
        return torch.cat([self._maxima(points, features, *part) for part in parts], dim=2)

    def _maxima(
        self, points: Tensor, features: Tensor | None, centres: Tensor, index: Tensor
    ) -> Tensor:
        """(B, C, M) maxima of the groups with points at index (B, M, S)."""
        grouped = group(points.transpose(1, 2), index) - centres.transpose(1, 2)[..., None]
        if self.normalize:
            grouped = grouped / self.radius
        if features is not None:
            grouped = torch.cat([grouped, group(features, index)], dim=1)
        return largest(self.mlp_module(grouped))


class SetAbstraction(LocalAggregation):
    """Samples centres among the points, and aggregates the points around each.

    count: number of centres. skip_origin, tie_threads: see `sr3d.points.furthest_points`. Others:
    see `LocalAggregation`.
    """

    def __init__(
        self,
        count: int,
        radius: float,
        samples: int,
        channels: Sequence[int],
        *,
        normalize: bool = True,
        skip_origin: bool = True,
        tie_threads: int | None = 512,
    ) -> None:
        super().__init__(radius, samples, channels, normalize=normalize)
        self.count, self.skip_origin, self.tie_threads = count, skip_origin, tie_threads

    def forward(
        self, points: Tensor, features: Tensor | None, index: Tensor | None = None
    ) -> PointSet:
        """M centres with features (B, C', M), of points (B, N, 3) with features (B, C, N).

        index: (B, M) of the centres. None samples the furthest points.
        """
        if index is None:
            index = self.sample(points)
        centres = rows(points, index)
        return PointSet(centres, self.around(points, features, centres), index)

    def sample(self, points: Tensor) -> Tensor:
        """(B, M) indices of the furthest points."""
        return furthest_points(points, self.count, self.skip_origin, self.tie_threads)


class FeaturePropagation(nn.Module):
    """Interpolates features at more points, and joins the features that these points have.

    channels: of interpolated and own features together, then of each layer.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.mlp = SharedMLP(channels)

    def forward(
        self, points: Tensor, sources: Tensor, features: Tensor, source_features: Tensor
    ) -> Tensor:
        """(B, C', N) features at points (B, N, 3), which have features (B, C, N).

        sources: (B, M, 3), with source_features (B, C, M).
        """
        found = interpolated(points, sources, source_features)
        return self.mlp(torch.cat([found, features], dim=1)[..., None]).squeeze(-1)


class PointNet2(nn.Module):
    """Four levels of set abstraction, and two of feature propagation back to the second level."""

    def __init__(
        self,
        inputs: int,
        counts: Sequence[int],
        radii: Sequence[float],
        samples: Sequence[int],
        planes: Sequence[int],
        outputs: int,
        *,
        normalize: bool = True,
        skip_origin: bool = True,
        tie_threads: int | None = 512,
    ) -> None:
        """counts, radii, samples, planes: of the four levels, see `PointNet2Model`. Hidden layers
        have half as many channels. inputs, outputs: channels of points and seeds. Others: see
        `SetAbstraction`.
        """
        super().__init__()
        channels = [inputs, *planes]
        self.sa1, self.sa2, self.sa3, self.sa4 = (
            SetAbstraction(
                count, radius, most, [given, plane // 2, plane // 2, plane],
                normalize=normalize, skip_origin=skip_origin, tie_threads=tie_threads,
            )
            for count, radius, most, (given, plane) in zip(
                counts, radii, samples, pairwise(channels), strict=True
            )
        )  # fmt: skip
        _, second, third, fourth = planes
        self.fp1 = FeaturePropagation([fourth + third, third, third])
        self.fp2 = FeaturePropagation([third + second, third, outputs])

    def forward(self, points: Tensor, features: Tensor | None) -> PointSet:
        """The seeds, which are the points of the second level, with features (B, outputs, S).

        points: (B, N, 3). features: (B, inputs, N), None if there are none.
        """
        sa1: PointSet = self.sa1(points, features)
        sa2: PointSet = self.sa2(sa1.points, sa1.features)
        sa3: PointSet = self.sa3(sa2.points, sa2.features)
        sa4: PointSet = self.sa4(sa3.points, sa3.features)
        found = self.propagate(sa2, sa3, sa4)
        return PointSet(sa2.points, found, sa1.index.gather(1, sa2.index))

    def propagate(self, sa2: PointSet, sa3: PointSet, sa4: PointSet) -> Tensor:
        """(B, C, M) features of the second level, from the levels above it and its own."""
        found = self.fp1(sa3.points, sa4.points, sa3.features, sa4.features)
        features: Tensor = self.fp2(sa2.points, sa3.points, sa2.features, found)
        return features


def interpolated(points: Tensor, sources: Tensor, features: Tensor) -> Tensor:
    """(B, C, N) features at points (B, N, 3), by inverse distance from the three nearest sources.

    sources: (B, M, 3), with features (B, C, M).
    """
    squared, index = nearest(sources, points, 3)
    inverse = 1 / (squared.sqrt() + _EPSILON)
    return interpolate(features, index, inverse / inverse.sum(dim=-1, keepdim=True))


def largest(values: Tensor) -> Tensor:
    """The maximum along the last axis. The first of equal values gets the gradient."""
    if torch.is_grad_enabled():
        return values.max(dim=-1).values
    return values.amax(dim=-1)  # ten times faster, but it shares the gradient of equal values


def rows(values: Tensor, index: Tensor) -> Tensor:
    """(B, M, C) rows of values (B, N, C) at an index (B, M)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def entries(values: Tensor, index: Tensor) -> Tensor:
    """(B, M, …): entry index (B, M) of each row of values (B, M, S, …)."""
    at = index[(...,) + (None,) * (values.ndim - 2)].expand(-1, -1, 1, *values.shape[3:])
    return values.gather(2, at).squeeze(2)
