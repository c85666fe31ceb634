"""GroupFree (Liu et al., ICCV 2021): queries are sampled from seeds, and attention refines them.

Source: zeliu98/Group-Free-3D (models/detector.py, models/ap_helper.py, eval_avg.py), including the
names of weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sr3d.config import TrainConfig
from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scene import Scene
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.initialisation import draw_matrices
from sr3d.detectors.common.point_detector import PointDetector
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.pointnet2 import PointNet2, PointSet, rows
from sr3d.detectors.common.proposals import Proposals, select_proposals
from sr3d.detectors.groupfree.assignment import assign
from sr3d.detectors.groupfree.config import (
    GroupFreeInference,
    QueryConfig,
    QueryModel,
    Stages,
)
from sr3d.detectors.groupfree.loss import unweighted_losses, weighted_losses
from sr3d.detectors.groupfree.network import (
    DecoderLayer,
    GroupFreePredictions,
    PredictionHead,
    SeedScores,
    Stage,
    stage_names,
)
from sr3d.detectors.outputs import Detections, Losses, Total, alone
from sr3d.detectors.scan import split_points
from sr3d.points import group


class GroupFree(PointDetector[GroupFreePredictions]):
    """PointNet++, sampling of queries, a proposal, and decoder layers with a head each."""

    config: QueryModel
    inference: GroupFreeInference

    def __init__(self, config: QueryConfig) -> None:
        super().__init__(config)
        model = config.model
        self.assigner, self.loss_config = config.assigner, config.loss
        self.bins = HeadingBins(model.heading_bins if self.dataset.rotated else 1)
        sizes = torch.tensor(self.dataset.mean_sizes) if model.box_size == "class" else None
        self.register_buffer("mean_sizes", sizes, persistent=False)
        self.mean_sizes: Tensor | None
        self.backbone_net = PointNet2(
            0, model.levels, model.radii, model.samples, model.planes, model.channels,
            skip_origin=model.skip_origin,
        )  # fmt: skip
        self.points_obj_cls = SeedScores(model.channels)
        self.proposal_head = self._head()
        self.decoder_query_proj = nn.Conv1d(model.channels, model.channels, kernel_size=1)
        self.decoder_key_proj = nn.Conv1d(model.channels, model.channels, kernel_size=1)
        self.decoder = nn.ModuleList(self.layer(i) for i in range(model.layers))
        self.prediction_heads = nn.ModuleList(self._head() for _ in range(model.layers))
        draw_matrices(self.decoder)  # as published

    def layer(self, index: int) -> nn.Module:
        """A new layer of the decoder."""
        return DecoderLayer(self.config)

    def _head(self) -> PredictionHead:
        classes = len(self.dataset.classes)
        return PredictionHead(self.config.channels, classes, self.bins.count, self.mean_sizes)

    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> PointBatch:
        """Coordinates of points, without colours and heights."""
        return self.draw_points(scenes, self.config.num_points, generators)

    def stages(self) -> dict[str, str]:
        """The decoder is the stage "neck"."""
        layers = range(self.config.layers)
        heads = ["points_obj_cls", "proposal_head", *(f"prediction_heads.{i}" for i in layers)]
        return {
            "backbone_net": "backbone",
            **{f"decoder.{i}": "neck" for i in layers},
            **dict.fromkeys(heads, "head"),
        }

    def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:
        """The decoder with its projections and embeddings has a learning rate of its own."""
        named = dict(self.named_parameters())
        decoder = [p for name, p in named.items() if name.startswith("decoder")]
        others = [p for name, p in named.items() if not name.startswith("decoder")]
        return [{"params": others}, {"params": decoder, "lr_scale": self.config.decoder_lr}]

    def forward(self, batch: PointBatch) -> GroupFreePredictions:
        with self.network_mode():
            seeds = self.backbone_net(batch.points, None)
            logits = self.points_obj_cls(seeds.features).float()
            queries = logits.topk(self.config.queries, dim=1).indices
            stages = self._stages(seeds, queries)
        names = stage_names(self.config.layers)
        named = dict(zip(names, stages, strict=True))
        return GroupFreePredictions(batch, seeds, logits, queries, named)

    def _stages(self, seeds: PointSet, queries: Tensor) -> list[Stage]:
        """The proposal, then the output of each decoder layer.

        The box of a stage is the position of its query in the next layer, without gradient. Centres
        are always relative to the seed of the query.
        """
        points, features = rows(seeds.points, queries), group(seeds.features, queries)
        stages = [self.proposal_head(features, points)]
        query, key = self.decoder_query_proj(features), self.decoder_key_proj(seeds.features)
        for i, head in enumerate(self.prediction_heads):
            query, key = self.refined(i, query, key, stages[-1].places(), seeds.points)
            stages.append(head(query, points))
        return stages

    def refined(
        self, index: int, query: Tensor, key: Tensor, places: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The queries (B, C, K) after a layer of the decoder, and the keys (B, C, S) for the next.

        places: (B, K, 6), see `Stage.places`. seeds: (B, S, 3).
        """
        return self.decoder[index](query, key, places, seeds), key

    def loss(
        self, predictions: GroupFreePredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        config = self.loss_config
        padded = PaddedTruth.of(truth, len(predictions.batch), least=1)
        assignment = assign(predictions, padded, self.assigner, config.size_target)
        sampling, stages = unweighted_losses(
            predictions, padded, assignment, self.bins, config, self.mean_sizes, total
        )
        terms = weighted_losses(sampling, stages, config)
        return Losses(terms, {"positives": assignment.positive.sum()})

    def detections(self, predictions: GroupFreePredictions) -> list[Detections]:
        """The proposals of some stages as one set, see `select_proposals`."""
        each = zip(self.proposals(predictions), predictions.batch.points, strict=True)
        return [select_proposals(found, points, self.inference) for found, points in each]

    def proposals(self, predictions: GroupFreePredictions) -> list[Proposals]:
        """Those of each scene, of the stages that the test configuration names."""
        stages = ensemble(predictions.stages, self.inference.stages)
        boxes = torch.cat([stage.boxes(self.bins) for stage in stages], dim=1)
        objectness = torch.cat([stage.objectness.sigmoid() for stage in stages], dim=1)
        classes = torch.cat([stage.classes.softmax(dim=2) for stage in stages], dim=1)
        return [Proposals(*scene) for scene in zip(boxes, objectness, classes, strict=True)]

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> dict[str, Tensor]:
        """Outputs of one scan before post-processing, with the names of the original.

        `seed_inds` (S,), `seed_xyz` (S, 3), `seed_features` (C, S), `seeds_obj_cls_logits` (S,) and
        `query_points_sample_inds` (K,), and of each stage `NAME_center` (K, 3), …: see
        `published_outputs`. The names of the stages are `proposal`, `0head`, …, `last`.
        """
        self.eval()
        scene = Scene.unlabelled(*split_points(points, colors))
        found = self(self.inputs([scene]))
        outputs = {
            "seed_inds": found.seeds.index,
            "seed_xyz": found.seeds.points,
            "seed_features": found.seeds.features,
            "seeds_obj_cls_logits": found.seed_logits,
            "query_points_sample_inds": found.queries,
        }
        for stage, values in found.stages.items():
            named = published_outputs(values)
            outputs |= {f"{stage}_{name}": value for name, value in named.items()}
        return {name: value[0] for name, value in outputs.items()}


def ensemble(stages: Mapping[str, Stage], which: Stages) -> list[Stage]:
    """The stages whose boxes form one set, in the original's order. stages: in the network's."""
    proposal, *before, last = stages.values()
    match which:
        case "last":
            return [last]
        case "last_three":
            return [last, *before[:-3:-1]]
        case "all":
            return [last, proposal, *before]


def published_outputs(stage: Stage) -> dict[str, Tensor]:
    """The outputs of a stage by the original's names, see `Stage`.

    `objectness_scores` (B, K, 1), `center`, `heading_scores`, `heading_residuals_normalized`,
    `pred_size`, `sem_cls_scores`, and if sizes are relative to mean sizes, `size_scores` and
    `size_residuals_normalized`.
    """
    found = {
        "objectness_scores": stage.objectness[..., None],
        "center": stage.centers,
        "heading_scores": stage.headings,
        "heading_residuals_normalized": stage.heading_offsets,
        "pred_size": stage.sizes,
        "sem_cls_scores": stage.classes,
    }
    if stage.size_classes is not None and stage.size_offsets is not None:
        found["size_scores"] = stage.size_classes
        found["size_residuals_normalized"] = stage.size_offsets
    return found
