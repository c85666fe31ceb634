"""TR3D: a light neck and head on MinkResNet34. SR3D is this network with another loss."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scene import Scene
from sr3d.detectors.common.mink_resnet import MinkResNet
from sr3d.detectors.common.selection import select_detections
from sr3d.detectors.common.sparse_detector import SparseDetector
from sr3d.detectors.outputs import Detections, Losses, Predictions, Total, alone, anchors_of
from sr3d.detectors.tr3d.assigners import build_assigner
from sr3d.detectors.tr3d.config import TR3DConfig, TR3DInference, TR3DModel
from sr3d.detectors.tr3d.loss import detection_loss
from sr3d.detectors.tr3d.network import TR3DHead, TR3DNeck, decode_boxes
from sr3d.detectors.tr3d.oracle import with_oracle
from sr3d.sparse import SparseTensor
from sr3d.sparse.tensor import PlannedTensor


class TR3D(SparseDetector[Predictions]):
    """Backbone, neck and head, for any assigner and classification loss."""

    config: TR3DModel
    inference: TR3DInference

    def __init__(self, config: TR3DConfig) -> None:
        super().__init__(config)
        self.assigner = build_assigner(config.assigner, self.dataset)
        self.loss_config = config.loss
        classes, rotated = self.dataset.classes, self.dataset.rotated
        self.backbone = MinkResNet(config.model)
        self.neck = TR3DNeck(config.model)
        self.bbox_head = TR3DHead(config.model.neck_channels, len(classes), rotated)

    def levels(self, x: SparseTensor) -> list[tuple[SparseTensor, Tensor, Tensor]]:
        """Per level: the neck's output (for its sites), raw box outputs and class logits."""
        return [(level, *self.bbox_head(level)) for level in self.neck(self.backbone(x))]

    def planned(self, x: PlannedTensor) -> object:
        return self.neck(self.backbone(x))

    def forward(self, x: SparseTensor) -> Predictions:
        levels, reg, cls = zip(*self.run_network(x), strict=True)
        anchors = anchors_of([lv.sites for lv in levels], self.config.voxel_size)
        return Predictions(anchors, self.decode(anchors.positions, torch.cat(reg)), torch.cat(cls))

    def loss(self, predictions: Predictions, truth: GroundTruth, total: Total = alone) -> Losses:
        rotated = self.dataset.rotated
        return detection_loss(predictions, truth, self.assigner, self.loss_config, rotated, total)

    @property
    def has_oracle(self) -> bool:
        return self.inference.oracle != "none"

    def with_oracle(self, predictions: Predictions, scene: Scene) -> Predictions:
        return with_oracle(predictions, scene, self.dataset, self.inference)

    def select(self, predictions: Predictions) -> Detections:
        return select_detections(predictions, self.inference, self.dataset.rotated)

    def decode(self, anchors: Tensor, reg: Tensor) -> Tensor:
        return decode_boxes(anchors, reg)
