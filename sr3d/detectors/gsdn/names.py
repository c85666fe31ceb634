"""GSDN's weights as jgwak/GSDN stores them. Its names are ours."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.common.checkpoint_names import LANDMARK
from sr3d.detectors.family import CheckpointFormat, Inferred, Published

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = re.compile(r"backbone\.layer(\d)\.(\d+)\.conv1\.kernel")
_HEAD = "region_proposal_network.final_{}.kernel"


def _recognises(names: Collection[str]) -> bool:
    return {"feature_upsample_network.conv_cls1.kernel", _HEAD.format("bbox")} <= {*names}


def infer(weights: Mapping[str, Tensor]) -> Inferred:
    """Widths, anchors and classes. GSDN's boxes have no yaw.

    Raises:
        KeyError, IndexError: a weight is missing, or has too few axes.
    """
    blocks: dict[int, int] = {}
    for name in weights:
        if match := _BLOCK.fullmatch(name):
            blocks[int(match[1])] = blocks.get(int(match[1]), 0) + 1
    planes = [weights[f"backbone.layer{i}.0.conv1.kernel"].shape[-1] for i in sorted(blocks)]
    channels, outputs = weights[_HEAD.format("bbox")].shape[-2:]
    anchors = outputs // 6
    overrides = (
        f"model.stem_channels={weights['backbone.conv1.kernel'].shape[-1]}",
        f"model.planes={planes}",
        f"model.blocks={[blocks[i] for i in sorted(blocks)]}",
        f"model.head_channels={channels}",
        f"model.anchors={anchors}",
    )
    classes = weights[_HEAD.format("semantic_logits")].shape[-1] // max(1, anchors)
    return Inferred(classes, rotated=False, overrides=overrides)


CHECKPOINTS = CheckpointFormat(
    landmark=LANDMARK,
    recognises=_recognises,
    written_by=lambda names: "jgwak/GSDN",
    infer=infer,
    published={"original": Published()},
)
