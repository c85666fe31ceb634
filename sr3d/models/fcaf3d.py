"""FCAF3D: dense heads on four levels of a generative feature pyramid, and a centerness branch.

Everything as in open-mmlab/mmdetection3d (mmdet3d/models/dense_heads/fcaf3d_head.py), parameter
names included. SamsungLabs/fcaf3d differs in names and in the scale of SUN RGB-D's colours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sr3d.config import Config, LossConfig, ModelConfig, TestConfig
from sr3d.geometry.boxes import centerness
from sr3d.geometry.iou import paired_iou
from sr3d.losses.focal import class_targets, focal_loss
from sr3d.metrics.inconsistency import average_inconsistency
from sr3d.models.backbone import MinkResNet
from sr3d.models.base import Detector
from sr3d.models.criterion import assign
from sr3d.models.outputs import Detections, GroundTruth, LossTerms, Predictions, anchors_of
from sr3d.models.selection import suppress
from sr3d.sparse import SparseTensor
from sr3d.sparse.interpolation import interpolate
from sr3d.sparse.nn import SparseBatchNorm, SparseConv, SparseConvTranspose, SparseELU

RawLevel = tuple[SparseTensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class CentredPredictions(Predictions):
    """With the logit of each anchor's centerness, (A,)."""

    centerness: Tensor

    @property
    def scores(self) -> Tensor:
        """(A, C): class score times centerness."""
        return self.logits.sigmoid() * self.centerness.sigmoid()[:, None]


class FCAF3D(Detector[CentredPredictions]):
    """Backbone, and neck and head in one, because each level is pruned by the coarser's scores."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.assigner_config, self.loss_config = config.assigner, config.loss
        self.backbone = MinkResNet(config.model)
        self.bbox_head = FCAF3DHead(config.model, len(self.dataset.classes), self.dataset.rotated)

    def levels(self, x: SparseTensor) -> list[RawLevel]:
        """Per level the neck's output, raw box outputs, class logits and centerness logits."""
        return self.bbox_head(self.backbone(x))

    def forward(self, x: SparseTensor) -> CentredPredictions:
        levels, reg, cls, center = zip(*self.levels(x), strict=True)
        places = anchors_of([level.sites for level in levels], self.config.voxel_size)
        boxes = decode_distances(places[0], torch.cat(reg))
        return CentredPredictions(*places, boxes, torch.cat(cls), torch.cat(center).squeeze(1))

    def loss(self, predictions: CentredPredictions, truth: GroundTruth) -> LossTerms:
        assigned = assign(predictions, truth, self.dataset, self.assigner_config)
        return centred_loss(predictions, assigned, truth, self.dataset.rotated, self.loss_config)

    def select(self, predictions: CentredPredictions) -> Detections:
        return select_by_level(predictions, self.test_config, self.dataset.rotated)


class FCAF3DHead(nn.Module):
    """A neck over all stages and three 1³ convolutions, shared by its levels.

    The neck's kernels keep MinkowskiEngine's default initialisation, as published.
    """

    def __init__(self, config: ModelConfig, classes: int, rotated: bool) -> None:
        super().__init__()
        channels, planes = config.neck_channels, config.planes
        self.pts_prune = config.pts_prune
        for i, own in enumerate(planes):
            if i > 0:
                self.add_module(f"up_block_{i}", _up(own, planes[i - 1]))
            self.add_module(f"out_block_{i}", nn.Sequential(*_same(own, channels)))
        self.conv_center = SparseConv(channels, 1, kernel=1)
        self.conv_reg = SparseConv(channels, 8 if rotated else 6, kernel=1)
        self.conv_cls = SparseConv(channels, classes, kernel=1, bias=True)
        self.scales = nn.ModuleList(Scale() for _ in planes)
        for conv in (self.conv_center, self.conv_reg, self.conv_cls):
            nn.init.normal_(conv.kernel, std=0.01)
        assert self.conv_cls.bias is not None
        nn.init.constant_(self.conv_cls.bias, -math.log(0.99 / 0.01))  # every score starts at 0.01

    def forward(self, stages: list[SparseTensor]) -> list[RawLevel]:
        """Levels, finest first: neck's output, (N, 6 or 8), (N, C), (N, 1), all raw."""
        levels = []
        x, scores = stages[-1], None
        for i in reversed(range(len(stages))):
            if scores is not None:
                x = stages[i] + self.get_submodule(f"up_block_{i + 1}")(x)
                x = prune(x, scores, self.pts_prune)
            out = self.get_submodule(f"out_block_{i}")(x)
            cls = self.conv_cls(out).features
            reg, center = self.conv_reg(out).features, self.conv_center(out).features
            reg = torch.cat([self.scales[i](reg[:, :6]), reg[:, 6:]], dim=1)
            levels.append((out, reg, cls, center))
            scores = out.replace(cls.detach().amax(dim=1, keepdim=True))
        return levels[::-1]


class Scale(nn.Module):
    """A learnable factor, 1 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def _up(in_channels: int, channels: int) -> nn.Sequential:
    conv = SparseConvTranspose(in_channels, channels, kernel=2, stride=2, generative=True)
    grown = conv, SparseBatchNorm(channels), SparseELU()
    return nn.Sequential(*grown, *_same(channels, channels))


def _same(in_channels: int, channels: int) -> tuple[nn.Module, ...]:
    return SparseConv(in_channels, channels), SparseBatchNorm(channels), SparseELU()


@torch.no_grad()
def best_cells(scores: Tensor, counts: list[int], most: int) -> Tensor:
    """(N,) mask of the `most` best of each scene, the earlier of equals. counts: rows of each."""
    keep = torch.ones_like(scores, dtype=torch.bool)
    for score, kept in zip(scores.split(counts), keep.split(counts), strict=True):
        kept[score.sort(descending=True, stable=True).indices[most:]] = False
    return keep


def prune(x: SparseTensor, scores: SparseTensor, most: int) -> SparseTensor:
    """The `most` cells of each scene where the coarser `scores` (n, 1), interpolated, are best; x
    itself where no scene has more.
    """
    if max(x.sites.counts, default=0) <= most:
        return x
    order, expected = x.sites.in_order, interpolate(scores, x.sites)[:, 0]
    keep = torch.empty_like(expected, dtype=torch.bool)
    keep[order] = best_cells(expected[order], x.sites.counts, most)
    return x.pruned(keep)


def decode_distances(anchors: Tensor, reg: Tensor) -> Tensor:
    """Anchors (N, 3) in metres and raw outputs (N, 6 or 8) to boxes (N, 7), differentiable.

    exp of the first six are distances to the faces: towards -x, +x, -y, +y, -z, +z. With 8 outputs
    the sum of the four horizontal ones is x size + y size, and the last two say how it is shared
    and turned, such that a box and the same box with its axes exchanged are one point.
    """
    distance = reg[:, :6].exp()
    low, high = distance[:, ::2], distance[:, 1::2]
    center, size = anchors + (high - low) / 2, low + high
    if reg.shape[1] == 6:
        return torch.cat([center, size, torch.zeros_like(size[:, :1])], dim=1)
    ratio = torch.linalg.vector_norm(reg[:, 6:8], dim=1).exp()
    width = (size[:, 0] + size[:, 1]) / (1 + ratio)
    yaw = torch.atan2(reg[:, 6], reg[:, 7]) / 2
    return torch.cat([center, torch.stack([width, width * ratio, size[:, 2], yaw], dim=1)], dim=1)


def centred_loss(
    predictions: CentredPredictions,
    assigned: Tensor,
    truth: GroundTruth,
    rotated: bool,
    config: LossConfig,
) -> LossTerms:
    """Focal, centerness and IoU loss of each scene by itself; the mean over the scenes.

    assigned: (A,) index into the ground truth, -1 for a negative. A scene's classification and
    centerness are divided by its positives, its IoU losses, weighted by true centerness, by the sum
    of the weights. A scene without positives trains its classification alone.
    """
    positive = (assigned >= 0).nonzero().squeeze(1)
    owner, scene = assigned[positive], predictions.scenes[positive]
    found, boxes = predictions[positive], truth.boxes[owner]
    scenes = int(predictions.scenes.max()) + 1 if len(assigned) else 1
    target = centerness(found.anchors, boxes)
    count = torch.bincount(scene, minlength=scenes).clamp(min=1).to(target.dtype)
    weights = target.new_zeros(scenes).index_add(0, scene, target).clamp(min=1e-6)

    targets = class_targets(assigned, truth.labels)
    focal = focal_loss(
        predictions.logits, targets, alpha=config.focal_alpha, gamma=config.focal_gamma
    )
    cls = (focal.sum(dim=1) / count[predictions.scenes]).sum() / scenes
    entropy = binary_cross_entropy_with_logits(found.centerness, target, reduction="none")
    center = (entropy / count[scene]).sum() / scenes
    iou = paired_iou(found.boxes, boxes, rotated)
    box = ((1 - iou) * target / weights[scene]).sum() / scenes
    with torch.no_grad():
        score = found.scores.gather(1, truth.labels[owner, None]).squeeze(1)
        aic = average_inconsistency(score, iou.clamp(0, 1))
    return LossTerms(cls, box, len(positive), aic, divisor=scenes, more={"center": center})


def select_by_level(
    predictions: CentredPredictions, config: TestConfig, rotated: bool
) -> Detections:
    """One scene's anchors to detections: the `nms_pre` best of each level, threshold, NMS."""
    scores = predictions.scores
    best = scores.amax(dim=1)
    rows = []
    for level in predictions.levels.unique():
        own = (predictions.levels == level).nonzero().squeeze(1)
        rows.append(own[best[own].topk(min(config.nms_pre, len(own))).indices])
    top = torch.cat(rows)
    return suppress(predictions.boxes[top], scores[top], config, rotated)
