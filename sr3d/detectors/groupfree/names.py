"""GroupFree's weights as zeliu98/Group-Free-3D stores them. Its names are ours, with two additions.

Each name has the prefix of DistributedDataParallel, which the repository's programs cut off without
looking. Position embeddings have a second name in a list besides the name in their layer. If the
two differ, the one in the layer counts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, TypeVar

from sr3d.detectors.common.renaming import level_planes
from sr3d.detectors.family import CheckpointFormat, Inferred, Published, without_ddp

if TYPE_CHECKING:
    from torch import Tensor

V = TypeVar("V")

DDP = "module."
_IN_LAYER = re.compile(r"decoder\.(\d+)\.(\w+)_posembed\.(.+)")
_IN_LIST = re.compile(r"decoder_\w+_posembeds\.\d+\.")


def own_name(name: str) -> str | None:
    """Our name of a published one, None for a second name."""
    name = without_ddp(name) or ""
    return None if _IN_LIST.match(name) else name


def with_second_names(values: Mapping[str, V]) -> dict[str, V]:
    """Values by our names, and by the second names of position embeddings."""
    second = {}
    for name, value in values.items():
        if match := _IN_LAYER.fullmatch(name):
            layer, kind, rest = match.groups()
            second[f"decoder_{kind}_posembeds.{layer}.{rest}"] = value
    return {**values, **second}


def to_published(weights: Mapping[str, V]) -> dict[str, V]:
    """Weights by the names in the repository's files."""
    return {DDP + name: value for name, value in with_second_names(weights).items()}


def _recognises(names: Collection[str]) -> bool:
    """Extensions of GroupFree replace the attention to the seeds."""
    return {"points_obj_cls.conv3.weight", "decoder.0.multihead_attn.in_proj_weight"} <= {*names}


def infer(weights: Mapping[str, Tensor]) -> Inferred:
    """Widths, layers, classes, and whether boxes have a yaw. The number of queries is not in them.

    Raises:
        KeyError, IndexError: a weight is missing, or has too few axes.
    """
    return inferred(weights, f"model.feedforward={weights['decoder.0.linear1.weight'].shape[0]}")


def inferred(weights: Mapping[str, Tensor], *overrides: str) -> Inferred:
    """`infer` of a detector that extends GroupFree. overrides: of its decoder layers."""
    head = "proposal_head.{}_head.weight"
    bins = weights[head.format("heading_class")].shape[0]
    layers = {name.split(".")[1] for name in weights if name.startswith("prediction_heads.")}
    metres = head.format("size_pred") in weights
    shared = (
        f"model.planes={level_planes(weights)}",
        f"model.channels={weights['points_obj_cls.conv1.weight'].shape[1]}",
        f"model.layers={len(layers)}",
        f"model.box_size={'metres' if metres else 'class'}",
        *([f"model.heading_bins={bins}"] if bins > 1 else []),
    )
    classes = weights[head.format("sem_cls_scores")].shape[0]
    return Inferred(classes, bins > 1, (*shared, *overrides))


CHECKPOINTS = CheckpointFormat(
    landmark=r"points_obj_cls\.conv3\.weight",
    recognises=_recognises,
    written_by=lambda names: "zeliu98/Group-Free-3D",
    infer=infer,
    published={"original": Published(to_published, entry="model")},
    own_name=own_name,
)
