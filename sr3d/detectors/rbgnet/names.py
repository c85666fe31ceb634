"""RBGNet's weights as Haiyang-W/RBGNet stores them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.common.renaming import Renaming, level_planes
from sr3d.detectors.family import CheckpointFormat, Inferred, Published
from sr3d.detectors.rbgnet.config import RBGNetModel

if TYPE_CHECKING:
    from torch import Tensor

_MODULES = Renaming((
    ("backbone_3d.SA_modules.{}.mlps.0.{}.", "backbone_net.sa{}.mlp_module.layer{}.", (1, 0)),
    ("backbone_3d.SA_modules.{}.fbs_mlps.0.3.", "backbone_net.scorers.{}.conv.", (-1,)),
    ("backbone_3d.SA_modules.{}.fbs_mlps.0.{}.", "backbone_net.scorers.{}.mlp.layer{}.", (-1, 0)),
    ("backbone_3d.FP_modules.{}.mlp.", "backbone_net.fp{}.mlp.", (1,)),
    ("point_head.vote_module.conv_out.", "vgen.conv3.", ()),
    ("point_head.vote_module.vote_conv.{}.conv.", "vgen.conv{}.", (1,)),
    ("point_head.vote_module.vote_conv.{}.bn.", "vgen.bn{}.", (1,)),
    ("point_head.vote_aggregation.mlps.0.", "aggregation.mlp_module.", ()),
    ("point_head.scale_prediction.mlp.conv_scale.", "scale.conv.", ()),
    ("point_head.scale_prediction.", "scale.", ()),
    ("point_head.fuse_feat.mlp.", "fuse.", ()),
    ("point_head.share_pred.mlp.", "head.shared.", ()),
    ("point_head.conv_", "head.conv_", ()),
    ("point_head.raybasedgrouping.seed_feat_reduce.mlp.", "rays.reduce.", ()),
    ("point_head.raybasedgrouping.fuse_layer.mlp.", "rays.fuse.", ()),
    *(
        (f"point_head.raybasedgrouping.{branch}_{theirs}.", f"rays.{branch}.{ours}.", ())
        for branch in ("coarse", "fine")
        for theirs, ours in (
            ("seed_aggregation.mlps.0.0", "aggregation.layer0"),
            ("intersection_module.mlp", "intersection"),
            ("bin_reduce_dim.mlp", "bin_reduce"),
            ("ray_reduce_dim.mlp", "ray_reduce"),
        )
    ),
))  # fmt: skip
# In these two modules the layers of PointNet++ are numbered with their norms and ReLUs.
_COUNTED = re.compile(r"((?:fp\d\.mlp|aggregation\.mlp_module)\.)(\d+)\.")
_LAYER = re.compile(
    r"(backbone_net\.fp\d\.mlp|^aggregation\.mlp_module)\.layer(\d)\.(conv|bn\.bn)\."
)
_NORM = re.compile(r"(backbone_net\..*layer\d|rays\.\w+\.aggregation\.layer\d)\.bn\.")
# What the original stores beside the network: weights of classes in losses, and a counter.
_CONSTANTS = {
    "point_head.objectness_loss.weight": (0.2, 0.8),
    "point_head.sample_loss.weight": (0.2, 0.8),
    "point_head.intersection_loss.weight": (0.5, 0.5),
}
_COUNTER = "global_step"
_BINS = RBGNetModel.heading_bins


def own_name(name: str) -> str | None:
    """Our name of a published one, None for a constant."""
    name = name.removeprefix("module.")
    if name in _CONSTANTS or name == _COUNTER:
        return None
    found = _MODULES.own(name)
    return _COUNTED.sub(_layer, _NORM.sub(r"\1.bn.bn.", found)) if found else name


def published_name(name: str) -> str:
    """The inverse of `own_name`."""
    name = _LAYER.sub(_position, name).replace(".bn.bn.", ".bn.")
    return _MODULES.published(name) or name


def _layer(match: re.Match[str]) -> str:
    layer, kind = divmod(int(match[2]), 3)
    return f"{match[1]}layer{layer}.{('conv', 'bn.bn')[kind]}."


def _position(match: re.Match[str]) -> str:
    return f"{match[1]}.{3 * int(match[2]) + (match[3] != 'conv')}."


def publish(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under the published names, with the constants of the original."""
    import torch

    constants = {name: torch.tensor(value) for name, value in _CONSTANTS.items()}
    return {
        _COUNTER: torch.zeros(1, dtype=torch.int64),
        **{published_name(name): value for name, value in weights.items()},
        **constants,
    }


def infer(weights: Mapping[str, Tensor]) -> Inferred:
    """Widths, rays, classes, and whether boxes have a yaw.

    Raises:
        KeyError, IndexError: a weight is missing, or has too few axes.
    """
    channels, joined = weights["rays.coarse.bin_reduce.layer0.conv.weight"].shape[:2]
    fine = weights["rays.fine.bin_reduce.layer0.conv.weight"].shape[1]
    rays = weights["rays.coarse.ray_reduce.layer0.conv.weight"].shape[1]
    overrides = (
        f"model.planes={level_planes(weights)}",
        f"model.seed_channels={weights['vgen.conv1.weight'].shape[1]}",
        f"model.proposal_channels={weights['head.conv_cls.weight'].shape[1]}",
        f"model.ray_channels={channels}",
        f"model.rays={rays // channels}",
        f"model.coarse_bins={joined // channels}",
        f"model.fine_bins={fine // channels}",
    )
    rotated = weights["head.conv_reg.weight"].shape[0] == 6 + 2 * _BINS
    return Inferred(weights["head.conv_cls.weight"].shape[0] - 2, rotated, overrides)


CHECKPOINTS = CheckpointFormat(
    landmark=r"(?:point_head\.vote_module\.conv_out|vgen\.conv3)\.weight",
    own_name=own_name,
    recognises=lambda names: "rays.fuse.layer0.conv.weight" in names,
    written_by=lambda names: "Haiyang-W/RBGNet",
    infer=infer,
    published={"original": Published(publish, "model_state")},
)
