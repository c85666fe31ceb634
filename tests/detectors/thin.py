"""Small networks whose every statistic and weight matters, and clouds for them."""

from dataclasses import replace
from typing import Any, TypeVar

import torch

from sr3d.config import Config
from sr3d.detectors.base import Detector
from sr3d.detectors.common.sparse_config import SparseModelConfig
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.fcaf3d.config import FCAF3DConfig
from sr3d.detectors.fcaf3d.detector import FCAF3D
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.sparse.nn import SparseBatchNorm
from tests.family_configs import of_family, tr3d_config

C = TypeVar("C", bound=Config)
D = TypeVar("D", bound=Detector[Any, Any])


def thin_model(dataset: str, **changes: Any) -> TR3D:
    """TR3D's. changes: of `config.model`."""
    detector = TR3D(_thin(tr3d_config(dataset), **changes))
    return _as_trained(detector)


def thin_fcaf3d(dataset: str, **changes: Any) -> FCAF3D:
    """FCAF3D's; unless changed, every level but the coarsest is pruned in a cloud of 1200."""
    preset = with_overrides(default_config(dataset), ["model=fcaf3d"])
    config = of_family(FCAF3DConfig, preset)
    return _as_trained(FCAF3D(_thin(config, **{"pts_prune": 150, **changes})))


def _thin(config: C, **changes: Any) -> C:
    assert isinstance(config.model, SparseModelConfig)
    model = replace(
        config.model, stem_channels=8, planes=(8, 8, 16, 16), blocks=(2, 1, 2, 1), neck_channels=16,
        voxel_size=0.05, **changes,
    )  # fmt: skip
    torch.manual_seed(0)
    return replace(config, model=model)


def _as_trained(detector: D) -> D:
    detector.eval()
    for module in detector.modules():
        if isinstance(module, SparseBatchNorm):  # as after training: no statistic is trivial
            assert module.bn.running_mean is not None
            assert module.bn.running_var is not None
            module.bn.running_mean.normal_(std=0.3)
            module.bn.running_var.uniform_(0.3, 2)
            module.bn.weight.data.uniform_(0.5, 1.5)
            module.bn.bias.data.normal_(std=0.3)
    head = detector.get_submodule("bbox_head")
    for name, deviation in (("conv_reg", 0.1), ("conv_cls", 0.3), ("conv_center", 0.3)):
        if hasattr(head, name):
            head.get_parameter(f"{name}.kernel").data.normal_(std=deviation)
    return detector


def clouds(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    extent = torch.tensor([6.0, 5.0, 2.5])
    return [torch.rand(n, 3, generator=generator) * extent - 2.5 for n in sizes]
