"""Small TR3D networks whose every statistic and weight matters, and clouds for them."""

from dataclasses import replace
from typing import Any

import torch

from sr3d.config import default_config
from sr3d.models.tr3d import TR3D
from sr3d.sparse.nn import SparseBatchNorm


def thin_model(dataset: str, **changes: Any) -> TR3D:
    config = default_config(dataset)
    model = replace(
        config.model, stem_channels=8, planes=(8, 8, 16, 16), blocks=(2, 1, 2, 1), neck_channels=16,
        voxel_size=0.05, **changes,
    )  # fmt: skip
    torch.manual_seed(0)
    detector = TR3D(replace(config, model=model)).eval()
    for module in detector.modules():
        if isinstance(module, SparseBatchNorm):  # as after training: no statistic is trivial
            assert module.bn.running_mean is not None
            assert module.bn.running_var is not None
            module.bn.running_mean.normal_(std=0.3)
            module.bn.running_var.uniform_(0.3, 2)
            module.bn.weight.data.uniform_(0.5, 1.5)
            module.bn.bias.data.normal_(std=0.3)
    detector.bbox_head.conv_reg.kernel.data.normal_(std=0.1)
    detector.bbox_head.conv_cls.kernel.data.normal_(std=0.3)
    return detector


def clouds(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    extent = torch.tensor([6.0, 5.0, 2.5])
    return [torch.rand(n, 3, generator=generator) * extent - 2.5 for n in sizes]
