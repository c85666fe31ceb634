"""TR3D's golden files: the network on MinkowskiEngine 0.5.4, and mmdetection3d 1.4.0's TR3D on it.

A file `tr3d_mmdet3d_SCENE` is of the cloud of `tr3d_minkowski_SCENE`, which stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

import sr3d
from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.outputs import Predictions
from sr3d.detectors.tr3d.assigners import build_assigner
from sr3d.detectors.tr3d.config import AssignerConfig, LossConfig
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.geometry.boxes import Boxes
from tests.detectors.golden.comparing import Comparison, Golden, detections, sorted_rows
from tests.detectors.golden.weights import rebuilt, shapes_in, shapes_of, through_file
from tests.shared_data import shared

SCALES = {"bbox_head.conv_*.kernel": 0.05}
INPUTS = {
    "points": "input of the network",
    "gt_boxes": "input of the loss",
    "gt_labels": "input of the loss",
}
# The list of names has those of SamsungLabs/tr3d. The weights are drawn by mmdetection3d's.
HEAD = {"head.bbox_conv.": "bbox_head.conv_reg.", "head.cls_conv.": "bbox_head.conv_cls."}


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    model = published(golden, folder)
    if golden.says("minkowski"):
        yield from raw_outputs(golden, model)
        return
    cloud = Golden(golden.beside(golden.path.name.replace("_mmdet3d_", "_minkowski_")))
    points = torch.from_numpy(cloud["points"])
    with torch.no_grad():
        found = model(model.voxels([points[:, :3]], [points[:, 3:]]))
        yield from training(golden, model, found)
        yield from post_processing(golden, model, found)


def published(golden: Golden, folder: Path) -> TR3D:
    """The detector with a checkpoint as mmdetection3d writes it, and TR3D's assigner and loss."""
    rows = shapes_in(shared(f"notes/tr3d_state_dict_{golden.dataset}.txt"))
    shapes = {_renamed(name): shape for name, shape in rows.items()}
    untrained = sr3d.load("tr3d", dataset=golden.dataset, untrained=True)
    assert shapes == shapes_of(untrained.state_dict())
    content = {"state_dict": rebuilt(shapes, SCALES)}
    model = through_file(TR3D, "tr3d", golden, folder / "tr3d.pth", content)
    model.assigner = build_assigner(AssignerConfig(name="tr3d"), model.dataset)
    model.loss_config = LossConfig(cls="focal")
    return model


def _renamed(name: str) -> str:
    for theirs, ours in HEAD.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


@cache
def golden_model() -> TR3D:
    """The network of the files, for tests of other parts. Do not change it."""
    model = sr3d.load("tr3d", dataset="scannet", untrained=True)
    assert isinstance(model, TR3D)
    model.load_state_dict(rebuilt(shapes_of(model.state_dict()), SCALES))
    return model


def raw_outputs(golden: Golden, model: TR3D) -> Iterator[Comparison]:
    for i, level in enumerate(model.raw_outputs(golden["points"])):
        yield golden.same(f"coords{i}", level.coords)
        yield golden.each_close(f"reg{i}", level.reg, 0, 1e-4)
        yield golden.each_close(f"cls{i}", level.cls, 0, 1e-4)


def training(golden: Golden, model: TR3D, found: Predictions) -> Iterator[Comparison]:
    boxes = Boxes.from_array(golden["gt_boxes"].astype(np.float32)).tensor
    truth = GroundTruth.collate([boxes], [torch.from_numpy(golden["gt_labels"])])
    assigned = model.assigner(found.anchors, found.boxes, found.logits, truth)
    rows = (assigned >= 0).nonzero()[:, 0]
    owner = assigned[rows]
    width = golden["pos_boxes"].shape[1]
    positives = {
        "pos_points": found.anchors.positions[rows],
        "pos_cls": truth.labels[owner],
        "pos_boxes": truth.boxes[owner, :width],
    }
    # Of one anchor and one ground truth each, in an order of our own.
    ours = sorted_rows(np.column_stack([values.numpy() for values in positives.values()]))
    theirs = sorted_rows(np.column_stack([golden[key] for key in positives]))
    ends = np.cumsum([3, 1, width])[:-1]
    columns = zip(np.hsplit(ours, ends), np.hsplit(theirs, ends), strict=True)
    for key, (found_rows, expected) in zip(positives, columns, strict=True):
        yield Comparison(key, found_rows, expected, 0, 0 if key == "pos_cls" else 1e-5)
    losses = model.loss(found, truth).terms
    yield golden.each_close("loss_bbox", losses["box"], 1e-4)
    yield golden.each_close("loss_cls", losses["cls"], 1e-4)


def post_processing(golden: Golden, model: TR3D, found: Predictions) -> Iterator[Comparison]:
    """Of sharper logits: the rebuilt weights are sure of no class."""
    sharp = replace(found, logits=6 * found.logits - 2)
    yield from detections(golden, model.select(sharp), scores=1e-4, boxes=1e-4)
