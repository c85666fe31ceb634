"""RBGNet's golden files: Haiyang-W/RBGNet at f0a40d1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sr3d
from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.proposals import pick, select_proposals
from sr3d.detectors.common.votes import vote_targets
from sr3d.detectors.rbgnet.backbone import score_of
from sr3d.detectors.rbgnet.detector import RBGNet, RBGNetPredictions, proposals_of, selection_rules
from sr3d.detectors.rbgnet.loss import assign
from sr3d.detectors.rbgnet.names import CHECKPOINTS, own_name
from sr3d.detectors.rbgnet.network import RAY
from sr3d.detectors.rbgnet.ray_targets import Objects, ray_targets
from tests.detectors.golden.comparing import Comparison, Golden
from tests.detectors.golden.scans import alignment, stored_scan
from tests.detectors.golden.weights import rebuilt, shapes_in, shapes_of, through_file

SCALES = {
    "point_head.vote_module.conv_out.weight": 0.02,
    "point_head.conv_cls.weight": 0.05,
    "point_head.conv_reg.weight": 0.05,
    "point_head.scale_prediction.mlp.conv_scale.weight": 0.05,
}
INPUTS = {
    "sample_idx": "rows of the scan that are the points",
    "gt_boxes": "input of the loss",
    "gt_labels": "input of the loss",
    "instance_mask_sampled": "input: the object of each point",
    "semantic_mask_sampled": "input: the class of each point",
}
# The original's names of the terms of `RBGNet.loss`, which hold their weights.
TERMS = {
    "vote": "vote_loss",
    "objectness": "objectness_loss",
    "center": "center_loss",
    "scale": "scale_res_loss",
    "size": "size_res_loss",
    "heading_class": "dir_class_loss",
    "heading_offset": "dir_res_loss",
    "label": "semantic_loss",
    "iou": "iou_loss",
    "coarse": "coarse_intersec_loss",
    "fine": "fine_intersec_loss",
    "foreground1": "sample_loss_0",
    "foreground2": "sample_loss_1",
    "foreground3": "sample_loss_2",
}
CLOCKWISE = torch.tensor([1.0] * 6 + [-1.0])  # the original's yaw
FEW = 16  # clusters whose scores on rays are in the files


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    model = published(golden, folder)
    with torch.no_grad():
        found = model.eval()(batch_of(golden))
        yield from network(golden, found, "test")
        yield from post_processing(golden, model, found)
    yield from training(golden, model, "loss")
    yield from training(golden, published(golden, folder).train(), "lossbn")


def published(golden: Golden, folder: Path) -> RBGNet:
    """The detector with a checkpoint as OpenPCDet writes it."""
    suffix = "_sunrgbd" if golden.dataset == "sunrgbd" else ""
    model = sr3d.load("rbgnet", dataset=golden.dataset, untrained=True)
    constants = CHECKPOINTS.published["original"].convert(model.state_dict())
    shapes = shapes_in(golden.keys(f"rbgnet{suffix}"))
    assert shapes == shapes_of(constants)
    fixed = {name: constants[name] for name in shapes if own_name(name) is None}
    content = {"epoch": 64, "model_state": rebuilt(shapes, SCALES) | fixed}
    return through_file(RBGNet, "rbgnet", golden, folder / "checkpoint.pth", content)


def batch_of(golden: Golden) -> PointBatch:
    """The points of the file in the scan, with their objects."""
    scan = stored_scan(golden)
    points = scan[:, :3]
    if golden.dataset == "scannet":
        matrix = alignment(golden).astype(np.float32)
        points = points @ matrix[:3, :3].T + matrix[:3, 3]
    chosen = golden["sample_idx"]
    instance = None
    if "instance_mask_sampled" in golden:
        mask = golden["instance_mask_sampled"].astype(np.int64)
        known = (mask >= 1) & (mask <= len(golden["gt_boxes"]))
        instance = torch.from_numpy(np.where(known, mask - 1, -1))[None]
    colors = torch.from_numpy(scan[chosen, 3:] / np.float32(255))
    return PointBatch(torch.from_numpy(points[chosen])[None], colors.t()[None], instance)


def truth_of(golden: Golden) -> GroundTruth:
    boxes = torch.from_numpy(golden["gt_boxes"]) * CLOCKWISE
    return GroundTruth.collate([boxes], [torch.from_numpy(golden["gt_labels"]).long()])


def network(golden: Golden, found: RBGNetPredictions, block: str) -> Iterator[Comparison]:
    """block: "test", or "train" with the norms in evaluation mode."""
    seeds, outputs, grouped = found.seeds, found.outputs, found.grouped
    for number, level in enumerate(seeds.levels, 1):
        yield golden.same(f"{block}_sa{number}_indices", level.index[0])
    for number, logits in enumerate(seeds.logits, 2):
        yield golden.close(f"{block}_sa{number}_fg_logits", logits[0])
        best = round(0.875 * golden[f"{block}_sa{number}_indices"].size)
        ranked = score_of(logits)[0].sort(descending=True).values
        # A difference of two numbers near one.
        gap = ranked[best - 1] - ranked[best]
        yield golden.each_close(f"{block}_sa{number}_topk_gap", gap, 0, 1e-6)
    for key, features in (
        ("sa4_features_c0_32", seeds.levels[-1].features),
        ("seed_features_c0_32", seeds.features),
        ("vote_features_c0_16", found.votes.features),
        ("aggregated_features", found.clusters.features),
    ):
        key = f"{block}_{key}"
        yield golden.close(key, features[0, : golden[key].shape[0]])
    yield golden.same(f"{block}_seed_points", seeds.points[0])
    yield golden.close(f"{block}_vote_points", found.votes.points[0])
    yield golden.close(f"{block}_aggregated_points", found.clusters.points[0])
    yield golden.close(f"{block}_scale_pred", outputs.scale[0])
    for name, branch in (("coarse", grouped.coarse), ("fine", grouped.fine)):
        scores = branch.scores[0].unflatten(1, (branch.mask.shape[1], -1))
        yield golden.close(f"{block}_{name}_score_p0_16", scores[:, :FEW])
        if name == "coarse":
            margin = (scores[1] - scores[0]).abs().min()
            yield golden.each_close(f"{block}_coarse_margin", margin, 0, 1e-5)
        packed = np.packbits(branch.mask[0].flatten(1).numpy())
        yield golden.same(f"{block}_{name}_mask", packed)
    for key, value in (
        ("fused_feats", found.fused),
        ("center", outputs.centres),
        ("dir_class", outputs.headings),
        ("dir_res_norm", outputs.heading_offsets),
        ("obj_scores", outputs.objectness),
        ("sem_scores", outputs.classes),
        ("size_res_norm", outputs.log_sizes),
    ):
        yield golden.close(f"{block}_{key}", value[0])


def post_processing(
    golden: Golden, model: RBGNet, found: RBGNetPredictions
) -> Iterator[Comparison]:
    """The original lists the boxes in their own order, each with its scores of all classes."""
    yield golden.close("test_decoded_boxes", found.boxes[0] * CLOCKWISE)
    (proposals,) = proposals_of(found)
    points = found.batch.points[0]
    given = proposals, points, selection_rules(proposals, points, model.inference)
    detections, picked = select_proposals(*given), pick(*given)
    kept = picked[proposals.objectness[picked] > model.inference.score_thr].sort().values
    boxes = proposals.boxes[kept]
    yield golden.close("det_boxes", boxes * CLOCKWISE)
    same = (detections.boxes[:, None] == boxes).all(dim=-1)
    assert same.sum(dim=1).eq(1).all()
    scores = torch.zeros(proposals.classes.shape[1], len(kept))
    scores[detections.labels, same.int().argmax(dim=1)] = detections.scores
    yield golden.each_close("det_scores", scores, 2e-5)
    yield golden.same("det_labels_rows", detections.labels.unique())


def training(golden: Golden, model: RBGNet, block: str) -> Iterator[Comparison]:
    """Losses, targets and gradients. block: "loss" has the norms in evaluation mode."""
    if block == "loss":
        model.eval()
        model.inference = replace(model.inference, clusters=model.config.clusters)
    found = model(batch_of(golden))
    losses = model.loss(found, truth_of(golden))
    losses.total.backward()
    tolerance = 2e-6 if block == "loss" else 2e-5
    values: dict[str, Any] = {TERMS[name]: value for name, value in losses.terms.items()}
    values |= {"loss_all": losses.total, "total": losses.total}
    for key, value in values.items():
        yield golden.each_close(f"{block}_{key}", value, tolerance, 5e-7)
    if block == "lossbn":
        return
    gradients = {name: p.grad for name, p in model.named_parameters()}
    names = {str(own_name(name)) for name in golden["grad_names"]}
    yield Comparison("grad_names", np.array(names == {*gradients}), np.array(True), 0, 0)
    norms = [gradients[str(own_name(name))] for name in golden["grad_names"]]
    found_norms = [0.0 if g is None else float(g.norm()) for g in norms]
    yield golden.each_close("grad_norms", found_norms, 1e-3, 1e-5)
    with torch.no_grad():
        yield from network(golden, found, "train")
        yield from targets_of(golden, model, found)


def targets_of(golden: Golden, model: RBGNet, found: RBGNetPredictions) -> Iterator[Comparison]:
    config, batch, clusters = model.loss_config, found.batch, found.clusters.points
    truth = PaddedTruth.of(truth_of(golden), 1, least=1)
    targets = assign(clusters, truth, model.bins, config.near)
    yield golden.same("tgt_dir_class_targets", targets.heading_bin[0])
    yield golden.close("tgt_dir_res_targets", targets.heading_offset[0])
    yield golden.same("tgt_mask_targets", targets.label[0])
    yield golden.same("tgt_objectness_targets", targets.positive[0])
    yield golden.close("tgt_assigned_center_targets", targets.boxes[0, :, :3])
    yield golden.close("tgt_size_targets", targets.boxes[0, :, 3:6])
    yield golden.close("tgt_scale_targets", targets.scale[0, :, None])
    votes = vote_targets(batch, truth, found.seeds.index, config.vote_centre)
    yield golden.same("tgt_seed_vote_mask", votes.masks[0])
    offsets = (votes.centres - found.seeds.points[:, :, None]) * votes.masks[..., None, None]
    yield golden.close("tgt_seed_votes", offsets[0].flatten(1))
    objects = Objects.of(batch, truth, found.seeds.levels[0].index, config.all_objects)
    length, rays = found.outputs.scale * RAY, model.rays
    for name, branch, anchors in (
        ("coarse", rays.coarse, rays.coarse_anchors(clusters, length)),
        ("fine", rays.fine, rays.fine_anchors(clusters, length, found.grouped.coarse.hits)),
    ):
        where, scene = anchors[0].flatten(1, 2), torch.zeros_like(targets.owner[0])
        wanted = ray_targets(where, scene, targets.owner[0], objects, branch.radius)
        yield golden.same(f"tgt_{name}_query", wanted.own)
        used = targets.positive[0, :, None] & wanted.near
        yield golden.same(f"tgt_{name}_valid", used)
