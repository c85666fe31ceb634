"""A head of mmdet3d with our assigners, losses and selection: SPOTA, RAS and the alternatives.

The two layers are TR3D's, under its names, so TR3D's checkpoints load. Levels are our sparse
tensors or MinkowskiEngine's. With MinkowskiEngine's, the head replaces TR3D's head in
`MinkSingleStage3DDetector`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet3d.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from sr3d.data.datasets import dataset_of
from sr3d.detectors.common.selection import select_detections
from sr3d.detectors.outputs import Predictions, anchors_of, require_finite_predictions
from sr3d.detectors.tr3d.assigners import build_assigner
from sr3d.detectors.tr3d.loss import detection_loss
from sr3d.detectors.tr3d.network import TR3DHead, decode_boxes
from sr3d.interop.mmdet3d.box_conversion import ground_truth, instances_of
from sr3d.interop.mmdet3d.config_fields import Fields, tr3d_config
from sr3d.sparse import SparseTensor


@MODELS.register_module()
class SR3DHead(TR3DHead):
    """A head with our assigners and losses.

    dataset: a known name, for classes, their levels and oriented boxes. Or `own`, with the fields
    of `config.OwnData` in `own`. assigner, loss: fields of `AssignerConfig` and `LossConfig`, by
    default SPOTA and RAS. test_cfg: fields of `InferenceConfig`. train_cfg: unused, but mmdet3d's
    detectors pass it.

    Raises:
        InputError: an unknown name (with the nearest known one), or an impossible value.
    """

    def __init__(
        self,
        dataset: str,
        in_channels: int = 128,
        voxel_size: float = 0.01,
        own: Fields = None,
        assigner: Fields = None,
        loss: Fields = None,
        test_cfg: Fields = None,
        train_cfg: Any = None,
    ) -> None:
        config = tr3d_config(dataset, own=own, assigner=assigner, loss=loss, test=test_cfg)
        kind = dataset_of(config)
        super().__init__(in_channels, len(kind.classes), kind.rotated)
        self.dataset, self.settings, self.voxel_size = kind, config, voxel_size
        self.assigner = build_assigner(config.assigner, kind)

    # TR3D's own head takes one level. mmdet3d's API passes all of them.
    def forward(self, levels: Sequence[Any]) -> Predictions:  # type: ignore[override]
        """The predictions at every anchor of the batch, from the neck's levels, finest first."""
        ours = [_ours(level) for level in levels]
        reg, cls = zip(*(super(SR3DHead, self).forward(level) for level in ours), strict=True)
        anchors = anchors_of([level.sites for level in ours], self.voxel_size)
        return Predictions(anchors, decode_boxes(anchors.positions, torch.cat(reg)), torch.cat(cls))

    def loss(
        self, levels: Sequence[Any], batch_data_samples: Sequence[Any], **_: Any
    ) -> dict[str, Tensor]:
        """Terms whose names end in `loss` are trained. The other values are only logged."""
        predictions = self(levels)
        truth = ground_truth(batch_data_samples, predictions.logits.device)
        losses = detection_loss(
            predictions, truth, self.assigner, self.settings.loss, self.dataset.rotated
        )
        terms, curves = losses.terms, losses.curves
        return {
            "bbox_loss": terms["box"],
            "cls_loss": terms["cls"],
            "aic": curves["aic"],
            "positives": curves["positives"].to(terms["box"].dtype),
        }

    def predict(
        self, levels: Sequence[Any], batch_data_samples: Sequence[Any], **_: Any
    ) -> list[InstanceData]:
        """Boxes, scores and labels of each scene. Our NMS works on any device.

        Raises:
            InputError: NaN or infinite scores or boxes.
        """
        predictions, rotated = self(levels), self.dataset.rotated
        scenes = [
            predictions[predictions.anchors.scenes == i] for i in range(len(batch_data_samples))
        ]
        found = [select_detections(scene, self.settings.test, rotated) for scene in scenes]
        require_finite_predictions(predictions, "SR3DHead")
        return [instances_of(detections, rotated) for detections in found]


def _ours(level: Any) -> SparseTensor:
    """Our sparse tensor, from ours or from MinkowskiEngine's."""
    if isinstance(level, SparseTensor):
        return level
    return SparseTensor.from_coords(level.C, level.F, level.tensor_stride[0])
