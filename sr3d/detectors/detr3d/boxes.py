"""From 3DETR's raw outputs to boxes in our conventions. Its headings turn clockwise.

Source: facebookresearch/3detr (models/model_3detr.py).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.detr3d.network import Extent, RawOutputs

_LEAST_EXTENT = 0.1  # metres. Flatter clouds count as this thick where sizes are decoded


def decode(raw: RawOutputs, queries: Tensor, extent: Extent, bins: HeadingBins) -> Tensor:
    """(L, B, Q, 7) boxes of raw outputs. queries: (B, Q, 3).

    A centre lies at most 0.5 m from its query's point, along each axis. A size is a share of the
    sampled cloud's extent.
    """
    center = queries + (raw.center.sigmoid() - 0.5)
    size = raw.size.sigmoid() * extent.size.clamp(min=_LEAST_EXTENT)[:, None]
    yaw = -bins.likeliest(raw.heading_logits, raw.heading_residual)
    return torch.cat([center, size, yaw[..., None]], dim=-1)
