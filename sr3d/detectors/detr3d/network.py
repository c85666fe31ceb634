"""Parts of 3DETR's network: encoder, position embedding, projections and heads.

Source, also of the names of weights: facebookresearch/3detr (models/model_3detr.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sr3d.detectors.common.initialisation import draw_matrices
from sr3d.detectors.common.pointnet2 import PointSet, SetAbstraction
from sr3d.detectors.detr3d.config import DETR3DModel
from sr3d.detectors.detr3d.transformer import PointEncoderLayer, copies

ENCODER_LAYERS = 3
TIE_THREADS = 512  # threads of the original's kernel, which settle ties
_FLAT = 1e-6  # metres, so that a flat cloud divides by no zero


class Extent(NamedTuple):
    """The bounding boxes of clouds: minimum and maximum, (B, 3) each, metres."""

    low: Tensor
    high: Tensor

    @staticmethod
    def of(points: Tensor) -> Extent:
        """points: (B, N, 3)."""
        return Extent(*points.aminmax(dim=1))

    @property
    def size(self) -> Tensor:
        """(B, 3)."""
        return self.high - self.low

    def of_scene(self, scene: int) -> Extent:
        """The extent of one cloud, as a batch of it."""
        return Extent(self.low[scene : scene + 1], self.high[scene : scene + 1])

    def normalised(self, points: Tensor) -> Tensor:
        """Points (…, B, N, 3) with the cloud as the unit cube."""
        return self.shares(points - self.low[:, None])

    def shares(self, sizes: Tensor) -> Tensor:
        """Sizes (…, B, N, 3) in edges of the cloud's bounding box."""
        return sizes / self.size[:, None].clamp(min=_FLAT)


class RawOutputs(NamedTuple):
    """What the heads say of Q queries, after each of L decoder layers.

    logits: (L, B, Q, C + 1), the last for no object. center: (L, B, Q, 3), metres from the query's
    point, before the sigmoid. size: (L, B, Q, 3), shares of the cloud's extent, before the sigmoid.
    heading_logits, heading_residual: (L, B, Q, bins), residuals in half bins.
    """

    logits: Tensor
    center: Tensor
    size: Tensor
    heading_logits: Tensor
    heading_residual: Tensor


class FourierEmbedding(nn.Module):
    """Sines and cosines of random projections, fixed at construction, of normalised positions."""

    gauss_B: Tensor  # (3, channels / 2); the name in checkpoints

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("gauss_B", torch.randn(3, channels // 2))

    @torch.no_grad()
    def forward(self, points: Tensor, extent: Extent) -> Tensor:
        """(B, channels, N) of points (B, N, 3)."""
        with torch.autocast(points.device.type, enabled=False):
            angles = (extent.normalised(points) * (2 * math.pi)) @ self.gauss_B
        return torch.cat([angles.sin(), angles.cos()], dim=2).transpose(1, 2)


class PointEncoder(nn.Module):
    """Self-attention between the points of the pre-encoder.

    3DETR-m lets a point attend only to points within a radius, which grows from layer to layer. It
    keeps half of the points after the first layer.
    """

    interim_downsampling: SetAbstraction | None

    def __init__(self, config: DETR3DModel) -> None:
        super().__init__()
        channels = config.channels
        layer = PointEncoderLayer(
            channels, config.heads, config.encoder_hidden, config.encoder_dropout
        )
        self.layers = copies(layer, ENCODER_LAYERS)
        draw_matrices(self)  # the interim layer keeps its own initialisation
        self.radii: tuple[float, ...] = ()
        self.interim_downsampling = None
        if config.encoder == "masked":
            self.radii = tuple(r**2 if config.squared_radii else r for r in config.mask_radii)
            _, radius = config.radii
            _, samples = config.samples
            self.interim_downsampling = SetAbstraction(
                config.seeds // 2, radius, samples, [channels] * 4, tie_threads=TIE_THREADS
            )

    def forward(self, seeds: PointSet) -> PointSet:
        """The encoded points: all of the S seeds, or half of them in 3DETR-m."""
        points, tokens, index = seeds.points, seeds.features.transpose(1, 2), seeds.index
        distances = None
        for i, layer in enumerate(self.layers):
            allowed = None
            if self.radii:
                distances = _distances(points) if distances is None else distances
                allowed = distances < self.radii[i]
            tokens = layer(tokens, allowed)
            if i == 0 and self.interim_downsampling is not None:
                fewer = self.interim_downsampling(points, tokens.transpose(1, 2))
                points, tokens = fewer.points, fewer.features.transpose(1, 2)
                index, distances = index.gather(1, fewer.index), None
        return PointSet(points, tokens.transpose(1, 2), index)


class Heads(nn.ModuleDict):
    """Five networks that all decoder layers share. Each predicts one part of `RawOutputs`."""

    def __init__(self, channels: int, classes: int, bins: int, dropout: float) -> None:
        outputs = {
            "sem_cls_head": classes + 1,
            "center_head": 3,
            "size_head": 3,
            "angle_cls_head": bins,
            "angle_residual_head": bins,
        }
        super().__init__(
            {name: prediction_head(channels, n, dropout) for name, n in outputs.items()}
        )

    def forward(self, layers: Sequence[Tensor]) -> RawOutputs:
        """layers: the queries (B, Q, C) after each layer.

        All layers are one batch, so in training the batch norms mix the statistics of all layers.
        """
        together = torch.cat(list(layers)).transpose(1, 2)
        return RawOutputs(
            *(
                head(together).transpose(1, 2).unflatten(0, (len(layers), -1)).float()
                for head in self.values()
            )
        )


def projection(config: DETR3DModel) -> Layers:
    """From the encoder's features (B, C, N) to the decoder's."""
    depth = 2 if config.encoder == "masked" else 3
    channels = config.channels
    return Layers(*(part for _ in range(depth) for part in normed(channels, channels)))


def query_projection(channels: int) -> Layers:
    """From positions of queries (B, C, Q) to the embeddings that the decoder adds."""
    return Layers(
        *(part for _ in range(2) for part in (nn.Conv1d(channels, channels, 1), nn.ReLU()))
    )


class Layers(nn.Module):
    """A sequence whose parts are named `layers.0`, `layers.1`, …"""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def normed(in_channels: int, channels: int) -> list[nn.Module]:
    """A convolution of width 1, batch norm and ReLU."""
    conv = nn.Conv1d(in_channels, channels, 1, bias=False)
    return [conv, nn.BatchNorm1d(channels), nn.ReLU()]


def prediction_head(channels: int, outputs: int, dropout: float) -> Layers:
    """Three convolutions of width 1: (B, channels, N) to (B, outputs, N)."""
    first, second = ([*normed(channels, channels), nn.Dropout(dropout)] for _ in range(2))
    return Layers(*first, *second, nn.Conv1d(channels, outputs, 1))


@torch.no_grad()
def _distances(points: Tensor) -> Tensor:
    """(B, N, N) between points (B, N, 3)."""
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
