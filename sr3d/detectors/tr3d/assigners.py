"""Builds the assigner of a TR3D configuration."""

from __future__ import annotations

from sr3d.data.datasets import Dataset
from sr3d.detectors.tr3d.config import AssignerConfig
from sr3d.matching.align_ota import AlignOTA
from sr3d.matching.assigner import Assigner
from sr3d.matching.fcaf3d import FCAF3DAssigner
from sr3d.matching.simota import SimOTA
from sr3d.matching.spota_pruned import PrunedSPOTA
from sr3d.matching.tr3d import TR3DAssigner


def build_assigner(config: AssignerConfig, dataset: Dataset) -> Assigner:
    """The assigner for the classes and boxes of a data set."""
    match config.name:
        case "spota":
            return PrunedSPOTA(
                rotated=dataset.rotated,
                k=config.k,
                levels=config.levels,
                class_levels=dataset.levels,
                mu=config.mu,
                reg_cost=config.reg_cost,
                with_vertices=config.vertex_distance,
                vertices=config.vertices,
                cls_weight=config.cls_weight,
            )
        case "tr3d":
            return TR3DAssigner(dataset.levels, config.k, config.tr3d_variant)
        case "fcaf3d":
            return FCAF3DAssigner()
        case "simota":
            return SimOTA(dataset.rotated)
        case "align_ota":
            return AlignOTA(dataset.rotated)
