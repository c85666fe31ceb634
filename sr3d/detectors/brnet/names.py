"""BRNet's weights as cheng052/BRNet stores them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.brnet.config import BRNetModel
from sr3d.detectors.common.renaming import Renaming, level_planes
from sr3d.detectors.family import CheckpointFormat, Inferred, Published

if TYPE_CHECKING:
    from torch import Tensor

_MODULES = Renaming((
    ("backbone.SA_modules.{}.mlps.0.", "backbone_net.sa{}.mlp_module.", (1,)),
    ("backbone.FP_modules.{}.mlps.", "backbone_net.fp{}.mlp.", (1,)),
    ("rpn_head.vote_module.conv_out.", "vgen.conv3.", ()),
    ("rpn_head.vote_module.vote_conv.{}.conv.", "vgen.conv{}.", (1,)),
    ("rpn_head.vote_module.vote_conv.{}.bn.", "vgen.bn{}.", (1,)),
    ("rpn_head.vote_aggregation.mlps.0.", "aggregation.mlp_module.", ()),
    ("rpn_head.conv_pred.shared_convs.layer{}.conv.", "first.conv{}.", (1,)),
    ("rpn_head.conv_pred.shared_convs.layer{}.bn.", "first.bn{}.", (1,)),
    ("rpn_head.conv_pred.", "first.", ()),
    ("roi_head.bbox_head.conv_pred.shared_convs.layer{}.conv.", "second.conv{}.", (1,)),
    ("roi_head.bbox_head.conv_pred.shared_convs.layer{}.bn.", "second.bn{}.", (1,)),
    ("roi_head.bbox_head.conv_pred.", "second.", ()),
    ("roi_head.roi_extractor.seed_aggregation.mlps.0.", "tracing.seed_aggregation.mlp_module.", ()),
    ("roi_head.roi_extractor.", "tracing.", ()),
))  # fmt: skip
_NORM = re.compile(r"(mlp(?:_module)?\.layer\d\.)bn\.")  # ours is `bn.bn.` in PointNet++
_BINS = BRNetModel.heading_bins


def own_name(name: str) -> str | None:
    """Our name of a published one."""
    name = name.removeprefix("module.")
    return _NORM.sub(r"\1bn.bn.", _MODULES.own(name) or name)


def published_name(name: str) -> str:
    """The inverse of `own_name`."""
    name = name.replace(".bn.bn.", ".bn.")
    return _MODULES.published(name) or name


def publish(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under the published names."""
    return {published_name(name): value for name, value in weights.items()}


def infer(weights: Mapping[str, Tensor]) -> Inferred:
    """Widths, classes, and whether boxes have a yaw.

    Raises:
        KeyError, IndexError: a weight is missing, or has too few axes.
    """
    layer = "tracing.seed_aggregation.mlp_module.layer{}.conv.weight"
    trace = [weights[layer.format(i)].shape[0] for i in range(3)]
    overrides = (
        f"model.planes={level_planes(weights)}",
        f"model.seed_channels={weights['vgen.conv1.weight'].shape[1]}",
        f"model.proposal_channels={weights['first.conv1.weight'].shape[1]}",
        f"model.trace_planes={trace}",
    )
    rotated = weights["first.conv_reg.weight"].shape[0] == 6 + 2 * _BINS
    return Inferred(weights["second.conv_cls.weight"].shape[0], rotated, overrides)


CHECKPOINTS = CheckpointFormat(
    landmark=r"(?:rpn_head\.vote_module\.conv_out|vgen\.conv3)\.weight",
    own_name=own_name,
    recognises=lambda names: "tracing.reduce_dim.weight" in names,
    written_by=lambda names: "cheng052/BRNet",
    infer=infer,
    published={"original": Published(publish)},
)
