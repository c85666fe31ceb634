"""Checkpoints of facebookresearch/3detr. Our weights have the same names and conventions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.family import CheckpointFormat, Inferred, Published

if TYPE_CHECKING:
    from torch import Tensor

_CLASSES = "mlp_heads.sem_cls_head.layers.8.weight"
_BINS = "mlp_heads.angle_cls_head.layers.8.weight"
_DECODER_LAYER = re.compile(r"decoder\.layers\.\d+\.linear1\.weight")


def _recognises(names: Collection[str]) -> bool:
    return _CLASSES in names and _BINS in names


def _infer(weights: Mapping[str, Tensor]) -> Inferred:
    """Weights do not tell the numbers of points, queries and attention heads."""
    masked = any(name.startswith("encoder.interim_downsampling.") for name in weights)
    encoder, decoder = weights["encoder.layers.0.linear1.weight"], "decoder.layers.0.linear1.weight"
    overrides = [
        f"model.channels={encoder.shape[1]}",
        f"model.encoder_hidden={encoder.shape[0]}",
        f"model.decoder_hidden={weights[decoder].shape[0]}",
        f"model.decoder_layers={sum(map(bool, map(_DECODER_LAYER.fullmatch, weights)))}",
    ]
    bins = weights[_BINS].shape[0]
    if bins > 1:
        overrides.append(f"model.heading_bins={bins}")
    classes = weights[_CLASSES].shape[0] - 1
    preset = "3detr_m" if masked else "3detr"
    return Inferred(classes, rotated=bins > 1, overrides=tuple(overrides), preset=preset)


def _written_by(names: Collection[str]) -> str:
    return "facebookresearch/3detr (and sr3d)"


CHECKPOINTS = CheckpointFormat(
    landmark=re.escape(_CLASSES),
    recognises=_recognises,
    written_by=_written_by,
    infer=_infer,
    published={"original": Published(entry="model")},
)
