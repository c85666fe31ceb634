"""VoteNet's golden files: facebookresearch/votenet at 2f6d6d36."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sr3d
from sr3d.data.datasets import DATASETS
from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.pointnet2 import PointSet
from sr3d.detectors.common.proposals import pick, points_inside, select_proposals
from sr3d.detectors.common.votes import vote_targets
from sr3d.detectors.votenet.detector import VoteNet, VotePredictions, proposals_of
from sr3d.detectors.votenet.loss import MAX_BOXES, assign
from sr3d.geometry.boxes import corners
from tests.detectors.golden.comparing import Comparison, Golden
from tests.detectors.golden.weights import rebuilt, shapes_in, shapes_of, through_file

SCALES = {"vgen.conv3.weight": 0.004, "pnet.conv3.weight": 0.125}
INPUTS = {
    "points": "input of the network, with the height of each point",
    "choices": "rows of the scan that are the points",
    "instance_label": "input: the object of each point",
    "nyu40_label": "input: the class of each point",
    "gt_boxes": "input of the loss",
}
NYU40 = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)  # ScanNet's classes
# The original's names of the terms of `VoteNet.loss`.
TERMS = {
    "vote": "vote_loss",
    "objectness": "objectness_loss",
    "center": "center_loss",
    "heading_class": "heading_cls_loss",
    "heading_offset": "heading_reg_loss",
    "size_class": "size_cls_loss",
    "size_offset": "size_reg_loss",
    "label": "sem_cls_loss",
}


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    yield from compared(golden, partial(published, golden, folder, "votenet", SCALES))


def compared(
    golden: Golden, load: Callable[[], VoteNet], absolute: float = 1e-5
) -> Iterator[Comparison]:
    """What VoteNet's files and those of its extensions hold.

    absolute: by how much a gradient's norm may differ, beside its relative tolerance.
    """
    model = load()
    yield from labels(golden)
    yield from evaluation(golden, model)
    yield from training(golden, model, "train", absolute)
    yield from training(golden, load().train(), "trainbn", absolute)


def published(golden: Golden, folder: Path, family: str, scales: Mapping[str, float]) -> VoteNet:
    """The detector with a checkpoint as the original's train.py writes it."""
    suffix = "_sunrgbd" if golden.dataset == "sunrgbd" else ""
    model = sr3d.load(family, dataset=golden.dataset, untrained=True)
    shapes = shapes_in(golden.keys(f"{family}{suffix}"))
    assert shapes == shapes_of(model.state_dict())
    content = {"epoch": 180, "model_state_dict": rebuilt(shapes, scales)}
    return through_file(VoteNet, family, golden, folder / "checkpoint.tar", content)


def batch_of(golden: Golden) -> PointBatch:
    """The points of the file, with their objects."""
    scannet = "nyu40_label" in golden
    return points_of(golden, np.isin(golden["nyu40_label"], NYU40) if scannet else None)


def points_of(golden: Golden, on_class: np.ndarray | None) -> PointBatch:
    """The points of the file, with their objects as indices of an arbitrary order.

    on_class: (N,) bool, whether a point's class is one of the data set's. An object has the class
    of its first point. None if the file has no objects.
    """
    points = torch.from_numpy(golden["points"])[None]
    instance = None
    if on_class is not None:
        ids, first = np.unique(golden["instance_label"], return_index=True)
        objects = ids[on_class[first]]
        owner = np.searchsorted(objects, golden["instance_label"]).clip(max=len(objects) - 1)
        known = objects[owner] == golden["instance_label"]
        instance = torch.from_numpy(np.where(known, owner, -1))[None]
    return PointBatch(points[..., :3], points[..., 3:].transpose(1, 2), instance)


def truth_of(golden: Golden) -> GroundTruth:
    """The boxes in our convention: full sizes and counter-clockwise yaw."""
    boxes = torch.from_numpy(golden["gt_boxes"]).float()
    if golden.dataset == "scannet":
        labels = [NYU40.index(int(label)) for label in golden["gt_boxes"][:, 6]]
        rows = torch.cat([boxes[:, :6], torch.zeros(len(boxes), 1)], dim=1)
    else:
        labels = [int(label) for label in golden["gt_boxes"][:, 7]]
        rows = torch.cat([boxes[:, :3], 2 * boxes[:, 3:6], -boxes[:, 6:7]], dim=1)
    return GroundTruth.collate([rows], [torch.tensor(labels, dtype=torch.int64)])


def labels(golden: Golden) -> Iterator[Comparison]:
    """What the original's data set class makes of the boxes."""
    truth = truth_of(golden)
    yield golden.close("gt_center_label", truth.boxes[:, :3])
    yield golden.same("gt_sem_cls_label", truth.labels)
    if golden.dataset != "sunrgbd":
        return
    bins = HeadingBins(12)
    heading, offset = bins.encode(-truth.boxes[:, 6])
    mean = torch.tensor(DATASETS["sunrgbd"].mean_sizes)[truth.labels]
    yield golden.same("heading_class_label", heading)
    yield golden.close("heading_residual_label", offset * bins.width / 2)
    yield golden.same("size_class_label", truth.labels)
    yield golden.close("size_residual_label", truth.boxes[:, 3:6] - mean)
    batch = batch_of(golden)
    every = torch.arange(batch.points.shape[1])[None]
    targets = vote_targets(batch, PaddedTruth.of(truth, 1, MAX_BOXES), every, "box")
    yield golden.same("vote_label_mask", targets.masks[0])
    offsets = targets.centres - batch.points[:, :, None]
    offsets = offsets * targets.masks[..., None, None]
    yield golden.close("vote_label", offsets[0].flatten(1))


@torch.no_grad()
def evaluation(golden: Golden, model: VoteNet) -> Iterator[Comparison]:
    """The network as eval.py runs it, and its post-processing."""
    levels: dict[str, PointSet] = {}
    hooks = [
        model.get_submodule(f"backbone_net.{name}").register_forward_hook(
            lambda _, __, found, name=name: levels.update({name: found})
        )
        for name in ("sa1", "sa2", "sa4")
    ]
    found = model.eval()(batch_of(golden))
    for hook in hooks:
        hook.remove()
    yield golden.same("test_sa1_inds", levels["sa1"].index[0])
    yield golden.same("test_sa2_inds", levels["sa2"].index[0])
    yield golden.same("test_seed_inds", found.seeds.index[0])
    yield golden.same("test_aggregated_vote_inds", found.clusters.index[0])
    yield golden.same("seed_xyz", found.seeds.points[0])
    for key, features in (
        ("sa1_features_first64", levels["sa1"].features),
        ("sa4_features_first32", levels["sa4"].features),
        ("seed_features_first128", found.seeds.features),
        ("vote_features_first128", found.votes.features),
    ):
        yield golden.close(key, features[0, :, : golden[key].shape[1]])
    yield golden.close("vote_xyz", found.votes.points[0])
    yield golden.close("test_aggregated_vote_xyz", found.clusters.points[0])
    yield golden.close("test_head_raw", found.raw[0].t())
    outputs = found.outputs
    yield golden.close("test_center", outputs.centres[0])
    yield golden.close("test_heading_scores", outputs.headings[0])
    half_bin = model.bins.width / 2
    yield golden.close("test_heading_residuals", outputs.heading_offsets[0] * half_bin)
    yield golden.close("test_size_scores", outputs.sizes[0])
    yield golden.close("test_objectness_scores", outputs.objectness[0])
    yield golden.close("test_sem_cls_scores", outputs.classes[0])
    turned = torch.tensor([1.0] * 6 + [-1.0])
    yield golden.close("test_decoded_boxes", found.boxes[0] * turned)
    yield from post_processing(golden, model, found)


def post_processing(golden: Golden, model: VoteNet, found: VotePredictions) -> Iterator[Comparison]:
    (proposals,) = proposals_of(found)
    points = found.batch.points[0]
    yield golden.close("test_obj_prob", proposals.objectness)
    yield golden.close("test_sem_prob", proposals.classes)
    # A face that a point lies on is rounded to float32.
    counts = points_inside(proposals.boxes, points)
    yield golden.each_close("test_points_in_box", counts, 0, 1)
    picked = pick(proposals, points, model.inference)
    yield golden.same("test_nms_pick", picked)
    ascending = picked.sort().values
    yield golden.close("test_corners_camera_kept", camera_corners(found.boxes[0, ascending]))
    detections = select_proposals(proposals, points, model.inference)
    # Which proposal each detection is: the one with its box. Then in the original's order.
    same = (detections.boxes[:, None] == proposals.boxes[ascending]).all(dim=-1)
    assert same.sum(dim=1).eq(1).all()
    proposal = ascending[same.int().argmax(dim=1)]
    order = np.lexsort((proposal.numpy(), detections.labels.numpy()))
    yield golden.same("det_class", detections.labels[order])
    yield golden.same("det_proposal", proposal[order])
    yield golden.each_close("det_score", detections.scores[order], 2e-5)
    (whole,) = model.detections(found)
    assert all(torch.equal(a, b) for a, b in zip(whole, detections, strict=True))


def camera_corners(boxes: Tensor) -> Tensor:
    """(K, 8, 3) corners in the original's order, on its camera's axes (x, -z, y)."""
    own = corners(boxes)  # bits of the index are x, y, z
    # The original begins at +x +y below, turns clockwise, then does the same above.
    order = [0b011, 0b001, 0b000, 0b010, 0b111, 0b101, 0b100, 0b110]
    x, y, z = own[:, order].unbind(dim=-1)
    return torch.stack([x, -z, y], dim=-1)


def training(golden: Golden, model: VoteNet, block: str, absolute: float) -> Iterator[Comparison]:
    """Losses, assignment and gradients. block: "train" has the norms in evaluation mode."""
    if block == "train":
        model.eval()
        model.inference = replace(model.inference, clusters=model.config.clusters)
    batch, truth = batch_of(golden), truth_of(golden)
    found = model(batch)
    losses = model.loss(found, truth)
    losses.total.backward()
    padded = PaddedTruth.of(truth, 1, MAX_BOXES)
    assigned = assign(found.clusters.points, padded, model.loss_config)
    unweighted = {
        key: losses.terms[name].detach() / getattr(model.loss_config, name)
        for name, key in TERMS.items()
    }
    unweighted["box_loss"] = (
        unweighted["center_loss"]
        + 0.1 * unweighted["heading_cls_loss"]
        + unweighted["heading_reg_loss"]
        + 0.1 * unweighted["size_cls_loss"]
        + unweighted["size_reg_loss"]
    )
    positive, used = assigned.positive[0], assigned.used[0]
    hits = (found.outputs.objectness[0].argmax(dim=1) == positive) & used
    tolerance = 2e-6 if block == "train" else 2e-5
    scalars: dict[str, Any] = {
        **unweighted,
        "loss": losses.total,
        "pos_ratio": positive.float().mean(),
        "neg_ratio": (used & ~positive).float().mean(),
        "obj_acc": hits.sum() / (used.sum() + 1e-6),
    }
    for key, value in scalars.items():
        yield golden.each_close(f"{block}_{key}", value, tolerance, 5e-7)
    gradients = {name: p.grad for name, p in model.named_parameters()}
    norms = [gradients[name] for name in golden["param_names"]]
    assert all(gradient is not None for gradient in norms)
    yield golden.each_close(
        f"{block}_grad_norm", [float(g.norm()) for g in norms if g is not None], 1e-3, absolute
    )
    if block == "trainbn":
        norm = model.get_submodule("backbone_net.sa1.mlp_module.layer0.bn.bn")
        yield golden.close("trainbn_running_mean_sa1_layer0", norm.running_mean)
        yield golden.close("trainbn_running_var_sa1_layer0", norm.running_var)
        return
    names = np.array([name for name, _ in model.named_parameters()])
    yield Comparison("param_names", names == golden["param_names"], np.ones(len(names)), 0, 0)
    yield golden.same("train_aggregated_vote_inds", found.clusters.index[0])
    yield golden.same("train_object_assignment", assigned.owner[0])
    yield golden.same("train_objectness_label", positive)
    yield golden.same("train_objectness_mask", used)
    yield golden.close("train_center", found.outputs.centres[0])
    targets = vote_targets(batch, padded, found.seeds.index, model.loss_config.vote_centre)
    yield golden.same("train_seed_vote_mask", targets.masks[0])
    offsets = (targets.centres - found.seeds.points[:, :, None]) * targets.masks[..., None, None]
    yield golden.close("train_seed_vote_label", offsets[0].flatten(1))
