"""CAGroup3D (Wang et al., NeurIPS 2022): groups of each class, then refined proposals.

Source: Haiyang-W/CAGroup3D (pcdet/models/detectors/cagroup3d.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sr3d.data.ground_truth import NEGATIVE, GroundTruth
from sr3d.data.loader import on_device
from sr3d.data.scene import Scene
from sr3d.detectors.cagroup3d.config import CAGroup3DConfig, CAGroup3DInference, CAGroup3DModel
from sr3d.detectors.cagroup3d.loss import (
    anchor_losses,
    code_loss,
    iou_loss,
    semantic_loss,
    vote_loss,
)
from sr3d.detectors.cagroup3d.network import CAGroupHead, GroupAnchors, VotedVoxels
from sr3d.detectors.cagroup3d.roi import RoIHead, decode, encode
from sr3d.detectors.cagroup3d.sampling import draw, overlaps
from sr3d.detectors.cagroup3d.targets import (
    CentreVotes,
    inside,
    match_anchors,
    smallest,
    votes_for_boxes,
    votes_for_instances,
)
from sr3d.detectors.common.biresnet import BiResNet, BiResNetWidths
from sr3d.detectors.common.selection import kept
from sr3d.detectors.common.voxel_detector import VoxelDetector
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.fcaf3d.network import decode_distances
from sr3d.detectors.outputs import Detections, Losses, Total, alone
from sr3d.detectors.scan import split_points
from sr3d.geometry.nms import class_nms, nms
from sr3d.sparse import SparseTensor
from sr3d.sparse.functional import engine


class ObjectPoints(NamedTuple):
    """Points (N, 3) of a scene, and the object of each, (N,), see `Scene.instance`."""

    points: Tensor
    instance: Tensor | None


@dataclass(frozen=True)
class GroupBatch:
    """x: voxels of B scenes. seeds: of the draws of proposals, one a scene."""

    x: SparseTensor
    clouds: list[ObjectPoints]
    truth: GroundTruth
    seeds: list[int]


class Rois(NamedTuple):
    """boxes: (R, 7). scenes: (R,) int64."""

    boxes: Tensor
    scenes: Tensor


class Sampled(NamedTuple):
    """Rois that train. owner: (R,) int64 ground truth of the batch, NEGATIVE in a scene that
    has none. iou: (R,) with it, 0 if it is of another class.
    """

    rois: Rois
    owner: Tensor
    iou: Tensor


@dataclass(frozen=True)
class GroupPredictions:
    """features: the backbone's output. boxes: (A, 7) of the anchors. found: proposals of each
    scene. rois, codes: what the second stage refined, and its outputs (R, 6 or 8). sampled: None
    after a pass in evaluation mode, which refines all proposals.
    """

    batch: GroupBatch
    features: SparseTensor
    voxels: VotedVoxels
    anchors: GroupAnchors
    boxes: Tensor
    found: list[Detections]
    rois: Rois
    codes: Tensor
    sampled: Sampled | None


class CAGroup3D(VoxelDetector[GroupBatch, GroupPredictions]):
    """BiResNet, a head of class-aware groups, and a head of proposals."""

    config: CAGroup3DModel
    inference: CAGroup3DInference
    epochs: Tensor

    def __init__(self, config: CAGroup3DConfig) -> None:
        super().__init__(config)
        model, rotated = config.model, self.dataset.rotated
        self.assigner, self.loss_config = config.assigner, config.loss
        # Epochs begun in training. They decide the semantic threshold, also of a trained model.
        self.register_buffer("epochs", torch.zeros(1, dtype=torch.int64))
        stages, context = model.stage_channels, model.context_channels
        widths = BiResNetWidths(
            model.stem_channels, model.high_channels, *stages, context, model.channels
        )
        self.backbone_3d = BiResNet(widths, blocks=model.blocks)
        self.dense_head = CAGroupHead(model, self.dataset.mean_sizes, rotated)
        self.roi_head = RoIHead(model, rotated)

    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> GroupBatch:
        """The first point of each voxel represents it, see `voxelize`."""
        points = [on_device(scene.points, self.device) for scene in scenes]
        colors = [on_device(scene.colors, self.device) for scene in scenes]
        seeds = list(range(len(scenes)))
        if generators:
            seeds = [int(torch.randint(1 << 62, (1,), generator=g)) for g in generators]
        instances = (s.instance for s in scenes)
        on_here = [None if i is None else on_device(i, self.device) for i in instances]
        return GroupBatch(
            voxelize(points, colors, self.config.voxel_size, engine=self.config.engine),
            [ObjectPoints(p, i) for p, i in zip(points, on_here, strict=True)],
            GroundTruth.of(scenes, self.device),
            seeds,
        )

    def input_size(self, batch: GroupBatch) -> int:
        return len(batch.x.sites)

    def stages(self) -> dict[str, str]:
        return {"backbone_3d": "backbone", "dense_head": "head", "roi_head": "head"}

    def start_epoch(self, epoch: int) -> None:
        self.epochs.fill_(epoch + 1)

    def threshold(self) -> Tensor:
        """(1,), see `CAGroup3DModel.semantic_thr`. Training counts the epochs before the current
        one, and a trained model all of them.
        """
        start, step, end = self.config.semantic_thr
        past = (self.epochs - 1).clamp(min=0) if self.training else self.epochs
        return (start - step * past).clamp(min=end)

    def forward(self, batch: GroupBatch) -> GroupPredictions:
        """In training, the second stage gets a sample of the proposals."""
        with self.network_mode(self.backbone_3d, batch.x.sites):
            features = self.backbone_3d(batch.x)
            voxels, anchors = self.dense_head(features, self.threshold())
        boxes = decode_distances(anchors.positions, anchors.reg)
        found = self.proposals(anchors, boxes.detach(), len(batch.clouds))
        sampled = self.sampled(found, batch) if self.training else None
        rois = sampled.rois if sampled else _all_of(found)
        codes = self.refine(features, rois)
        return GroupPredictions(
            batch, features, voxels, anchors, boxes, found, rois, codes, sampled
        )

    def refine(self, features: SparseTensor, rois: Rois) -> Tensor:
        """The codes (R, 6 or 8) of refined proposals."""
        if not len(rois.boxes):
            return rois.boxes.new_zeros(0, self.roi_head.reg_pred_layer.out_features)
        with engine(self.config.engine), self.precision():
            codes: Tensor = self.roi_head(features, *rois)
        return codes

    @torch.no_grad()
    def proposals(self, anchors: GroupAnchors, boxes: Tensor, scenes: int) -> list[Detections]:
        """The proposals of each scene, from its best anchors of each group."""
        config, scores = self.config, anchors.cls.sigmoid() * anchors.center.sigmoid()
        best, scene_of = scores.amax(dim=1), anchors.coords[:, 0]
        found = []
        for scene in range(scenes):
            parts = []
            for group in range(len(self.classes)):
                own = ((scene_of == scene) & (anchors.groups == group)).nonzero().squeeze(1)
                count = min(config.proposals_pre, len(own))
                parts.append(own[best[own].topk(count).indices])
            rows = torch.cat(parts)
            own_boxes, own_scores = boxes[rows], scores[rows]
            valid = own_scores > config.proposal_thr
            rotated, thr = self.dataset.rotated, config.proposal_iou
            keep = class_nms(own_boxes, own_scores, valid, thr, rotated, bev=True)
            found.append(kept(own_boxes, own_scores, keep))
        return found

    @torch.no_grad()
    def sampled(self, found: Sequence[Detections], batch: GroupBatch) -> Sampled:
        """The proposals that train, see `draw`. A scene without any gets a box without a volume."""
        parts = []
        for scene, own in enumerate(found):
            rows = (batch.truth.scenes == scene).nonzero().squeeze(1)
            if not len(own.boxes):
                own = Detections(
                    own.boxes.new_zeros(1, 7), own.scores.new_zeros(1), own.labels.new_zeros(1)
                )
            iou, owner = overlaps(own, batch.truth.boxes[rows], batch.truth.labels[rows])
            generator = torch.Generator().manual_seed(batch.seeds[scene])
            chosen = on_device(draw(iou, self.assigner, generator), iou.device)
            of_batch = rows[owner] if len(rows) else torch.full_like(owner, NEGATIVE)
            scenes = torch.full_like(chosen, scene)
            parts.append((own.boxes[chosen], scenes, of_batch[chosen], iou[chosen]))
        boxes, scenes, owner, iou = (torch.cat(values) for values in zip(*parts, strict=True))
        return Sampled(Rois(boxes, scenes), owner, iou)

    def loss(
        self, predictions: GroupPredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        """truth: of the batch, which has the same."""
        batch, config, rotated = predictions.batch, self.loss_config, self.dataset.rotated
        voxels, anchors = predictions.voxels, predictions.anchors
        sums: dict[str, Tensor] = {}
        positives = truth.labels.new_zeros(())
        for scene, cloud in enumerate(batch.clouds):
            own = truth.scenes == scene
            boxes, labels = truth.boxes[own], truth.labels[own]
            rows = (voxels.sites.coords[:, 0] == scene).nonzero().squeeze(1)
            at = voxels.positions[rows]
            owner = smallest(inside(at, boxes), boxes)
            classes = torch.where(owner >= 0, labels[owner], NEGATIVE) if len(labels) else owner
            targets = self.vote_targets(at, boxes, cloud)
            padded = self.config.votes == 1
            mine = (anchors.coords[:, 0] == scene).nonzero().squeeze(1)
            points = anchors.positions[mine]
            matches = match_anchors(points, anchors.groups[mine], boxes, labels, self.assigner.top)
            outputs = anchors.cls[mine], anchors.center[mine], predictions.boxes[mine]
            terms = {
                "semantic": semantic_loss(voxels.semantic[rows], classes, config),
                "vote": vote_loss(voxels.offsets[rows], targets, padded),
                **anchor_losses(outputs, points, matches, boxes, labels, config, rotated),
            }
            sums = {name: sums.get(name, 0) + value for name, value in terms.items()}
            positives = positives + (matches >= 0).sum()
        scenes = total(truth.scenes.new_full((), len(batch.clouds)))
        terms = {name: value / scenes for name, value in sums.items()}
        terms |= self.refinement_loss(predictions, truth, total)
        weighted = {name: getattr(config, name) * value for name, value in terms.items()}
        return Losses(weighted, {"positives": positives})

    def vote_targets(self, at: Tensor, boxes: Tensor, cloud: ObjectPoints) -> CentreVotes:
        """Of the voxels of one scene at (V, 3)."""
        if self.config.votes == 3 or cloud.instance is None:
            return votes_for_boxes(at, boxes, self.config.votes)
        return votes_for_instances(at, boxes, cloud.points, cloud.instance)

    def refinement_loss(
        self, predictions: GroupPredictions, truth: GroundTruth, total: Total = alone
    ) -> dict[str, Tensor]:
        """The terms of the second stage, without their weights."""
        rotated, codes = self.dataset.rotated, predictions.codes
        sampled = predictions.sampled
        if sampled is None:
            sampled = self.sampled(predictions.found, predictions.batch)
            codes = self.refine(predictions.features, sampled.rois)
        foreground = (sampled.iou > self.assigner.foreground_iou) & (sampled.owner >= 0)
        rows = foreground.nonzero().squeeze(1)
        rois, boxes = sampled.rois.boxes[rows], truth.boxes[sampled.owner[rows]]
        count = total(foreground.sum()).clamp(min=1)
        terms = {"refine": code_loss(codes[rows], encode(boxes, rois, rotated), count)}
        if self.loss_config.refine_iou:
            terms["refine_iou"] = iou_loss(decode(codes[rows], rois), boxes, count)
        return terms

    def detections(self, predictions: GroupPredictions) -> list[Detections]:
        """Refined boxes with the scores and classes of their proposals, after threshold and NMS."""
        config, refined = self.inference, decode(predictions.codes, predictions.rois.boxes)
        counts = [len(own.boxes) for own in predictions.found]
        result = []
        for own, boxes in zip(predictions.found, refined.split(counts), strict=True):
            rows = (own.scores > config.score_thr).nonzero().squeeze(1)
            found = Detections(boxes, own.scores, own.labels).rows(rows)
            bev, rotated = config.nms == "bev", self.dataset.rotated
            result.append(found.rows(nms(*found, config.iou_thr, rotated, bev)))
        return result

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> dict[str, Tensor]:
        """Outputs of one scan before decoding.

        `voxel_coords` (V, 3) and their `semantic` logits (V, C) and `offsets` (V, n, 3) in metres.
        `anchor_coords` (A, 3) and `anchor_groups` (A,), and their logits `center` (A, 1) and `cls`
        (A, C) and raw boxes `reg` (A, 6 or 8). `proposals` (R, 7) and their `codes` (R, 6 or 8).
        """
        self.eval()
        found = self(self.inputs([Scene.unlabelled(*split_points(points, colors))]))
        return {
            "voxel_coords": found.voxels.sites.coords[:, 1:],
            "semantic": found.voxels.semantic,
            "offsets": found.voxels.offsets,
            "anchor_coords": found.anchors.coords[:, 1:],
            "anchor_groups": found.anchors.groups,
            "center": found.anchors.center,
            "cls": found.anchors.cls,
            "reg": found.anchors.reg,
            "proposals": found.rois.boxes,
            "codes": found.codes,
        }


def _all_of(found: Sequence[Detections]) -> Rois:
    """All proposals of all scenes."""
    scenes = [torch.full_like(own.labels, i) for i, own in enumerate(found)]
    return Rois(torch.cat([own.boxes for own in found]), torch.cat(scenes))
