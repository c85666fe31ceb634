"""3DETR: a transformer on points, whose queries are matched one to one with the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scene import Scene
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_detector import PointDetector
from sr3d.detectors.common.point_inputs import PointBatch
from sr3d.detectors.common.pointnet2 import SetAbstraction, rows
from sr3d.detectors.common.proposals import Proposals, select_proposals
from sr3d.detectors.detr3d.boxes import decode
from sr3d.detectors.detr3d.config import DETR3DConfig, DETR3DInference, DETR3DModel
from sr3d.detectors.detr3d.giou import BoxOverlap
from sr3d.detectors.detr3d.loss import QueryPredictions, SetLoss
from sr3d.detectors.detr3d.network import (
    TIE_THREADS,
    Extent,
    FourierEmbedding,
    Heads,
    PointEncoder,
    RawOutputs,
    projection,
    query_projection,
)
from sr3d.detectors.detr3d.transformer import QueryDecoder, QueryDecoderLayer
from sr3d.detectors.outputs import Detections, Losses, Total, alone
from sr3d.detectors.scan import split_points
from sr3d.matching.hungarian import HungarianMatcher
from sr3d.points import furthest_points


class DETR3D(PointDetector[QueryPredictions]):
    """3DETR and 3DETR-m. Weights have the names of facebookresearch/3detr."""

    config: DETR3DModel
    inference: DETR3DInference

    def __init__(self, config: DETR3DConfig) -> None:
        super().__init__(config)
        model, costs, rotated = config.model, config.assigner, self.dataset.rotated
        channels = model.channels
        self.bins = HeadingBins(model.heading_bins if rotated else 1)
        self.set_loss = SetLoss(
            HungarianMatcher(
                costs.cls_cost, costs.objectness_cost, costs.center_cost, costs.giou_cost
            ),
            BoxOverlap(rotated, legacy=config.loss.rotated_giou == "legacy"),
            self.bins,
            config.loss,
        )
        widths = [0, channels // 4, channels // 2, channels]
        self.pre_encoder = SetAbstraction(
            model.seeds, model.radii[0], model.samples[0], widths, tie_threads=TIE_THREADS
        )
        self.encoder = PointEncoder(model)
        self.encoder_to_decoder_projection = projection(model)
        self.pos_embedding = FourierEmbedding(channels)
        self.query_projection = query_projection(channels)
        layer = QueryDecoderLayer(
            channels, model.heads, model.decoder_hidden, model.decoder_dropout
        )
        self.decoder = QueryDecoder(layer, model.decoder_layers, channels)
        self.mlp_heads = Heads(channels, len(self.classes), self.bins.count, model.head_dropout)

    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> PointBatch:
        """Coordinates alone."""
        return self.draw_points(scenes, self.config.num_points, generators)

    def forward(self, batch: PointBatch) -> QueryPredictions:
        extent = Extent.of(batch.points)
        with self.network_mode():
            queries, raw = self.network(batch.points, extent)
        boxes = decode(raw, queries, extent, self.bins)
        return QueryPredictions(raw, boxes, queries, batch.points, extent)

    def network(self, points: Tensor, extent: Extent) -> tuple[Tensor, RawOutputs]:
        """The points of the queries (B, Q, 3), and the outputs of the heads. points: (B, N, 3)."""
        seeds = self.encoder(self.pre_encoder(points, None))
        memory = self.encoder_to_decoder_projection(seeds.features).transpose(1, 2)
        position = self.pos_embedding(seeds.points, extent).transpose(1, 2)
        chosen = furthest_points(seeds.points, self.config.queries, tie_threads=TIE_THREADS)
        queries = rows(seeds.points, chosen)
        embedded = self.query_projection(self.pos_embedding(queries, extent)).transpose(1, 2)
        return queries, self.mlp_heads(self.decoder(embedded, memory, position))

    def loss(
        self, predictions: QueryPredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        return self.set_loss(predictions, truth, total)

    def detections(self, predictions: QueryPredictions) -> list[Detections]:
        """By the last layer alone."""
        scenes = zip(self.proposals(predictions), predictions.points, strict=True)
        return [select_proposals(*scene, self.inference) for scene in scenes]

    def proposals(self, predictions: QueryPredictions) -> list[Proposals]:
        """The last layer's boxes of each scene."""
        last = (predictions.boxes, predictions.objectness, predictions.probabilities)
        return [Proposals(*parts) for parts in zip(*(x[-1] for x in last), strict=True)]

    def stages(self) -> dict[str, str]:
        """The stage "neck" is the decoder."""
        return {
            "pre_encoder": "backbone",
            "encoder": "backbone",
            "encoder_to_decoder_projection": "neck",
            "query_projection": "neck",
            "decoder": "neck",
            "mlp_heads": "head",
        }

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> dict[str, Tensor]:
        """Outputs of one scan by the names of the original, for each layer.

        Of Q queries, for layer i from 0: `layer{i}_sem_cls_logits` (Q, C + 1),
        `layer{i}_center_unnormalized` (Q, 3) metres, `layer{i}_size_normalized` (Q, 3),
        `layer{i}_angle_logits` and `layer{i}_angle_residual_normalized` (Q, bins). Also `query_xyz`
        (Q, 3) metres. Angles turn clockwise. Arguments: see `detect`.
        """
        self.eval()
        xyz, rgb = split_points(points, colors)
        found = self(self.inputs([Scene.unlabelled(xyz, rgb)]))
        outputs = {"query_xyz": found.queries[0]}
        for i, boxes in enumerate(found.boxes[:, 0]):
            logits, _, size, heading_logits, heading_residual = (x[i, 0] for x in found.raw)
            outputs |= {
                f"layer{i}_sem_cls_logits": logits,
                f"layer{i}_center_unnormalized": boxes[:, :3],
                f"layer{i}_size_normalized": size.sigmoid(),
                f"layer{i}_angle_logits": heading_logits,
                f"layer{i}_angle_residual_normalized": heading_residual,
            }
        return outputs
