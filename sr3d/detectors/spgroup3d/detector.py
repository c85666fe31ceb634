"""SPGroup3D (Zhu et al., AAAI 2024): superpoints as proposals.

Source: zyrant/SPGroup3D (projects/spgroup).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sr3d.data.ground_truth import NEGATIVE, GroundTruth
from sr3d.data.loader import on_device
from sr3d.data.scene import Scene
from sr3d.data.superpoints import over_segment
from sr3d.detectors.common.biresnet import OUT_STRIDE, BiResNet, BiResNetWidths
from sr3d.detectors.common.selection import kept
from sr3d.detectors.common.votes import in_boxes
from sr3d.detectors.common.voxel_detector import VoxelDetector
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.outputs import Detections, Losses, Total, alone
from sr3d.detectors.scan import split_points
from sr3d.detectors.spgroup3d.assignment import SPGroup3DAssigner
from sr3d.detectors.spgroup3d.boxes import decode, distances, turned_over
from sr3d.detectors.spgroup3d.config import SPGroup3DConfig, SPGroup3DInference, SPGroup3DModel
from sr3d.detectors.spgroup3d.loss import ObjectVotes, SPGroup3DCriterion, SuperpointPredictions
from sr3d.detectors.spgroup3d.network import Groups, SPGroup3DHead, SuperpointEncoder
from sr3d.geometry.nms import class_nms
from sr3d.matching.assigner import Anchors
from sr3d.points.functional import nearest
from sr3d.sparse import SparseTensor


@dataclass(frozen=True)
class SuperpointBatch:
    """Voxels of B scenes with their superpoints.

    x: colours as features. groups: of the M voxels of stride 2. positions: (M, 3) metres of these.
    scenes: (M,) int64. owner: (M,) int64, the ground truth of the batch whose object each of them
    lies on, -1 for none.
    """

    x: SparseTensor
    groups: Groups
    positions: Tensor
    scenes: Tensor
    owner: Tensor


@dataclass(frozen=True)
class VotedPredictions:
    """offsets: (M, 3) metres, from each voxel of the batch to its vote."""

    batch: SuperpointBatch
    superpoints: SuperpointPredictions
    offsets: Tensor


class SPGroup3D(VoxelDetector[SuperpointBatch, VotedPredictions]):
    """Backbone, encoder and head."""

    config: SPGroup3DModel
    inference: SPGroup3DInference

    def __init__(self, config: SPGroup3DConfig) -> None:
        super().__init__(config)
        model, loss = config.model, config.loss
        assigner = SPGroup3DAssigner(
            config.assigner.spgroup3d_top,
            loss.focal_alpha,
            loss.focal_gamma,
            config.assigner.one_box == "original",
        )
        self.object_points = config.assigner.object_points
        self.criterion = SPGroup3DCriterion(assigner, loss, self.dataset.rotated)
        planes, context = model.planes, model.context_channels
        widths = BiResNetWidths(
            model.stem_channels, model.high_channels, *planes, context, model.out_channels
        )
        self.backbone = BiResNet(widths, blocks=model.blocks)
        self.voxel_encoder = SuperpointEncoder(model)
        self.head = SPGroup3DHead(
            self.voxel_encoder.out_channels,
            model.head_channels,
            len(self.dataset.classes),
            self.dataset.rotated,
        )

    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> SuperpointBatch:
        """The first point of each voxel represents it. A voxel of stride 2 belongs to the
        superpoint and to the object of the point nearest to its minimum corner.

        Scenes without superpoints are over-segmented here, see `sr3d.data.superpoints`.
        """
        points = [on_device(scene.points, self.device) for scene in scenes]
        colors = [on_device(scene.colors, self.device) for scene in scenes]
        size = self.config.voxel_size
        x = voxelize(points, colors, size, engine=self.config.engine)
        sites = x.sites.strided(OUT_STRIDE)
        coords = sites.coords[sites.in_order]
        positions = coords[:, 1:] * size
        index, owners, truths = [], [], 0
        counts: list[int] = []
        each = zip(scenes, points, positions.split(sites.counts), strict=True)
        for scene, cloud, own in each:
            near = nearest(cloud[None], own[None], 1)[1][0, :, 0]
            ids = self._superpoints(scene)[near]
            found, inverse = ids.unique(return_inverse=True)
            index.append(inverse + sum(counts))
            counts.append(len(found))
            owner = self._owners(scene, own, near)
            owners.append(torch.where(owner >= 0, owner + truths, NEGATIVE))
            truths += len(scene.boxes)
        groups = Groups(torch.cat(index), counts)
        return SuperpointBatch(x, groups, positions, coords[:, 0].long(), torch.cat(owners))

    def _superpoints(self, scene: Scene) -> Tensor:
        """(N,) of the points of a scene."""
        if scene.superpoints is None:
            return on_device(over_segment(scene.points, scene.colors), self.device)
        return on_device(scene.superpoints, self.device)

    def _owners(self, scene: Scene, positions: Tensor, near: Tensor) -> Tensor:
        """(M,) the box of the object that each voxel lies on. Without instances, the first box that
        contains the voxel.
        """
        if scene.instance is not None and self.object_points == "instance":
            return on_device(scene.instance, self.device)[near]
        if len(scene.boxes) == 0:
            return torch.full_like(near, NEGATIVE)
        boxes = on_device(scene.boxes.tensor, self.device)
        inside = in_boxes(positions[None], boxes[None])[0]
        return torch.where(inside.any(dim=0), inside.int().argmax(dim=0), NEGATIVE)

    def input_size(self, batch: SuperpointBatch) -> int:
        return len(batch.x.sites)

    def stages(self) -> dict[str, str]:
        return {"backbone": "backbone", "voxel_encoder": "neck", "head": "head"}

    def forward(self, batch: SuperpointBatch) -> VotedPredictions:
        with self.network_mode(self.backbone, batch.x.sites):
            votes, centers, features = self.voxel_encoder(self.backbone(batch.x), batch.groups)
            outputs = self.head(features)
        center, reg, logits = (output.float() for output in outputs)
        coded = distances(reg, all_positive=self.config.distances == "all")
        sizes = batch.groups.counts
        numbers = [torch.full((n,), i, device=self.device) for i, n in enumerate(sizes)]
        scenes = torch.cat(numbers)
        levels = torch.zeros_like(scenes)
        edges = centers.new_full((len(centers),), OUT_STRIDE * self.config.voxel_size)
        anchors = Anchors(centers, levels, edges, scenes, len(sizes))
        boxes = decode(centers, coded)
        found = SuperpointPredictions(
            anchors, boxes, logits, center.squeeze(1), coded, features.float()
        )
        return VotedPredictions(batch, found, votes.offsets)

    def loss(
        self, predictions: VotedPredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        batch, found = predictions.batch, predictions.superpoints
        votes = ObjectVotes.of(batch.positions, batch.owner, batch.scenes, truth)
        return self.criterion(found, predictions.offsets, votes, truth, total)

    def detections(self, predictions: VotedPredictions) -> list[Detections]:
        """See `Detector`. As published, a box may have a negative size."""
        return [self._selected(scene) for scene in predictions.superpoints.by_scene()]

    def _selected(self, found: SuperpointPredictions) -> Detections:
        config, rotated = self.inference, self.dataset.rotated
        scores = found.scores
        best = scores.amax(dim=1)
        top = best.topk(min(config.nms_pre, len(best))).indices
        boxes, scores = found.boxes[top], scores[top]
        # Without a yaw, a box of a negative size overlaps no other.
        shapes = turned_over(boxes) if rotated else boxes
        valid = scores > config.score_thr
        keep = class_nms(shapes, scores, valid, config.iou_thr, rotated, bev=config.nms == "bev")
        return kept(boxes, scores, keep)

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> dict[str, Tensor]:
        """Outputs of one scan before decoding, of its S superpoints.

        `anchor_points` (S, 3) metres, `center_pred` (S, 1), `bbox_pred` (S, 6 or 8), see
        `boxes.distances`, and `cls_pred` (S, C).
        """
        self.eval()
        found = self(self.inputs([Scene.unlabelled(*split_points(points, colors))])).superpoints
        return {
            "anchor_points": found.anchors.positions,
            "center_pred": found.centerness[:, None],
            "bbox_pred": found.coded,
            "cls_pred": found.logits,
        }
