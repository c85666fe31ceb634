"""Configuration of DEST on V-DETR: V-DETR's, with another decoder. See `on_vdetr`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from sr3d.config import Preset
from sr3d.detectors.vdetr.config import (
    THIN,
    VoxelQueryConfig,
    VoxelQueryModel,
    augmentation,
    network,
    schedule,
)
from sr3d.presets import DataFacts, Values
from sr3d.value_types import Count


@dataclass(frozen=True, kw_only=True)
class DESTOnVDETRModel(VoxelQueryModel):
    """V-DETR's network with scans of the points in place of cross-attention."""

    name: Literal["dest_vdetr"] = "dest_vdetr"
    heads: Count = 8  # attention heads, and groups of channels in a scan
    bidirectional: bool = True  # also scan the points from the last to the first


def _full(data: DataFacts) -> Values:
    """V-DETR's widths. On procedural rooms the thin network."""
    return _thin(data) if data.procedural else network(data, "dest_vdetr")


def _thin(data: DataFacts) -> Values:
    return network(data, "dest_vdetr", **THIN)


@dataclass(frozen=True, kw_only=True)
class DESTOnVDETRConfig(VoxelQueryConfig):
    """One setting of DEST on V-DETR on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"dest_vdetr": _full, "dest_vdetr_small": _thin},
        "train": {"dest_vdetr": schedule},
        "augment": {"dest_vdetr": augmentation},
    }

    model: DESTOnVDETRModel = field(default_factory=DESTOnVDETRModel)
