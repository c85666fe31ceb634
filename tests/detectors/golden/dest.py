"""DEST's golden files: OpenSpaceAI/DEST3D at 9512afa3, with the losses of zeliu98/Group-Free-3D.

Their scan ran in double precision. With these weights a scan in single precision changes queries of
the last layer by up to 2e-4 and their centres by 2.5e-5, so tolerances grow from layer to layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sr3d
from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scannet_files import align
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.pointnet2 import rows
from sr3d.detectors.common.proposals import pick
from sr3d.detectors.dest.detector import DEST
from sr3d.detectors.dest.serialisation import scan_order
from sr3d.detectors.dest.spatial import vertex_features
from sr3d.detectors.groupfree.assignment import assign
from sr3d.detectors.groupfree.config import Stages
from sr3d.detectors.groupfree.detector import ensemble, published_outputs
from sr3d.detectors.groupfree.names import DDP, with_second_names
from sr3d.detectors.groupfree.network import GroupFreePredictions
from tests.detectors.golden.comparing import Comparison, Golden
from tests.detectors.golden.groupfree import (
    MAX_BOXES,
    background_last,
    loss_values,
    signed_boxes,
    take_first_of_ties,
    without_dropout,
)
from tests.detectors.golden.scans import alignment, stored_scan
from tests.detectors.golden.votenet import camera_corners
from tests.detectors.golden.weights import draw, rebuilt, shapes_in, shapes_of, through_file

HEADS = (
    "objectness_scores", "center_residual", "heading_class", "heading_residual", "size_class",
    "size_residual", "sem_cls_scores",
)  # fmt: skip
SCALES = {
    **{f"*.{head}_head.weight": 0.02 for head in HEADS},
    "*.cpb_mlps.2.weight": 0.02,
    "*.dt_proj.weight": 0.1,
    "*.bc_proj.weight": 0.1,
    "*.A_log": 0.5,
}
TABLE = ".relative_coords_table"
BACKWARD = ".key_conv_back."
INPUTS = {
    "choices": "rows of the scan that are the points",
    "gt_box": "input of the loss",
    "gt_label": "input of the loss",
    "point_instance_label": "input of the loss: the original's objects of the points",
}
SETS: dict[Stages, str] = {"last": "last", "all": "all_layers"}


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    model = published(golden, folder)
    yield from evaluation(golden, model)
    yield from training(golden, model)
    yield from one_direction(golden, folder)


def published(golden: Golden, folder: Path, dropped: str | None = None) -> DEST:
    """The detector with a checkpoint as Group-Free-3D's train_dist.py would write it.

    dropped: of weights with this in their names.
    """
    shapes = shapes_in(golden.keys("dest"))
    untrained = with_second_names(
        sr3d.load("dest", dataset=golden.dataset, untrained=True).state_dict()
    )
    assert shapes == shapes_of(untrained)
    weights = rebuilt(shapes, SCALES | _scales(shapes))  # the first counts
    for name, shape in shapes.items():
        if name.endswith(TABLE):
            weights[name] = untrained[name]
        if name.endswith(".dt_bias"):
            weights[name] = torch.from_numpy(draw(name, shape) - np.float32(4))
        if name.endswith("ISSM_scan.D"):
            weights[name] = torch.from_numpy(1 + np.float32(0.1) * draw(name, shape))
    kept = {n: v for n, v in weights.items() if dropped is None or dropped not in n}
    content = {"model": {DDP + name: value for name, value in kept.items()}, "epoch": 400}
    model = through_file(DEST, "dest", golden, folder / "ckpt_epoch_last.pth", content)
    take_first_of_ties(model)
    model.assigner = replace(model.assigner, instances="own")
    return model


def _scales(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, float]:
    """Matrices of the decoder are smaller than others, so that rounding does not grow."""
    return {
        name: float(np.sqrt(1 / np.prod(shape[1:])))
        for name, shape in shapes.items()
        if name.startswith("decoder") and name.endswith("weight") and len(shape) >= 2
    }


def batch_of(golden: Golden) -> PointBatch:
    """The chosen points of the scan, aligned, with their objects."""
    points = align(stored_scan(golden)[:, :3], alignment(golden))[golden["choices"]]
    instance = torch.from_numpy(golden["point_instance_label"]).long()
    return PointBatch(torch.from_numpy(points)[None], instance=instance[None])


def truth_of(golden: Golden) -> GroundTruth:
    boxes = torch.from_numpy(golden["gt_box"])
    upright = torch.cat([boxes, torch.zeros(len(boxes), 1)], dim=1)
    return GroundTruth.collate([upright], [torch.from_numpy(golden["gt_label"])])


@torch.no_grad()
def evaluation(golden: Golden, model: DEST) -> Iterator[Comparison]:
    layers: list[tuple[Tensor, Tensor]] = []
    scanned: list[tuple[Tensor, Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, found: layers.append(found))
        for layer in model.decoder
    ]
    scan = model.get_submodule("decoder.0.ISSM_scan")
    hooks.append(scan.register_forward_hook(lambda _, __, found: scanned.append(found)))
    found = model.eval()(batch_of(golden))
    for hook in hooks:
        hook.remove()
    yield golden.same("seed_inds", found.seeds.index[0])
    features = golden["seed_features_f64"]
    yield golden.close("seed_features_f64", found.seeds.features[0, :, : features.shape[1]])
    yield golden.close("seeds_obj_cls_logits", found.seed_logits)
    yield golden.same("query_sample_inds", found.queries[0])
    yield from geometry(golden, model, found)
    ((key, query),) = scanned
    yield golden.close("issm_key_0", key[0, : len(golden["issm_key_0"])])
    yield golden.close("issm_query_0", query[0, : len(golden["issm_query_0"])])
    for i, (query, key) in enumerate(layers):
        for name, value in ((f"query_{i}", query), (f"key_seri_{i}", key)):
            yield golden.close(name, value[0, :, : golden[name].shape[1]], 5e-5)
    yield from outputs(golden, found)
    last = found.stages["last"]
    boxes = signed_boxes(last, model)
    yield golden.close("last_box_corners_cam", camera_corners(boxes), 2e-5)
    yield golden.close("last_obj_prob", last.objectness[0].sigmoid(), 2e-5)
    yield golden.same("last_sem_cls_argmax", last.classes[0].argmax(dim=1))
    yield from losses(golden, model, found, "eval")
    for which, prefix in SETS.items():
        yield from post_processing(golden, model, found, which, prefix)


def geometry(golden: Golden, model: DEST, found: GroupFreePredictions) -> Iterator[Comparison]:
    """The orders of the scans, and where seeds lie to the boxes of the first layer's queries."""
    seeds, places = found.seeds.points, found.stages["proposal"].places()
    orders = [scan_order(seeds, layer)[0] for layer in range(len(golden["order_all"]))]
    yield golden.same("order_all", torch.stack(orders))
    yield golden.same("order_0", orders[0])
    yield golden.close("query_pos_0", places[0], 2e-5)
    points, queries, _ = golden["dist_0"].shape
    in_order = rows(seeds, orders[0][None])
    table = model.get_submodule("decoder.0.spatial_dist")()
    seen = vertex_features(table, in_order[:, :points], places[:, :queries])
    yield golden.close("dist_0", seen[0].transpose(1, 2), 2e-5)


def outputs(golden: Golden, found: GroupFreePredictions) -> Iterator[Comparison]:
    """The raw outputs of each stage that are in the file."""
    for name, stage in found.stages.items():
        for output, value in published_outputs(stage).items():
            if (key := f"{name}_{output}") in golden:
                yield golden.close(key, value[0], 5e-5)


def post_processing(
    golden: Golden, model: DEST, found: GroupFreePredictions, which: Stages, prefix: str
) -> Iterator[Comparison]:
    model.inference = replace(model.inference, stages=which)
    (proposals,) = model.proposals(found)
    select = partial(pick, proposals, found.batch.points[0])
    kept = select(model.inference).sort().values
    scores = proposals.classes * proposals.objectness[:, None]
    boxes = torch.cat([signed_boxes(stage, model) for stage in ensemble(found.stages, which)])
    yield golden.same(f"{prefix}_nms_keep", kept)
    yield golden.close(f"{prefix}_det_score", scores[kept].t(), 2e-5)
    yield golden.close(f"{prefix}_det_corners_cam", camera_corners(boxes[kept]), 2e-5)
    if (key := f"{prefix}_nms_keep_noempty") in golden:
        yield golden.same(key, select(replace(model.inference, min_points=0)).sort().values)
    (whole,) = model.detections(found)
    assert len(whole.labels) == scores[kept].numel()  # one detection of every kept box and class


def losses(
    golden: Golden, model: DEST, found: GroupFreePredictions, block: str
) -> Iterator[Comparison]:
    truth, seen = truth_of(golden), golden["point_instance_label"]
    if block == "eval":
        padded = PaddedTruth.of(truth, 1, MAX_BOXES)
        assigned = assign(found, padded, model.assigner, model.loss_config.size_target)
        yield golden.same("assign_objectness_label", assigned.positive[0])
        yield golden.same("assign_object", background_last(assigned.matches[0]))
    values: dict[str, Any] = loss_values(model, found, truth, seen)
    for key, value in values.items():
        yield golden.each_close(f"{block}loss_{key}", value, 2e-5, 1e-7)


@torch.no_grad()
def training(golden: Golden, model: DEST) -> Iterator[Comparison]:
    """Losses with statistics of the batch, without dropout."""
    without_dropout(model.train())
    found = model(batch_of(golden))
    yield golden.same("train_query_sample_inds", found.queries[0])
    last = published_outputs(found.stages["last"])
    for name in ("center", "sem_cls_scores"):
        yield golden.close(f"train_last_{name}", last[name][0], 5e-5)
    yield from losses(golden, model, found, "train")


@torch.no_grad()
def one_direction(golden: Golden, folder: Path) -> Iterator[Comparison]:
    """The same weights without a scan from the last seed to the first."""
    model = published(golden, folder, dropped=BACKWARD).eval()
    assert not model.config.bidirectional
    last = published_outputs(model(batch_of(golden)).stages["last"])
    for name in ("objectness_scores", "center", "pred_size", "sem_cls_scores"):
        yield golden.close(f"nobiscan_last_{name}", last[name][0], 5e-5)
