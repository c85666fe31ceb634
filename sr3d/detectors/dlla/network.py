"""TR3D's and FCAF3D's networks with separate output blocks for classes and boxes.

Names of parameters follow liuxinrun/dlla (dlla_tr3d_head.py and dlla_fcaf3d_head.py in
mmdet3d/models/dense_heads) where TR3D and FCAF3D have none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sr3d.detectors.common.face_boxes import between_faces
from sr3d.detectors.dlla.config import FCAF3DDLLAModel
from sr3d.detectors.fcaf3d.network import FCAF3DHead
from sr3d.detectors.tr3d.network import TR3DHead, TR3DNeck, decode_boxes
from sr3d.sparse import SparseTensor
from sr3d.sparse.nn import (
    SparseBatchNorm,
    SparseConv,
    SparseConvTranspose,
    SparseELU,
    SparseReLU,
    kaiming_normal_,
)

OUTPUTS = ("out_cls_block", "out_reg_block")
RawLevel = tuple[SparseTensor, Tensor, Tensor, Tensor]


class TwoOutputNeck(TR3DNeck):
    """TR3D's neck with two output blocks a level, and ELU where TR3D has ReLU."""

    outputs = OUTPUTS
    activation = SparseELU

    def forward(self, stages: list[SparseTensor]) -> list[list[SparseTensor]]:  # type: ignore[override]
        """Per level, finest first: features for classes, and for boxes."""
        return self.levels(stages)


class LocalizingHead(TR3DHead):
    """TR3D's head with a third 1³ convolution, for the localisation quality."""

    def __init__(self, channels: int, classes: int, rotated: bool) -> None:
        super().__init__(channels, classes, rotated)
        self.conv_localization = SparseConv(channels, 1, kernel=1, bias=True)
        nn.init.normal_(self.conv_localization.kernel, std=0.01)

    def forward(self, cls: SparseTensor, reg: SparseTensor) -> RawLevel:  # type: ignore[override]
        """The level, and raw (N, 6 or 8), (N, C), (N, 1), from the features of both outputs."""
        boxes, logits = self.conv_reg(reg).features, self.conv_cls(cls).features
        return cls, boxes, logits, self.conv_localization(cls).features


class TwoOutputHead(FCAF3DHead):
    """FCAF3D's head with two output blocks a level, and TR3D's up-sampling.

    Its centerness branch learns the localisation quality instead.
    """

    outputs = OUTPUTS

    def __init__(self, config: FCAF3DDLLAModel, classes: int, rotated: bool) -> None:
        super().__init__(config, classes, rotated)
        shared = {self.conv_center, self.conv_reg, self.conv_cls}
        for module in self.modules():
            if isinstance(module, SparseConv) and module not in shared:
                kaiming_normal_(module)

    def up_block(self, in_channels: int, channels: int) -> nn.Sequential:
        conv = SparseConvTranspose(in_channels, channels, kernel=3, stride=2, generative=True)
        return nn.Sequential(conv, SparseBatchNorm(channels), SparseReLU())


def decode_mixed(anchors: Tensor, reg: Tensor) -> Tensor:
    """TR3D + DLLA: anchors (N, 3) in metres and raw outputs (N, 6 or 8) to boxes (N, 7).

    As published, outputs are distances to the faces, as FCAF3D's, but with TR3D's activation: exp
    of the last three only. So an x size can be negative. With 8 outputs this has no meaning, and
    the coding is TR3D's.
    """
    if reg.shape[1] == 8:
        return decode_boxes(anchors, reg)
    distance = torch.cat([reg[:, :3], reg[:, 3:].exp()], dim=1)
    center, size = between_faces(anchors, distance)
    return torch.cat([center, size, torch.zeros_like(size[:, :1])], dim=1)
