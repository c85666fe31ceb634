"""Checkpoints of V-DETR/V-DETR. Our weights have the same names and conventions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.family import CheckpointFormat, Inferred, Published

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = re.compile(r"pre_encoder\.layer(\d)\.\d+\.conv1\.kernel")
_LAYER = re.compile(r"decoder\.layers\.(\d+)\.linear1\.weight")
_QUERIES = "decoder.query_embed.weight"
_HEAD = "decoder.mlp_heads.1.{}_head.layers.8.weight"


def _recognises(names: Collection[str]) -> bool:
    return {_QUERIES, "pre_encoder.conv1.kernel"} <= {*names}


def _infer(weights: Mapping[str, Tensor]) -> Inferred:
    """Weights do not tell the number of seeds.

    Raises:
        KeyError, IndexError: a weight is missing, or has too few axes.
    """
    blocks: dict[int, int] = {}
    for match in filter(None, map(_BLOCK.fullmatch, weights)):
        blocks[int(match[1])] = blocks.get(int(match[1]), 0) + 1
    stem, first = weights["pre_encoder.conv1.kernel"].shape, "decoder.layers.0."
    planes = [weights[f"pre_encoder.layer{i}.0.conv1.kernel"].shape[-1] for i in sorted(blocks)]
    queries, channels = weights[_QUERIES].shape
    bins = weights[_HEAD.format("angle_cls")].shape[0]
    overrides = [
        f"model.features={'colors' if stem[1] == 3 else 'points_and_colors'}",
        f"model.stem_channels={stem[-1]}",
        f"model.planes={planes}",
        f"model.blocks={[blocks[i] for i in sorted(blocks)]}",
        f"model.neck_channels={weights['out_block_0.0.kernel'].shape[-1]}",
        f"model.queries={queries}",
        f"model.channels={channels}",
        f"model.heads={weights[first + 'multihead_attn.cpb_mlps.0.2.weight'].shape[0]}",
        f"model.layers={sum(map(bool, map(_LAYER.fullmatch, weights)))}",
        f"model.hidden={weights[first + 'linear1.weight'].shape[0]}",
    ]
    if bins > 1:
        overrides.append(f"model.heading_bins={bins}")
    classes = weights[_HEAD.format("sem_cls")].shape[0]
    return Inferred(classes, rotated=bins > 1, overrides=tuple(overrides))


CHECKPOINTS = CheckpointFormat(
    landmark=r"pre_encoder\.conv1\.kernel",
    recognises=_recognises,
    written_by=lambda names: "V-DETR/V-DETR (and sr3d)",
    infer=_infer,
    published={"original": Published(entry="model")},
)
