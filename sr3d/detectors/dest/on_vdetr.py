"""DEST on V-DETR, a reconstruction: its authors published numbers and a figure, no code.

V-DETR's network, in which DEST's layers, as published on GroupFree, replace the layers of the
decoder. docs/detectors/dest.md says what is known and what is assumed.
"""

from __future__ import annotations

from torch import Tensor, nn

from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.pointnet2 import rows
from sr3d.detectors.dest.network import ScanLayer
from sr3d.detectors.dest.on_vdetr_config import DESTOnVDETRModel
from sr3d.detectors.dest.serialisation import scan_order
from sr3d.detectors.vdetr.config import VoxelQueryModel
from sr3d.detectors.vdetr.detector import VDETR
from sr3d.detectors.vdetr.network import VertexDecoder
from sr3d.points import group


class ScanDecoder(VertexDecoder):
    """V-DETR's decoder with scans of the points. A query begins with the features of its point."""

    def add_layers(self, config: VoxelQueryModel, rotated: bool) -> None:
        assert isinstance(config, DESTOnVDETRModel)
        self.layers = nn.ModuleList(
            ScanLayer(
                config.channels,
                config.heads,
                config.hidden,
                config.dropout,
                config.bidirectional,
                last=i == config.layers - 1,
            )
            for i in range(config.layers)
        )

    def begun(self, memory: Tensor, best: Tensor) -> Tensor:
        return rows(memory, best)

    def refined(
        self, layer: int, queries: Tensor, memory: Tensor, points: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        order = scan_order(points, layer)
        key = group(memory.transpose(1, 2), order)
        query, key = self.layers[layer](
            queries.transpose(1, 2), key, boxes[..., :6], rows(points, order)
        )
        return query.transpose(1, 2), group(key, order.argsort(dim=1)).transpose(1, 2)


class DESTOnVDETR(VDETR):
    """V-DETR whose decoder layers scan the points in an order of their own."""

    config: DESTOnVDETRModel

    def new_decoder(self, bins: HeadingBins) -> ScanDecoder:
        return ScanDecoder(self.config, len(self.classes), bins)
