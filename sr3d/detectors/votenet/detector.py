"""VoteNet (Qi et al., ICCV 2019): seeds vote for object centres, clusters of votes become boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scene import Scene
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.norm_momentum import set_norm_momentum
from sr3d.detectors.common.point_detector import PointDetector
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch, height
from sr3d.detectors.common.pointnet2 import PointNet2, PointSet, SetAbstraction
from sr3d.detectors.common.proposals import Proposals, select_proposals
from sr3d.detectors.common.votes import VoteModule, vote_loss, vote_targets
from sr3d.detectors.outputs import Detections, Losses, Total, alone
from sr3d.detectors.scan import split_points
from sr3d.detectors.votenet.config import VoteNetInference, VotingConfig, VotingModel
from sr3d.detectors.votenet.loss import MAX_BOXES, assign, proposal_losses
from sr3d.detectors.votenet.network import (
    ProposalModule,
    ProposalOutputs,
    count_outputs,
    decode,
    read_outputs,
)


@dataclass(frozen=True)
class VotePredictions:
    """What the loss and post-processing take from the network.

    seeds, votes: S of each scene. clusters: P, whose `index` is of votes. raw: (B, P, D), before
    `outputs` gives it units. boxes: (B, P, 7) decoded.
    """

    batch: PointBatch
    seeds: PointSet
    votes: PointSet
    clusters: PointSet
    raw: Tensor
    outputs: ProposalOutputs
    boxes: Tensor


class VoteNet(PointDetector[VotePredictions]):
    """PointNet++, the vote module and the proposal module."""

    config: VotingModel
    inference: VoteNetInference

    def __init__(self, config: VotingConfig) -> None:
        super().__init__(config)
        model, classes = config.model, len(self.dataset.classes)
        self.loss_config = config.loss
        self.bins = HeadingBins(model.heading_bins if self.dataset.rotated else 1)
        sizes = torch.tensor(self.dataset.mean_sizes)
        self.register_buffer("mean_sizes", sizes, persistent=False)
        self.mean_sizes: Tensor
        self.backbone_net = PointNet2(
            1, model.levels, model.radii, model.samples, model.planes, model.seed_channels,
            skip_origin=model.skip_origin,
        )  # fmt: skip
        self.vgen = VoteModule(model.seed_channels)
        width = model.proposal_channels
        aggregation = SetAbstraction(
            model.proposals, model.proposal_radius, model.proposal_samples,
            [model.seed_channels, width, width, width], skip_origin=model.skip_origin,
        )  # fmt: skip
        outputs = count_outputs(self.bins.count, classes)
        self.pnet = ProposalModule(aggregation, width, outputs)

    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> PointBatch:
        """Points of each scene with their height above its floor."""
        return self.draw_points(scenes, self.config.num_points, generators, height)

    def stages(self) -> dict[str, str]:
        return {"backbone_net": "backbone", "vgen": "neck", "pnet": "head"}

    def start_epoch(self, epoch: int) -> None:
        """The momentum of batch norms falls with the epochs."""
        c = self.config
        momentum = c.norm_momentum * 0.5 ** (epoch // c.norm_momentum_epochs)
        set_norm_momentum(self, max(momentum, c.norm_momentum_least))

    def forward(self, batch: PointBatch) -> VotePredictions:
        with self.network_mode():
            seeds = self.backbone_net(batch.points, batch.features)
            votes = self.vgen(seeds)
            clusters, raw = self.pnet(votes, self._cluster_index(seeds, votes), seeds)
        bins, classes = self.bins, len(self.dataset.classes)
        outputs = read_outputs(raw, clusters.points, bins.count, classes)
        boxes = decode(outputs, bins, self.mean_sizes)
        return VotePredictions(batch, seeds, votes, clusters, raw, outputs, boxes)

    def _cluster_index(self, seeds: PointSet, votes: PointSet) -> Tensor:
        """(B, P): the votes that clusters form around."""
        source = self.config.clusters if self.training else self.inference.clusters
        points = votes.points if source == "votes" else seeds.points
        return self.pnet.vote_aggregation.sample(points)

    def loss(
        self, predictions: VotePredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        batch, config = predictions.batch, self.loss_config
        padded = PaddedTruth.of(truth, len(batch), least=MAX_BOXES)
        targets = vote_targets(batch, padded, predictions.seeds.index, config.vote_centre)
        assignment = assign(predictions.clusters.points, padded, config)
        unweighted = {
            "vote": vote_loss(predictions.votes.points, targets, total),
            **proposal_losses(
                predictions.outputs, assignment, padded, self.bins, self.mean_sizes, config, total
            ),
        }
        terms = {name: getattr(config, name) * value for name, value in unweighted.items()}
        return Losses(terms, {"positives": assignment.positive.sum()})

    def detections(self, predictions: VotePredictions) -> list[Detections]:
        each = zip(proposals_of(predictions), predictions.batch.points, strict=True)
        return [select_proposals(found, points, self.inference) for found, points in each]

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> dict[str, Tensor]:
        """Outputs of one scan before post-processing, with the names of the original.

        P proposals of one scene: `aggregated_vote_xyz` (P, 3), `objectness_scores` (P, 2),
        `center` (P, 3), `heading_scores` (P, H), `heading_residuals_normalized` (P, H),
        `size_scores` (P, C), `size_residuals_normalized` (P, C, 3), `sem_cls_scores` (P, C).
        """
        self.eval()
        scene = Scene.unlabelled(*split_points(points, colors))
        found = self(self.inputs([scene]))
        outputs = found.outputs
        return {
            name: value[0]
            for name, value in {
                "aggregated_vote_xyz": found.clusters.points,
                "objectness_scores": outputs.objectness,
                "center": outputs.centres,
                "heading_scores": outputs.headings,
                "heading_residuals_normalized": outputs.heading_offsets,
                "size_scores": outputs.sizes,
                "size_residuals_normalized": outputs.size_offsets,
                "sem_cls_scores": outputs.classes,
            }.items()
        }


def proposals_of(predictions: VotePredictions) -> list[Proposals]:
    """The proposals of each scene. Of a negative size only the magnitude counts."""
    boxes, outputs = predictions.boxes, predictions.outputs
    boxes = torch.cat([boxes[..., :3], boxes[..., 3:6].abs(), boxes[..., 6:]], dim=-1)
    return Proposals.of(boxes, outputs.objectness, outputs.classes)
