"""The detector: points in, boxes out. SR3D and TR3D are this network under different training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sr3d.config import Config, ModelConfig, TestConfig
from sr3d.data.datasets import Dataset, get_dataset
from sr3d.errors import InputError
from sr3d.geometry.nms import nms
from sr3d.models.backbone import MinkResNet
from sr3d.models.head import TR3DHead, decode_boxes
from sr3d.models.neck import TR3DNeck
from sr3d.models.voxelize import voxelize
from sr3d.sparse import SparseTensor


class Level(NamedTuple):
    """Raw outputs of one level of one scene, finest level first.

    coords: (M, 3) int32 voxel coordinates. reg: (M, 6 or 8) before exp. cls: (M, C) logits.
    """

    coords: Tensor
    reg: Tensor
    cls: Tensor


class Detections(NamedTuple):
    """boxes: (K, 7), the convention of `geometry.boxes`. scores: (K,). labels: (K,) int64."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Predictions:
    """What the network says of every anchor of a batch; the rows of all levels, concatenated.

    anchors: (A, 3) metres. levels, scenes: (A,) int64. strides: (A,) metres, the edge of an
    anchor's cell. reg: (A, 6 or 8). logits: (A, C).
    """

    anchors: Tensor
    levels: Tensor
    strides: Tensor
    scenes: Tensor
    reg: Tensor
    logits: Tensor

    @cached_property
    def boxes(self) -> Tensor:
        """(A, 7) decoded boxes, differentiable."""
        return decode_boxes(self.anchors, self.reg)

    def __getitem__(self, rows: Tensor) -> Predictions:
        """Some rows, by index or mask."""
        return Predictions(
            self.anchors[rows],
            self.levels[rows],
            self.strides[rows],
            self.scenes[rows],
            self.reg[rows],
            self.logits[rows],
        )


class Detector(nn.Module):
    """Backbone, neck and head. `forward` takes a voxelised batch, `detect` takes a scan."""

    def __init__(self, config: ModelConfig, dataset: Dataset, test: TestConfig) -> None:
        super().__init__()
        self.config, self.dataset, self.test_config = config, dataset, test
        self.backbone = MinkResNet(config)
        self.neck = TR3DNeck(config)
        self.bbox_head = TR3DHead(config.neck_channels, len(dataset.classes), dataset.rotated)

    def levels(self, x: SparseTensor) -> list[tuple[SparseTensor, Tensor, Tensor]]:
        """Per level the neck's output (for its sites), raw box outputs and class logits."""
        return [(level, *self.bbox_head(level)) for level in self.neck(self.backbone(x))]

    def forward(self, x: SparseTensor) -> Predictions:
        levels = self.levels(x)
        coords = torch.cat([level.sites.coords for level, _, _ in levels])
        size = self.config.voxel_size
        index = [torch.full_like(reg[:, 0], i) for i, (_, reg, _) in enumerate(levels)]
        strides = [torch.full_like(reg[:, 0], x.sites.stride * size) for x, reg, _ in levels]
        return Predictions(
            # An anchor lies at the minimum corner of its cell, as in TR3D.
            anchors=coords[:, 1:] * size,
            levels=torch.cat(index).long(),
            strides=torch.cat(strides),
            scenes=coords[:, 0].long(),
            reg=torch.cat([reg for _, reg, _ in levels]),
            logits=torch.cat([cls for _, _, cls in levels]),
        )

    @torch.no_grad()
    def raw_outputs(self, points: Any) -> list[Level]:
        """Outputs before any decoding, per level, for one scan.

        points: (N, 6) float32 array or tensor: metres, colours in [0, 1]. Evaluation mode.
        """
        self.eval()
        levels = self.levels(self._voxels(*_split(points, None)))
        return [Level(level.sites.coords[:, 1:], reg, cls) for level, reg, cls in levels]

    @torch.no_grad()
    def detect(self, points: Any, colors: Any = None) -> Detections:
        """Boxes of one scan, class by class, best score first. Deterministic.

        points: (N, 6), or (N, 3) with `colors` (N, 3) in [0, 1]. Evaluation mode.

        Raises:
            InputError: empty or wrongly shaped input, or NaN.
        """
        self.eval()
        predictions = self(self._voxels(*_split(points, colors)))
        return select_detections(predictions, self.test_config, self.dataset.rotated)

    def _voxels(self, points: Tensor, colors: Tensor) -> SparseTensor:
        device = self.bbox_head.conv_cls.kernel.device
        return voxelize([points.to(device)], [colors.to(device)], self.config.voxel_size)


def build_detector(config: Config) -> Detector:
    """The network that a configuration asks for, with fresh weights (seed torch first)."""
    return Detector(config.model, get_dataset(config.dataset), config.test)


def select_detections(predictions: Predictions, config: TestConfig, rotated: bool) -> Detections:
    """One scene's anchors to detections: the `nms_pre` best, a score threshold, NMS a class.

    Source: TR3DHead of open-mmlab/mmdetection3d; the default NMS measures overlap from above, as
    theirs does.
    """
    scores = predictions.logits.sigmoid()
    best = scores.amax(dim=1)
    top = torch.topk(best, min(config.nms_pre, len(best))).indices
    scores, boxes = scores[top], decode_boxes(predictions.anchors[top], predictions.reg[top])
    labels, rows = (scores.t() > config.score_thr).nonzero().unbind(dim=1)
    score = scores[rows, labels]
    kept = nms(boxes[rows], score, labels, config.iou_thr, rotated, bev=config.nms == "bev")
    return Detections(boxes[rows[kept]], score[kept], labels[kept])


def _split(points: Any, colors: Any) -> tuple[Tensor, Tensor]:
    points = torch.as_tensor(points, dtype=torch.float32)
    if colors is not None:
        points = torch.cat([points, torch.as_tensor(colors, dtype=torch.float32)], dim=1)
    if points.ndim != 2 or points.shape[1] != 6:
        raise InputError(f"points: expected (N, 6) of x, y, z, r, g, b, got {tuple(points.shape)}")
    if len(points) == 0:
        raise InputError("points: the scan is empty")
    if not torch.isfinite(points).all():
        raise InputError("points: NaN or infinity; drop such points first")
    return points[:, :3], points[:, 3:]
