"""Our network and our head as a detector of mmdet3d. It needs no MinkowskiEngine and no GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet3d.models.detectors import Base3DDetector
from mmdet3d.registry import MODELS
from torch import Tensor

from sr3d.data.loader import on_device
from sr3d.detectors.common.mink_resnet import MinkResNet
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.outputs import Predictions
from sr3d.detectors.tr3d.network import TR3DNeck
from sr3d.errors import InputError, Kind
from sr3d.interop.mmdet3d.config_fields import Fields, tr3d_config
from sr3d.sparse import SparseTensor


@MODELS.register_module()
class SR3D(Base3DDetector):
    """Our network and head as a detector.

    bbox_head: an `SR3DHead`. network: fields of `config.ModelConfig`, by default TR3D's. They also
    set the head's `in_channels` and `voxel_size`.

    Points are in metres and colours in [0, 1]. Parameters have the names of mmdet3d's TR3D.

    Raises:
        InputError: an unknown name (with the nearest known one), or an impossible value.
    """

    def __init__(
        self,
        bbox_head: Mapping[str, Any],
        network: Fields = None,
        train_cfg: Any = None,
        test_cfg: Fields = None,
        data_preprocessor: Any = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        config = tr3d_config(
            bbox_head["dataset"], own=bbox_head.get("own"), model=network, test=test_cfg
        )
        self.network, self.voxel_pick = config.model, config.test.voxel_pick
        self.backbone = MinkResNet(config.model)
        self.neck = TR3DNeck(config.model)
        shape = {
            "in_channels": config.model.neck_channels,
            "voxel_size": config.model.voxel_size,
        }
        cfg = {"train_cfg": train_cfg, "test_cfg": test_cfg}
        self.bbox_head = MODELS.build({**bbox_head, **shape, **cfg})

    def extract_feat(self, batch_inputs: Mapping[str, Any]) -> list[SparseTensor]:
        """The neck's two levels of `points`, one (N, 6) tensor per scene."""
        clouds: list[Tensor] = batch_inputs["points"]
        for cloud in clouds:
            _check_cloud(cloud)
        points, colors = [c[:, :3] for c in clouds], [c[:, 3:] for c in clouds]
        # In training the pipeline's sampling has shuffled the points, so the first one is random.
        at_random = not self.training and self.voxel_pick == "random"
        order = torch.randperm(sum(map(len, clouds))) if at_random else None
        order = order if order is None else on_device(order, clouds[0].device)
        size, engine = self.network.voxel_size, self.network.engine
        return self.neck(self.backbone(voxelize(points, colors, size, order, engine)))

    def loss(
        self, batch_inputs: Mapping[str, Any], batch_data_samples: Sequence[Any], **kwargs: Any
    ) -> dict[str, Tensor]:
        return self.bbox_head.loss(self.extract_feat(batch_inputs), batch_data_samples, **kwargs)

    def predict(
        self, batch_inputs: Mapping[str, Any], batch_data_samples: Sequence[Any], **kwargs: Any
    ) -> Sequence[Any]:
        """The samples, each with its `pred_instances_3d`."""
        found = self.bbox_head.predict(self.extract_feat(batch_inputs), batch_data_samples)
        return self.add_pred_to_datasample(batch_data_samples, found)

    def _forward(
        self, batch_inputs: Mapping[str, Any], data_samples: Any = None, **kwargs: Any
    ) -> Predictions:
        return self.bbox_head(self.extract_feat(batch_inputs))


def _check_cloud(cloud: Tensor) -> None:
    """Check columns and colours, which pipelines often get wrong."""
    if cloud.shape[1] != 6:
        raise InputError(
            f"has {cloud.shape[1]} columns, and SR3D needs x, y, z, r, g, b",
            field="points",
            kind=Kind.VALUE,
            remedy="Use LoadPointsFromFile with use_color=True and use_dim=[0, 1, 2, 3, 4, 5].",
        )
    if len(cloud) and (highest := float(cloud[:, 3:].max())) > 1.001:
        raise InputError(
            f"has colours up to {highest:g}, and SR3D needs them from 0 to 1",
            field="points",
            kind=Kind.VALUE,
            remedy="Add dict(type='NormalizePointsColor', color_mean=None) to the pipeline.",
        )
