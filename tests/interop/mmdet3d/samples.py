"""Scenes as mmdet3d hands them to a detector, and thin detectors of its registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import sr3d.interop.mmdet3d
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.detectors.configuration import default_config
from sr3d.interop.mmdet3d.box_conversion import depth_boxes

CONFIGS = Path(sr3d.interop.mmdet3d.__file__).parent / "configs"


def scenes(folder: Path, split: str = "train", count: int = 2) -> list[Scene]:
    return [PreparedDataset(folder, split)[i] for i in range(count)]


def clouds(scenes: list[Scene]) -> dict[str, list[torch.Tensor]]:
    """What the data preprocessor gives: (N, 6) a scene."""
    return {"points": [torch.cat([scene.points, scene.colors], dim=1) for scene in scenes]}


def samples(scenes: list[Scene], rotated: bool) -> list[Det3DDataSample]:
    """With ground truth."""
    found = []
    for scene in scenes:
        sample = Det3DDataSample()
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=depth_boxes(scene.boxes.tensor, rotated), labels_3d=scene.labels
        )
        found.append(sample)
    return found


def build_detector(dataset: str, engine: str = "native", **head: Any) -> Any:
    """An `SR3D` as thin as our own detector on procedural rooms. head: fields of `SR3DHead`."""
    init_default_scope("mmdet3d")
    network = default_config(dataset).to_dict()["model"] | {"engine": engine}
    torch.manual_seed(0)
    return MODELS.build(
        {
            "type": "SR3D",
            "data_preprocessor": {"type": "Det3DDataPreprocessor"},
            "network": network,
            "bbox_head": {"type": "SR3DHead", "dataset": dataset, **head},
            "test_cfg": {"nms_pre": 300, "score_thr": 0.01, "iou_thr": 0.5, "voxel_pick": "first"},
        }
    )
