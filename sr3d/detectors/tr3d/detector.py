"""TR3D: a light neck and head on MinkResNet34. SR3D is this network, trained otherwise."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.config import Config
from sr3d.detectors.base import Detector
from sr3d.detectors.common.mink_resnet import MinkResNet
from sr3d.detectors.common.selection import select_detections
from sr3d.detectors.outputs import Detections, GroundTruth, LossTerms, Predictions, anchors_of
from sr3d.detectors.tr3d.loss import detection_loss
from sr3d.detectors.tr3d.network import TR3DHead, TR3DNeck, decode_boxes
from sr3d.sparse import SparseTensor
from sr3d.sparse.tensor import PlannedTensor


class TR3D(Detector[Predictions]):
    """Backbone, neck and head; trained with any assigner and classification loss."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.assigner_config, self.loss_config = config.assigner, config.loss
        classes, rotated = self.dataset.classes, self.dataset.rotated
        self.backbone = MinkResNet(config.model)
        self.neck = TR3DNeck(config.model)
        self.bbox_head = TR3DHead(config.model.neck_channels, len(classes), rotated)

    def levels(self, x: SparseTensor) -> list[tuple[SparseTensor, Tensor, Tensor]]:
        """Per level the neck's output (for its sites), raw box outputs and class logits."""
        return [(level, *self.bbox_head(level)) for level in self.neck(self.backbone(x))]

    def planned(self, x: PlannedTensor) -> object:
        return self.neck(self.backbone(x))

    def forward(self, x: SparseTensor) -> Predictions:
        levels, reg, cls = zip(*self.run_network(x), strict=True)
        places = anchors_of([level.sites for level in levels], self.config.voxel_size)
        boxes = self.decode(places[0], torch.cat(reg))
        counts = [level.sites.counts for level in levels]
        return Predictions(*places, boxes, torch.cat(cls), counts=counts)

    def loss(self, predictions: Predictions, truth: GroundTruth) -> LossTerms:
        return detection_loss(
            predictions, truth, self.dataset, self.assigner_config, self.loss_config
        )

    def select(self, predictions: Predictions) -> Detections:
        return select_detections(predictions, self.test_config, self.dataset.rotated)

    def decode(self, anchors: Tensor, reg: Tensor) -> Tensor:
        return decode_boxes(anchors, reg)
