"""RBGNet (Wang et al., CVPR 2022): clusters of votes, and what their rays meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scene import Scene
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.initialisation import draw_over_outputs
from sr3d.detectors.common.point_detector import PointDetector
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch, colors
from sr3d.detectors.common.pointnet2 import PointSet, SetAbstraction, SharedLayer
from sr3d.detectors.common.proposals import Proposals, select_proposals
from sr3d.detectors.common.votes import VoteModule, in_boxes, vote_loss, vote_targets
from sr3d.detectors.outputs import Detections, Losses, Total, alone
from sr3d.detectors.rbgnet.backbone import ForegroundPointNet2, ForegroundSeeds
from sr3d.detectors.rbgnet.config import RBGNetConfig, RBGNetInference, RBGNetModel
from sr3d.detectors.rbgnet.loss import assign, foreground_losses, proposal_losses, ray_losses
from sr3d.detectors.rbgnet.network import (
    RAY,
    BoxHead,
    PointLayer,
    PointMLP,
    RayFeatures,
    RayGrouping,
    RayOutputs,
    ScaleHead,
    count_box_outputs,
    decode,
    read_outputs,
)
from sr3d.detectors.rbgnet.ray_targets import Objects
from sr3d.detectors.scan import split_points
from sr3d.sparse.functional import engine

_COLORS = 255  # the original divides by it, whatever the range of its colours is
_AT_A_TIME = 16  # boxes


@dataclass(frozen=True)
class RBGNetPredictions:
    """What the loss and post-processing take from the network.

    seeds, votes: S of each scene. clusters: P, whose `index` is of votes. fused: (B, C, P) features
    of the clusters, from which the head predicts. boxes: (B, P, 7) decoded.
    """

    batch: PointBatch
    seeds: ForegroundSeeds
    votes: PointSet
    clusters: PointSet
    grouped: RayFeatures
    fused: Tensor
    outputs: RayOutputs
    boxes: Tensor


class RBGNet(PointDetector[RBGNetPredictions]):
    """PointNet++ with foreground-biased sampling, votes, ray-based grouping, and one head."""

    config: RBGNetModel
    inference: RBGNetInference

    def __init__(self, config: RBGNetConfig) -> None:
        super().__init__(config)
        model, width = config.model, config.model.proposal_channels
        self.loss_config = config.loss
        self.bins = HeadingBins(model.heading_bins if self.dataset.rotated else 1)
        self.backbone_net = ForegroundPointNet2(
            3, model.levels, model.radii, model.samples, model.planes, model.seed_channels,
            model.foreground, skip_origin=model.skip_origin,
        )  # fmt: skip
        self.vgen = VoteModule(model.seed_channels)
        self.aggregation = SetAbstraction(
            model.proposals, model.proposal_radius, model.proposal_samples,
            [model.seed_channels, width, width, width],
            normalize=False, skip_origin=model.skip_origin, tie_threads=None,
        )  # fmt: skip
        self.scale = ScaleHead(width)
        self.rays = RayGrouping(model)
        self.fuse = PointMLP([2 * width, width])
        classes = 2 + len(self.dataset.classes)
        self.head = BoxHead(width, classes, count_box_outputs(self.bins.count))
        self._initialise()

    def _initialise(self) -> None:
        """Layers with a norm: Kaiming's normal distribution over the outputs, and no bias.

        PyTorch's own initialisation where the original has layers of OpenPCDet.
        """
        net = self.backbone_net
        plain = {*net.fp1.modules(), *net.fp2.modules(), *self.aggregation.modules()}
        for module in self.modules():
            convs: list[nn.Module] = []
            if isinstance(module, SharedLayer | PointLayer):
                convs = [module.get_submodule("conv")]
            elif isinstance(module, VoteModule):
                convs = [module.conv1, module.conv2]
            for conv in convs:
                assert isinstance(conv, nn.Conv1d | nn.Conv2d)
                if module in plain:
                    conv.reset_parameters()
                    continue
                draw_over_outputs(conv)

    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> PointBatch:
        """Points of each scene with their colours."""
        features = partial(_colors, divided=self.config.divide_colors)
        return self.draw_points(scenes, self.config.num_points, generators, features)

    def stages(self) -> dict[str, str]:
        heads = dict.fromkeys(("aggregation", "scale", "rays", "fuse", "head"), "head")
        return {"backbone_net": "backbone", "vgen": "neck", **heads}

    def forward(self, batch: PointBatch) -> RBGNetPredictions:
        with self.network_mode():
            seeds: ForegroundSeeds = self.backbone_net(batch.points, batch.features)
            votes = self.vgen(seeds)
            index = self.aggregation.sample(self._cluster_source(seeds, votes))
            clusters: PointSet = self.aggregation(votes.points, votes.features, index)
            scale = self.scale(clusters.features).exp()
            points = seeds.levels[0].points
            grouped: RayFeatures = self.rays(clusters, scale * RAY, points, seeds)
            fused = self.fuse(torch.cat([clusters.features, grouped.features], dim=1))
            cls, reg = self.head(fused)
        outputs = read_outputs(scale, cls, reg, clusters.points, self.bins)
        boxes = decode(outputs, self.bins)
        return RBGNetPredictions(batch, seeds, votes, clusters, grouped, fused, outputs, boxes)

    def _cluster_source(self, seeds: PointSet, votes: PointSet) -> Tensor:
        source = self.config.clusters if self.training else self.inference.clusters
        return votes.points if source == "votes" else seeds.points

    def loss(
        self, predictions: RBGNetPredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        """Targets of anchors need point operations too."""
        with engine(self.config.engine):
            return self._loss(predictions, truth, total)

    def _loss(self, predictions: RBGNetPredictions, truth: GroundTruth, total: Total) -> Losses:
        batch, config, outputs = predictions.batch, self.loss_config, predictions.outputs
        padded = PaddedTruth.of(truth, len(batch), least=1)
        seeds, clusters = predictions.seeds, predictions.clusters
        votes = vote_targets(batch, padded, seeds.index, config.vote_centre)
        targets = assign(clusters.points, padded, self.bins, config.near)
        objects = Objects.of(batch, padded, seeds.levels[0].index, config.all_objects)
        unweighted = {
            "vote": vote_loss(predictions.votes.points, votes, total),
            **proposal_losses(outputs, predictions.boxes, targets, padded, config, total),
            **ray_losses(
                clusters, outputs.scale, predictions.grouped, self.rays, targets, objects, config,
                total,
            ),
        }  # fmt: skip
        terms = {name: getattr(config, name) * value for name, value in unweighted.items()}
        scores = foreground_losses(seeds, batch, padded, config.object_weight, total)
        terms |= {f"foreground{i}": config.foreground * value for i, value in enumerate(scores, 1)}
        return Losses(terms, {"positives": targets.positive.sum()})

    def detections(self, predictions: RBGNetPredictions) -> list[Detections]:
        each = zip(proposals_of(predictions), predictions.batch.points, strict=True)
        return [
            select_proposals(found, points, selection_rules(found, points, self.inference))
            for found, points in each
        ]

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> dict[str, Tensor]:
        """Outputs of one scan before post-processing, with the names of the original.

        P proposals: `aggregated_points` (P, 3), `scale_pred` (P,) metres, `obj_scores` (P, 2),
        `center` (P, 3), `dir_class` (P, H), `dir_res_norm` (P, H), `size_res_norm` (P, 3),
        logarithms of metres, `sem_scores` (P, C).
        """
        self.eval()
        found = self(self.inputs([Scene.unlabelled(*split_points(points, colors))]))
        outputs = found.outputs
        return {
            "aggregated_points": found.clusters.points[0],
            "scale_pred": outputs.scale[0],
            "obj_scores": outputs.objectness[0],
            "center": outputs.centres[0],
            "dir_class": outputs.headings[0],
            "dir_res_norm": outputs.heading_offsets[0],
            "size_res_norm": outputs.log_sizes[0],
            "sem_scores": outputs.classes[0],
        }


def proposals_of(predictions: RBGNetPredictions) -> list[Proposals]:
    """The proposals of each scene."""
    outputs = predictions.outputs
    return Proposals.of(predictions.boxes, outputs.objectness, outputs.classes)


def selection_rules(
    proposals: Proposals, points: Tensor, config: RBGNetInference
) -> RBGNetInference:
    """The rules for these proposals, by the points that `test.points_of` counts. points: (N, 3)."""
    if config.points_of != "all":
        return config
    enough = _enough_anywhere(proposals.boxes, points, config.min_points)
    return replace(config, min_points=0 if enough else len(points) + 1)


def _enough_anywhere(boxes: Tensor, points: Tensor, least: int) -> bool:
    """Whether at least so many points (N, 3) lie in any of the boxes (P, 7)."""
    inside = torch.zeros_like(points[:, 0], dtype=torch.bool)
    for part in boxes.split(_AT_A_TIME):
        inside |= in_boxes(points[None], part[None])[0].any(dim=0)
        if inside.sum() >= least:
            return True
    return False


def _colors(scene: Scene, divided: bool) -> Tensor:
    found = colors(scene)
    return found / _COLORS if divided else found
