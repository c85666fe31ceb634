"""SPGroup3D's weights as zyrant/SPGroup3D stores them. Its names are ours."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.common.checkpoint_names import LANDMARK
from sr3d.detectors.family import CheckpointFormat, Inferred, Published

if TYPE_CHECKING:
    from torch import Tensor

_FUSION = "voxel_encoder.ffn_layers.{}.0.kernel"


def _recognises(names: Collection[str]) -> bool:
    return {"voxel_encoder.out_linear.0.weight", "head.conv_reg.6.weight"} <= {*names}


def infer(weights: Mapping[str, Tensor]) -> Inferred:
    """Widths, classes and whether boxes have a yaw.

    Raises:
        KeyError, IndexError: a weight is missing, or has too few axes.
    """

    def channels(name: str) -> int:
        return int(weights[f"backbone.{name}.kernel"].shape[-1])

    blocks = sum(
        re.fullmatch(r"backbone\.layer1\.\d+\.conv1\.kernel", name) is not None for name in weights
    )
    rounds = [_FUSION.format(i) for i in range(len(weights))]
    fusion = [weights[name].shape[-1] for name in rounds if name in weights]
    overrides = (
        f"model.stem_channels={channels('conv1.0')}",
        f"model.high_channels={channels('layer2.0.conv1')}",
        f"model.planes={[channels(f'layer{i}.0.conv1') for i in (3, 4, 5)]}",
        f"model.context_channels={channels('spp.scale0.2')}",
        f"model.blocks={blocks}",
        f"model.out_channels={channels('out.3')}",
        f"model.fusion_channels={fusion}",
        f"model.head_channels={weights['head.conv_reg.6.weight'].shape[1]}",
    )
    classes = weights["head.conv_cls.6.weight"].shape[0]
    rotated = weights["head.conv_reg.6.weight"].shape[0] == 8
    return Inferred(classes, rotated, overrides)


CHECKPOINTS = CheckpointFormat(
    landmark=LANDMARK,
    recognises=_recognises,
    written_by=lambda names: "zyrant/SPGroup3D",
    infer=infer,
    published={"original": Published()},
)
