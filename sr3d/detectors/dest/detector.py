"""DEST (Wang et al., ICLR 2025) on GroupFree: queries are the states of scans of the seeds.

Source: OpenSpaceAI/DEST3D (models/dest_detector.py), including the names of weights. All but the
decoder is GroupFree's.
"""

from __future__ import annotations

from torch import Tensor

from sr3d.detectors.common.pointnet2 import rows
from sr3d.detectors.dest.config import DESTModel
from sr3d.detectors.dest.network import ScanLayer
from sr3d.detectors.dest.serialisation import scan_order
from sr3d.detectors.groupfree.detector import GroupFree
from sr3d.points import group


class DEST(GroupFree):
    """GroupFree whose decoder layers scan the seeds in an order of their own."""

    config: DESTModel

    def layer(self, index: int) -> ScanLayer:
        config = self.config
        return ScanLayer(
            config.channels,
            config.heads,
            config.feedforward,
            config.dropout,
            config.bidirectional,
            last=index == config.layers - 1,
        )

    def refined(
        self, index: int, query: Tensor, key: Tensor, places: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor]:
        order = scan_order(seeds, index)
        layer = self.decoder[index]
        query, key = layer(query, group(key, order), places, rows(seeds, order))
        return query, group(key, order.argsort(dim=1))
