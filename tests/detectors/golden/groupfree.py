"""GroupFree's golden files: zeliu98/Group-Free-3D at ef8b7bb."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import sr3d
from sr3d.data.datasets import DATASETS
from sr3d.data.ground_truth import GroundTruth
from sr3d.data.readers.scannet import NYU40_IDS, read_annotated, read_label_map
from sr3d.data.scannet_files import align
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.pointnet2 import PointSet, SetAbstraction
from sr3d.detectors.common.proposals import pick, points_inside, select_proposals
from sr3d.detectors.dest.network import DropPath
from sr3d.detectors.groupfree.assignment import (
    assign,
    objects_by_box,
    objects_by_centre,
    to_learn,
)
from sr3d.detectors.groupfree.config import Stages
from sr3d.detectors.groupfree.detector import GroupFree, ensemble, published_outputs
from sr3d.detectors.groupfree.loss import unweighted_losses
from sr3d.detectors.groupfree.names import DDP, with_second_names
from sr3d.detectors.groupfree.network import GroupFreePredictions, Stage
from tests.detectors.golden.comparing import Comparison, Golden
from tests.detectors.golden.scans import alignment, stored_scan
from tests.detectors.golden.votenet import camera_corners
from tests.detectors.golden.weights import rebuilt, shapes_in, shapes_of, through_file
from tests.shared_data import SHARED, shared

SCALES = {
    **{
        f"*{head}_head.weight": 0.02
        for head in (
            "objectness_scores", "center_residual", "heading_class", "heading_residual",
            "size_class", "size_residual", "size_pred", "sem_cls_scores",
        )
    },
    "points_obj_cls.conv3.weight": 1.0,
}  # fmt: skip
CONSTANTS = {"points_obj_cls.conv3.bias": -29.0, "*size_pred_head.bias": 1.0}
INPUTS = {
    "choice": "rows of the scan that are the points",
    "N": "number of points of the scan",
    "instance_source": "where the objects of the points come from, in words",
    "gt_boxes": "input of the loss",
    "gt_obb": "input of the loss",
    "gt_point_instance_label": "input where the annotation of the scan is not at hand",
}
MAX_BOXES = 64  # ground truths of a scene, padded. The last stands for the background
ABSENT = 1000.0  # coordinates of padded centres
SETS: dict[Stages, str] = {"last": "last", "last_three": "last_three", "all": "all_layers"}
# The original's names of our terms.
TERMS = {
    "objectness": "objectness_loss",
    "center": "center_loss",
    "heading_class": "heading_cls_loss",
    "heading_offset": "heading_reg_loss",
    "size_class": "size_cls_loss",
    "size": "size_reg_loss",
    "label": "sem_cls_loss",
}


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    model = published(golden, folder)
    yield from labels(golden, model)
    yield from evaluation(golden, model)
    yield from training(golden, model)


def published(golden: Golden, folder: Path) -> GroupFree:
    """The detector with a checkpoint as the original's train_dist.py writes it.

    Its sampling takes the first of equally far points, as the files' maker did.
    """
    suffix = "_sunrgbd" if golden.dataset == "sunrgbd" else ""
    shapes = shapes_in(golden.keys(f"groupfree{suffix}"))
    untrained = sr3d.load("groupfree", dataset=golden.dataset, untrained=True)
    assert shapes == shapes_of(with_second_names(untrained.state_dict()))
    weights = rebuilt(shapes, SCALES, CONSTANTS)
    content = {"model": {DDP + name: value for name, value in weights.items()}, "epoch": 400}
    path = folder / "ckpt_epoch_last.pth"
    model = through_file(GroupFree, "groupfree", golden, path, content)
    take_first_of_ties(model)
    return model


def take_first_of_ties(model: nn.Module) -> None:
    """Of equally far points, as the files' maker did."""
    for module in model.modules():
        if isinstance(module, SetAbstraction):
            module.tie_threads = None


def points_of(golden: Golden) -> Tensor:
    """(N, 3) the chosen points of the scan, aligned."""
    points = stored_scan(golden)[:, :3]
    if golden.dataset == "scannet":
        points = align(points, alignment(golden))
    return torch.from_numpy(points[golden["choice"]])


def annotated(golden: Golden) -> Tensor | None:
    """(N,) the object of each chosen point from the annotation of the scan, if it is at hand."""
    folder = SHARED / "real/scannet/scans" / golden.scene
    if not folder.is_dir():
        return None
    label_map = read_label_map(shared("real/scannet/meta/scannetv2-labels.combined.tsv"))
    scene, _ = read_annotated(folder, label_map)
    assert scene.instance is not None
    return scene.instance[golden["choice"]]


def batch_of(golden: Golden, model: GroupFree) -> PointBatch:
    """The points of the file with their objects.

    Where the annotation is not at hand, an object is the ground truth that the file says.
    """
    points = points_of(golden)[None]
    if golden.dataset == "sunrgbd":
        return PointBatch(points)
    instance = annotated(golden)
    if instance is None:
        instance = torch.from_numpy(golden["gt_point_instance_label"]).long()
        model.assigner = replace(model.assigner, instances="own")
    return PointBatch(points, instance=instance[None])


def truth_of(golden: Golden) -> GroundTruth:
    """The boxes in our convention: full sizes and counter-clockwise yaw."""
    if golden.dataset == "sunrgbd":
        boxes = torch.from_numpy(golden["gt_obb"]).float()
        classes = [int(label) for label in golden["gt_obb"][:, 7]]
        rows = torch.cat([boxes[:, :3], 2 * boxes[:, 3:6], -boxes[:, 6:7]], dim=1)
    else:
        boxes = torch.from_numpy(golden["gt_boxes"]).float()
        classes = [NYU40_IDS.index(int(label)) for label in golden["gt_boxes"][:, 6]]
        rows = torch.cat([boxes[:, :6], torch.zeros(len(boxes), 1)], dim=1)
    return GroundTruth.collate([rows], [torch.tensor(classes, dtype=torch.int64)])


def labels(golden: Golden, model: GroupFree) -> Iterator[Comparison]:
    """What the original's data set class makes of the boxes and the points."""
    padded = PaddedTruth.of(truth_of(golden), 1, MAX_BOXES)
    boxes, classes, real = padded.boxes[0], padded.labels[0], padded.real[0]
    sizes = to_learn(padded.boxes, "extent")[0, :, 3:6]
    mean = torch.tensor(DATASETS[golden.dataset].mean_sizes)[classes]
    headings, offsets = model.bins.encode(-boxes[:, 6])
    centers = torch.where(real[:, None], boxes[:, :3], ABSENT)
    yield golden.close("gt_center_label", centers, 1e-7)
    yield golden.same("gt_sem_cls_label", classes)
    yield golden.same("gt_size_class_label", classes)
    yield golden.same("gt_box_label_mask", real)
    yield golden.same("gt_heading_class_label", headings)
    yield golden.close("gt_heading_residual_label", offsets * model.bins.width / 2)
    yield golden.close("gt_size_residual_label", (boxes[:, 3:6] - mean) * real[:, None])
    yield golden.close("gt_size_gts", sizes)
    seen = torch.cat([boxes[:, :3], sizes, boxes[:, 6:]], dim=1)[real]
    yield golden.same("gt_eval_class", classes[real])
    yield golden.close("gt_eval_corners_camera", camera_corners(seen))
    batch = batch_of(golden, model)
    if batch.instance is None:
        objects = objects_by_box(batch.points, padded, model.assigner.boxes_per_point)
        yield golden.same("gt_point_instance_label", objects[0])
    elif annotated(golden) is not None:
        yield golden.same("gt_point_instance_label", objects_by_centre(batch, padded)[0])


@torch.no_grad()
def evaluation(golden: Golden, model: GroupFree) -> Iterator[Comparison]:
    """The network as eval_avg.py runs it, its losses and its post-processing."""
    levels: dict[str, PointSet] = {}
    queries: list[Tensor] = []
    hooks = [
        model.get_submodule(f"backbone_net.sa{i}").register_forward_hook(
            lambda _, __, found, name=f"sa{i}": levels.update({name: found})
        )
        for i in range(1, 5)
    ]
    hooks += [
        layer.register_forward_hook(lambda _, __, found: queries.append(found))
        for layer in model.decoder
    ]
    found = model.eval()(batch_of(golden, model))
    for hook in hooks:
        hook.remove()
    yield golden.same("sa1_inds", levels["sa1"].index[0])
    yield golden.same("sa2_inds", levels["sa2"].index[0])
    first = {f"{name}_features_first32": level.features for name, level in levels.items()}
    first |= {f"decoder{i}_query_first32": query for i, query in enumerate(queries)}
    first["seed_features_first64"] = found.seeds.features
    for key, features in first.items():
        yield golden.close(key, features[0, :, : golden[key].shape[1]])
    yield golden.same("seed_inds", found.seeds.index[0])
    yield golden.same("seed_xyz_first64", found.seeds.points[0, : len(golden["seed_xyz_first64"])])
    yield golden.close("seeds_obj_cls_logits", found.seed_logits[0])
    yield golden.same("query_points_sample_inds", found.queries[0])
    for name, stage in found.stages.items():
        for output, value in published_outputs(stage).items():
            yield golden.close(f"{name}_{output}", value[0])
    last = signed_boxes(found.stages["last"], model)
    yield golden.close("last_corners_camera", camera_corners(last))
    yield from losses(golden, model, found, "eval", tolerance=1e-5)
    for which, prefix in SETS.items():
        yield from post_processing(golden, model, found, which, prefix)


def signed_boxes(stage: Stage, model: GroupFree) -> Tensor:
    """(K, 7) boxes with the sizes of the network, which decide the order of corners."""
    boxes = stage.boxes(model.bins)[0]
    return torch.cat([boxes[:, :3], stage.sizes[0], boxes[:, 6:]], dim=1)


def post_processing(
    golden: Golden, model: GroupFree, found: GroupFreePredictions, which: Stages, prefix: str
) -> Iterator[Comparison]:
    model.inference = replace(model.inference, stages=which)
    (proposals,) = model.proposals(found)
    points = found.batch.points[0]
    yield from nearly_same(
        golden, f"{prefix}_points_in_box", points_inside(proposals.boxes, points), at_most=5
    )
    picked = pick(proposals, points, model.inference)
    ascending = picked.sort().values
    scores = proposals.classes * proposals.objectness[:, None]
    stages = ensemble(found.stages, which)
    boxes = torch.cat([signed_boxes(stage, model) for stage in stages])
    yield golden.same(f"{prefix}_det_pick_order", picked)
    yield golden.same(f"{prefix}_det_index", ascending)
    yield golden.close(f"{prefix}_det_scores", scores[ascending])
    yield golden.close(f"{prefix}_det_corners_camera", camera_corners(boxes[ascending]))
    (whole,) = model.detections(found)
    detections = select_proposals(proposals, points, model.inference)
    assert all(torch.equal(a, b) for a, b in zip(whole, detections, strict=True))
    # One detection of every kept box and class.
    for label in range(scores.shape[1]):
        own = detections.labels == label
        assert torch.equal(detections.scores[own], scores[ascending, label].sort().values.flip(0))


def nearly_same(golden: Golden, key: str, ours: Tensor, at_most: int) -> Iterator[Comparison]:
    """Counts that rounding may change by one in a few places, as the fact sheet measured."""
    yield Comparison(key, ours.numpy(), golden[key], 0, 1)
    assert (ours.numpy() != golden[key]).sum() <= at_most, key


def losses(
    golden: Golden, model: GroupFree, found: GroupFreePredictions, block: str, tolerance: float
) -> Iterator[Comparison]:
    """QueryAssignment, every loss term and every share. block: "eval" or "train"."""
    config, padded = model.loss_config, PaddedTruth.of(truth_of(golden), 1, MAX_BOXES)
    assignment = assign(found, padded, model.assigner, config.size_target)
    matches = assignment.matches[0, in_order(golden, found, block)]
    yield golden.same(f"{block}_objectness_label", matches >= 0)
    yield golden.same(f"{block}_object_assignment", background_last(matches))
    yield golden.same(f"{block}_kps_label", assignment.near[0])
    seen = golden["gt_point_instance_label"]
    for key, value in loss_values(model, found, truth_of(golden), seen).items():
        yield golden.each_close(f"{block}_{key}", value, tolerance, 1e-7)


def background_last(matches: Tensor) -> Tensor:
    """Indices of ground truths as the original numbers them."""
    return torch.where(matches < 0, MAX_BOXES - 1, matches)


def loss_values(
    model: GroupFree, found: GroupFreePredictions, truth: GroundTruth, seen: np.ndarray
) -> dict[str, Any]:
    """Every loss term and every share by the original's names. seen: the object of each point, -1
    for none.
    """
    config, padded = model.loss_config, PaddedTruth.of(truth, 1, MAX_BOXES)
    assignment = assign(found, padded, model.assigner, config.size_target)
    positive = assignment.positive.float().mean()
    sampling, stages = unweighted_losses(
        found, padded, assignment, model.bins, config, model.mean_sizes
    )
    near = assignment.near.float().mean()
    chosen = assignment.objects[assignment.near].unique()
    scalars: dict[str, Any] = {
        "points_hard_topk4_pos_ratio": near,
        "points_hard_topk4_neg_ratio": 1 - near,
        "points_hard_topk4_upper_recall_ratio": len(chosen) / len(np.setdiff1d(seen, [-1])),
        "query_points_generation_loss": sampling,
        "loss": model.loss(found, truth).total,
    }
    sums = dict.fromkeys(("objectness_loss", "box_loss", "sem_cls_loss"), torch.zeros(()))
    for name, terms in stages.items():
        named = {TERMS[term]: value for term, value in terms.items()}
        named["box_loss"] = (
            named["center_loss"]
            + 0.1 * named["heading_cls_loss"]
            + named["heading_reg_loss"]
            + 0.1 * named.get("size_cls_loss", torch.zeros(()))
            + named["size_reg_loss"]
        )
        sums = {term: value + named[term] for term, value in sums.items()}
        named |= {"pos_ratio": positive, "neg_ratio": 1 - positive}
        scalars |= {f"{name}_{term}": value for term, value in named.items()}
    return scalars | {f"sum_heads_{term}": value for term, value in sums.items()}


def in_order(golden: Golden, found: GroupFreePredictions, block: str) -> Tensor:
    """(K,) the queries in the file's order. block: "eval" or "train"."""
    prefix = {"eval": "", "train": "train_"}[block]
    theirs = torch.from_numpy(golden[f"{prefix}query_points_sample_inds"]).long()
    return found.queries[0].argsort()[theirs.argsort().argsort()]


def training(golden: Golden, model: GroupFree) -> Iterator[Comparison]:
    """A training step without dropout: losses, assignment and gradients."""
    without_dropout(model.train())
    found = model(batch_of(golden, model))
    # The scores are so low that neighbours may change places.
    key = "train_query_points_sample_inds"
    yield Comparison(key, found.queries[0].sort().values.numpy(), np.sort(golden[key]), 0, 0)
    centers = found.stages["last"].centers[0, in_order(golden, found, "train")]
    yield golden.close("train_last_center", centers)
    yield from losses(golden, model, found, "train", tolerance=2e-5)
    model.loss(found, truth_of(golden)).total.backward()
    norms = {name: p.grad.norm() for name, p in model.named_parameters() if p.grad is not None}
    named = with_second_names(norms)
    names, total = golden["train_grad_names"], float(golden["train_grad_total_norm"])
    assert len(names) == len(norms)  # every parameter has a gradient
    ours = [float(named[name]) for name in names]
    yield golden.each_close("train_grad_norms", ours, 1e-3, 1e-5 * total)
    yield golden.each_close("train_grad_total_norm", np.linalg.norm(ours), 1e-3)
    yield Comparison("train_grad_names", np.isin(names, [*named]), np.ones(len(names)), 0, 0)
    norm = model.get_submodule("backbone_net.sa1.mlp_module.layer0.bn.bn")
    yield golden.close("train_running_mean_sa1_bn0", norm.running_mean)


def without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout | DropPath):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
