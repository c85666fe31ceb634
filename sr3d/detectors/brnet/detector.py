"""BRNet (Cheng et al., CVPR 2021): proposals of clusters of votes, refined by seeds traced back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scene import Scene
from sr3d.detectors.brnet.config import BRNetConfig, BRNetInference, BRNetModel
from sr3d.detectors.brnet.loss import StageOutputs, assign, proposal_losses
from sr3d.detectors.brnet.network import BackTracing, StageHead, decode
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.initialisation import draw_over_outputs
from sr3d.detectors.common.point_detector import PointDetector
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch, height
from sr3d.detectors.common.pointnet2 import PointNet2, PointSet, SetAbstraction, SharedLayer
from sr3d.detectors.common.proposals import Proposals, select_proposals
from sr3d.detectors.common.votes import VoteModule, vote_loss, vote_targets
from sr3d.detectors.outputs import Detections, Losses, Total, alone
from sr3d.detectors.scan import split_points

TIE_THREADS = 1024  # of the original's kernel, which decides ties
_DISTANCES = 6


@dataclass(frozen=True)
class BRNetPredictions:
    """What the loss and post-processing take from the network.

    seeds, votes: S of each scene. clusters: P, whose `index` is of votes. boxes: (B, P, 7) decoded.
    """

    batch: PointBatch
    seeds: PointSet
    votes: PointSet
    clusters: PointSet
    outputs: StageOutputs
    boxes: Tensor


class BRNet(PointDetector[BRNetPredictions]):
    """PointNet++ and votes as in VoteNet, a first head without classes, and a second stage."""

    config: BRNetModel
    inference: BRNetInference

    def __init__(self, config: BRNetConfig) -> None:
        super().__init__(config)
        model, width = config.model, config.model.proposal_channels
        self.loss_config = config.loss
        self.bins = HeadingBins(model.heading_bins if self.dataset.rotated else 1)
        self.backbone_net = PointNet2(
            1, model.levels, model.radii, model.samples, model.planes, model.seed_channels,
            skip_origin=model.skip_origin, tie_threads=TIE_THREADS,
        )  # fmt: skip
        self.vgen = VoteModule(model.seed_channels)
        self.aggregation = SetAbstraction(
            model.proposals, model.proposal_radius, model.proposal_samples,
            [model.seed_channels, width, width, width],
            skip_origin=model.skip_origin, tie_threads=TIE_THREADS,
        )  # fmt: skip
        self.first = StageHead(width, width, 2, _DISTANCES + 2 * self.bins.count)
        self.tracing = BackTracing(
            model.trace_radius, model.trace_samples, [model.seed_channels, *model.trace_planes],
            model.trace_density, width,
        )  # fmt: skip
        self.second = StageHead(2 * width, width, len(self.dataset.classes), 1 + _DISTANCES)
        self.apply(_initialise)

    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> PointBatch:
        """Points of each scene with their height above its floor."""
        return self.draw_points(scenes, self.config.num_points, generators, height)

    def stages(self) -> dict[str, str]:
        heads = dict.fromkeys(("aggregation", "first", "tracing", "second"), "head")
        return {"backbone_net": "backbone", "vgen": "neck", **heads}

    def forward(self, batch: PointBatch) -> BRNetPredictions:
        with self.network_mode():
            seeds = self.backbone_net(batch.points, batch.features)
            votes = self.vgen(seeds)
            index = self.aggregation.sample(self._cluster_source(seeds, votes))
            clusters = self.aggregation(votes.points, votes.features, index)
            outputs = self.propose(seeds, clusters)
        heading = outputs.refined_heading if self.bins.count > 1 else outputs.heading
        boxes = decode(outputs.references, outputs.refined_distances, heading)
        return BRNetPredictions(batch, seeds, votes, clusters, outputs, boxes)

    def _cluster_source(self, seeds: PointSet, votes: PointSet) -> Tensor:
        return votes.points if self.config.clusters == "votes" else seeds.points

    def propose(self, seeds: PointSet, clusters: PointSet) -> StageOutputs:
        """Both stages. Nothing is detached: the second stage also trains the first."""
        objectness, first = self.first(clusters.features)
        count = self.bins.count
        logs, headings, heading_offsets = first.split([_DISTANCES, count, count], dim=-1)
        distances = logs.exp()
        heading = self.bins.likeliest(headings, heading_offsets)
        traced, _ = self.tracing(seeds, clusters.points, distances, heading)
        classes, second = self.second(torch.cat([clusters.features, traced], dim=1))
        turned, moved = second.split([1, _DISTANCES], dim=-1)
        return StageOutputs(
            clusters.points,
            objectness,
            distances,
            headings,
            heading_offsets,
            heading,
            distances + moved,
            heading + turned.squeeze(-1),
            classes,
        )

    def loss(
        self, predictions: BRNetPredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        batch, config, outputs = predictions.batch, self.loss_config, predictions.outputs
        padded = PaddedTruth.of(truth, len(batch), least=1)
        votes = vote_targets(batch, padded, predictions.seeds.index, config.vote_centre)
        targets = assign(outputs.references, padded, self.bins, config.near)
        unweighted = {
            "vote": vote_loss(predictions.votes.points, votes, total),
            **proposal_losses(outputs, targets, self.bins, config, total),
        }
        terms = {name: getattr(config, name) * value for name, value in unweighted.items()}
        return Losses(terms, {"positives": targets.positive.sum()})

    def detections(self, predictions: BRNetPredictions) -> list[Detections]:
        each = zip(proposals_of(predictions), predictions.batch.points, strict=True)
        return [select_proposals(found, points, self.inference) for found, points in each]

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> dict[str, Tensor]:
        """Outputs of one scan before post-processing.

        P proposals: `aggregated_points` (P, 3), `objectness` (P, 2), `distance` (P, 6),
        `heading_scores` (P, H), `heading_residuals_normalized` (P, H), `refined_distance` (P, 6),
        `refined_angle` (P,), `class_scores` (P, C).
        """
        self.eval()
        found = self(self.inputs([Scene.unlabelled(*split_points(points, colors))])).outputs
        return {
            "aggregated_points": found.references[0],
            "objectness": found.objectness[0],
            "distance": found.distances[0],
            "heading_scores": found.headings[0],
            "heading_residuals_normalized": found.heading_offsets[0],
            "refined_distance": found.refined_distances[0],
            "refined_angle": found.refined_heading[0],
            "class_scores": found.classes[0],
        }


def proposals_of(predictions: BRNetPredictions) -> list[Proposals]:
    """The proposals of each scene. Their objectness is of the first stage."""
    outputs = predictions.outputs
    return Proposals.of(predictions.boxes, outputs.objectness, outputs.classes)


def _initialise(module: nn.Module) -> None:
    """Layers with a norm: Kaiming's normal distribution over the outputs, and no bias."""
    convs: list[Any] = []
    if isinstance(module, SharedLayer):
        convs = [module.conv]
    elif isinstance(module, VoteModule | StageHead):
        convs = [module.conv1, module.conv2]
    for conv in convs:
        draw_over_outputs(conv)
