"""BRNet's golden files: cheng052/BRNet at 1ed857a."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sr3d
from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.brnet.detector import BRNet, BRNetPredictions, proposals_of
from sr3d.detectors.brnet.loss import FaceTargets, assign, heading_refinement
from sr3d.detectors.brnet.names import CHECKPOINTS, own_name
from sr3d.detectors.brnet.network import traced
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.proposals import pick, points_inside, select_proposals
from sr3d.detectors.common.votes import EPSILON, vote_targets
from tests.detectors.golden import votenet
from tests.detectors.golden.comparing import Comparison, Golden
from tests.detectors.golden.weights import rebuilt, shapes_in, shapes_of, through_file

SCALES = {
    "rpn_head.vote_module.conv_out.weight": 0.004,
    "rpn_head.conv_pred.conv_reg.weight": 0.25,
    "roi_head.bbox_head.conv_pred.conv_reg.weight": 0.05,
}
INPUTS = {
    "points": "input of the network, with the height of each point",
    "choices": "rows of the scan that are the points",
    "instance_label": "input: the object of each point",
    "semantic_class": "input: the class of each point",
    "gt_boxes_gravity": "input of the loss",
    "gt_labels": "input of the loss",
    "dirloss_pred": "input of the table of the heading's loss",
    "dirloss_gt": "input of the table of the heading's loss",
    "train_centerness_targets": "the original computes and does not use them",
}
# The original's names of the terms of `BRNet.loss`, which hold their weights.
TERMS = {
    "vote": "vote_loss",
    "objectness": "objectness_loss",
    "heading_class": "dir_class_loss",
    "heading_offset": "dir_res_loss",
    "size": "size_res_loss",
    "size_refined": "size_refine_loss",
    "heading_refined": "dir_refine_loss",
    "label": "semantic_loss",
}


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    model = published(golden, folder)
    yield from first_stage(golden, model)
    yield from second_stage(golden, model)
    yield from training(golden, model, "train")
    yield from training(golden, published(golden, folder).train(), "trainbn")
    if "dirloss_out" in golden:
        pred, gt = (torch.from_numpy(golden[f"dirloss_{name}"]) for name in ("pred", "gt"))
        found = heading_refinement(pred, gt, HeadingBins(12), one_sided=True)
        yield golden.close("dirloss_out", found)


def published(golden: Golden, folder: Path) -> BRNet:
    """The detector with a checkpoint as mmcv writes it."""
    suffix = "_sunrgbd" if golden.dataset == "sunrgbd" else ""
    model = sr3d.load("brnet", dataset=golden.dataset, untrained=True)
    shapes = shapes_in(golden.keys(f"brnet{suffix}"))
    assert shapes == shapes_of(CHECKPOINTS.published["original"].convert(model.state_dict()))
    content = {"meta": {"epoch": 44}, "state_dict": rebuilt(shapes, SCALES)}
    return through_file(BRNet, "brnet", golden, folder / "checkpoint.pth", content)


def batch_of(golden: Golden) -> PointBatch:
    scannet = "semantic_class" in golden
    return votenet.points_of(golden, golden["semantic_class"] < 18 if scannet else None)


def truth_of(golden: Golden) -> GroundTruth:
    """The original's yaw is clockwise."""
    boxes = torch.from_numpy(golden["gt_boxes_gravity"]) * torch.tensor([1.0] * 6 + [-1.0])
    return GroundTruth.collate([boxes], [torch.from_numpy(golden["gt_labels"]).long()])


@torch.no_grad()
def first_stage(golden: Golden, model: BRNet) -> Iterator[Comparison]:
    found = model.eval()(batch_of(golden))
    outputs = found.outputs
    yield golden.same("test_seed_indices", found.seeds.index[0])
    yield golden.same("test_aggregated_indices", found.clusters.index[0])
    yield golden.same("seed_points", found.seeds.points[0])
    yield golden.close("vote_points", found.votes.points[0])
    yield golden.close("aggregated_points", found.clusters.points[0])
    for key, features in (
        ("seed_features_first128", found.seeds.features),
        ("vote_features_first64", found.votes.features),
        ("aggregated_features_first32", found.clusters.features),
    ):
        yield golden.close(key, features[0, :, : golden[key].shape[1]])
    yield golden.close("rpn_cls_raw", outputs.objectness[0].t())
    _, raw = model.first(found.clusters.features)
    yield golden.close("rpn_reg_raw", raw[0].t())
    yield golden.close("rpn_distance", outputs.distances[0])
    front, back = outputs.distances[0].split(3, dim=-1)
    proposal = golden["rpn_proposal"]
    yield golden.close(
        "rpn_proposal", _proposal(front, back, outputs.heading[0], outputs, proposal)
    )
    yield golden.close("obj_prob", outputs.objectness[0].softmax(dim=-1)[:, 1])


def _proposal(
    front: Tensor, back: Tensor, heading: Tensor, outputs: Any, theirs: np.ndarray
) -> Tensor:
    """Centre, size and the angle in their turn."""
    middle = (front - back) / 2
    cos, sin = heading.cos(), heading.sin()
    x, y, z = middle.unbind(dim=-1)
    moved = torch.stack([x * cos + y * sin, -x * sin + y * cos, z], dim=-1)
    size = (front + back).clamp(min=0.1)
    turned = heading[:, None] % (2 * math.pi)
    return torch.cat([outputs.references[0] + moved, size, turned], dim=-1)


@torch.no_grad()
def second_stage(golden: Golden, model: BRNet) -> Iterator[Comparison]:
    batch = batch_of(golden)
    found = model.eval()(batch)
    outputs = found.outputs
    where = outputs.references, outputs.distances, outputs.heading
    pooled, points = model.tracing(found.seeds, *where)
    yield golden.close("rep_points", points[0])
    each = model.tracing.seed_aggregation.around(
        found.seeds.points,
        found.seeds.features,
        traced(*where, model.config.trace_density)[0][None].flatten(1, 2),
    )
    few = golden["rep_features_first8proposals"].shape[1]
    yield golden.close("rep_features_first8proposals", each[0].unflatten(1, (-1, 12))[:, :few])
    many = golden["pooled_features_first64"].shape[1]
    yield golden.close("pooled_features_first64", pooled[0, :, :many])
    cls, reg = model.second(torch.cat([found.clusters.features, pooled], dim=1))
    yield golden.close("rcnn_cls_raw", cls[0].t())
    yield golden.close("rcnn_reg_raw", reg[0].t())
    yield golden.close("sem_prob", outputs.classes[0].softmax(dim=-1))
    yield golden.close("refined_distance", outputs.refined_distances[0])
    angle, turn = outputs.refined_heading[0], 2 * math.pi
    rotated = golden.dataset == "sunrgbd"
    angle = angle % turn if rotated else torch.where(angle > math.pi, angle - turn, angle)
    yield golden.close("refined_angle", angle)
    theirs = found.boxes[0].clone()
    theirs[:, 6] = -theirs[:, 6] % turn if rotated else 0
    yield golden.close("decoded_boxes", theirs)
    yield from post_processing(golden, model, found)


def post_processing(golden: Golden, model: BRNet, found: BRNetPredictions) -> Iterator[Comparison]:
    (proposals,) = proposals_of(found)
    points = found.batch.points[0]
    # A point on a face is rounded to float32.
    yield golden.each_close("points_in_box", points_inside(proposals.boxes, points), 0, 1)
    picked = pick(proposals, points, model.inference)
    yield golden.same("nms_pick", picked)
    detections = select_proposals(proposals, points, model.inference)
    kept = picked.sort().values
    same = (detections.boxes[:, None] == proposals.boxes[kept]).all(dim=-1)
    assert same.sum(dim=1).eq(1).all()
    proposal = kept[same.int().argmax(dim=1)]
    order = np.lexsort((proposal.numpy(), detections.labels.numpy()))
    yield golden.same("det_labels", detections.labels[order])
    yield golden.same("det_proposal", proposal[order])
    yield golden.each_close("det_scores", detections.scores[order], 2e-5)
    once = detections.boxes[order][: len(golden["det_boxes_gravity_once"])].clone()
    once[:, 6] = -once[:, 6] % (2 * math.pi)
    yield golden.close("det_boxes_gravity_once", once)
    below = once.clone()
    below[:, 2] -= below[:, 5] / 2
    yield golden.close("det_boxes_bottom_once", below)


def training(golden: Golden, model: BRNet, block: str) -> Iterator[Comparison]:
    """Losses, targets and gradients. block: "train" has the norms in evaluation mode."""
    if block == "train":
        model.eval()
    batch, truth = batch_of(golden), truth_of(golden)
    found = model(batch)
    losses = model.loss(found, truth)
    losses.total.backward()
    padded = PaddedTruth.of(truth, 1, least=1)
    targets = assign(found.outputs.references, padded, model.bins, model.loss_config.near)
    tolerance = 2e-6 if block == "train" else 2e-5
    values: dict[str, Any] = {TERMS[name]: value for name, value in losses.terms.items()}
    values |= {"total": losses.total, "num_pos": targets.positive.sum()}
    for key, value in values.items():
        yield golden.each_close(f"{block}_{key}", value, tolerance, 5e-7)
    gradients = {name: p.grad for name, p in model.named_parameters()}
    norms = [gradients[str(own_name(name))] for name in golden["param_names"]]
    assert all(gradient is not None for gradient in norms)
    found_norms = [float(g.norm()) for g in norms if g is not None]
    yield golden.each_close(f"{block}_grad_norm", found_norms, 1e-3, 1e-5)
    if block == "trainbn":
        return
    named = {str(own_name(name)) for name in golden["param_names"]}
    yield Comparison("param_names", np.array(named == {*gradients}), np.array(True), 0, 0)
    yield from targets_of(golden, model, found, padded, targets)


def targets_of(
    golden: Golden, model: BRNet, found: BRNetPredictions, truth: PaddedTruth, targets: FaceTargets
) -> Iterator[Comparison]:
    positive, used = targets.positive[0], targets.used[0]
    yield golden.same("train_objectness_targets", positive)
    weights = used / (used.sum() + EPSILON)
    yield golden.each_close("train_objectness_weights", weights, 1e-6)
    yield golden.each_close("train_box_loss_weights", positive / (positive.sum() + EPSILON), 1e-6)
    yield golden.close("train_distance_targets", targets.distances[0])
    yield golden.same("train_dir_class_targets", targets.heading_bin[0])
    yield golden.close("train_dir_res_targets", targets.heading_offset[0])
    yield golden.close("train_dir_targets", targets.heading[0])
    yield golden.same("train_mask_targets", targets.label[0])
    votes = vote_targets(found.batch, truth, found.seeds.index, model.loss_config.vote_centre)
    yield golden.same("train_seed_vote_mask", votes.masks[0])
    offsets = votes.centres - found.seeds.points[:, :, None]
    offsets = offsets * votes.masks[..., None, None]
    yield golden.close("train_seed_vote_target", offsets[0].flatten(1))
