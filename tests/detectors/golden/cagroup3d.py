"""CAGroup3D's golden files: Haiyang-W/CAGroup3D at 9438fad.

The original's yaw is clockwise in the first stage, and ours counter-clockwise. Its anchors are in
the order of their points, and ours in the order of their cells.

In these files the outputs of an anchor stand at the position of another anchor of its group. All
maps of features are at the right cells, so only the list of positions has another order, probably
that of MinkowskiEngine's hash table on a CPU. `as_theirs` takes the positions that the files tell,
which are those of all positives. The files do not tell all, so NMS of the first stage is checked by
its results alone. The network has 126 million weights, so each scan passes it once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sr3d.data.ground_truth import NEGATIVE
from sr3d.data.scene import Scene
from sr3d.detectors.cagroup3d.detector import CAGroup3D, GroupPredictions, Rois, Sampled
from sr3d.detectors.cagroup3d.loss import vote_weights
from sr3d.detectors.cagroup3d.names import to_original
from sr3d.detectors.cagroup3d.roi import decode, folded
from sr3d.detectors.cagroup3d.sampling import draw, overlaps
from sr3d.detectors.cagroup3d.targets import inside, match_anchors, smallest
from sr3d.detectors.fcaf3d.network import decode_distances
from sr3d.detectors.outputs import Detections
from sr3d.geometry.boxes import Boxes, centerness, rotate_z
from sr3d.geometry.nms import nms
from sr3d.sparse import SparseTensor
from tests.detectors.golden.comparing import Comparison, Golden, detections
from tests.detectors.golden.weights import draw as drawn
from tests.detectors.golden.weights import rebuilt, shapes_in, shapes_of, through_file

SCALES = {
    "dense_head.semantic_conv.kernel": 0.1,
    "dense_head.cls_conv.kernel": 0.1,
    "dense_head.centerness_conv.kernel": 0.05,
    "dense_head.offset_block.6.kernel": 0.05,
    "roi_head.reg_pred_layer.weight": 0.01,
}
# Biases of the classes of voxels.
SEMANTIC = {
    18: "-3.1 -1.7 -1.7 -2.3 -2.1 -3.0 -2.9 -2.9 -2.3 -2.9 -3.5 -1.9 -3.9 -2.4 -2.1 -2.8 -2.7 -2.8",
    10: "-2.0 -2.8 -2.9 -2.5 -2.6 -2.3 -2.9 -3.0 -1.8 -2.0",
}
INPUTS = {
    "point_index": "rows of the scan that are the points",
    "points": "input",
    "rgb": "input",
    "gt_boxes": "input of the loss",
    "gt_labels": "input of the loss",
    "pts_semantic_mask": "input of the votes",
    "pts_instance_mask": "input of the votes",
    "anchor_stride": "which rows are stored",
    "train_roi_sampled_inds": "the draw of proposals: another generator than ours",
    "inj_inds": "likewise",
    "inj_boxes": "input of the second stage",
    "inj_scores": "input of the second stage",
    "inj_labels": "input of the second stage",
}
CLOSE = 2e-5  # of the largest value
TERMS = {"semantic": "sem", "vote": "vote", "center": "centerness", "box": "bbox", "cls": "cls"}
GROUPS = 0, 1  # whose maps are stored, and the last one


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    model, scene = published(golden, folder).eval(), scene_of(golden)
    with torch.no_grad():
        found, seen = run(model, scene)
        yield from backbone(golden, found)
        order = theirs_of(golden, found)
        yield from groups(golden, model, found, seen, order)
        yield from outputs(golden, found, order)
        found = as_theirs(golden, model, found, scene, order)
        yield from first_proposals(golden, model, found)
        yield from second_stage(golden, model, found)
        yield from assignment(golden, model, found, scene)
        yield from training(golden, model, found)
        yield from injected(golden, model, found)


def published(golden: Golden, folder: Path) -> CAGroup3D:
    """The detector with a checkpoint as the original writes it."""
    suffix = "_sunrgbd" if golden.dataset == "sunrgbd" else ""
    shapes = shapes_in(golden.keys(f"cagroup3d{suffix}"))
    weights = rebuilt(shapes, SCALES)
    (count,) = shapes["dense_head.cls_conv.bias"][1:]
    bias, reg = "dense_head.cls_conv.bias", "dense_head.reg_conv.kernel"
    weights[bias] = weights[bias] - 4.5
    weights["dense_head.semantic_conv.bias"] = torch.tensor(
        [[float(x) for x in SEMANTIC[count].split()]]
    )
    kernel = np.float32(0.12) * drawn(reg, shapes[reg]) - np.float32(0.12)
    weights[reg] = torch.from_numpy(kernel)
    weights["global_step"] = torch.zeros(1, dtype=torch.int64)
    path = folder / "cagroup3d.pth"
    model = through_file(CAGroup3D, "cagroup3d", golden, path, {"model_state": weights})
    assert shapes == shapes_of(to_original(model.state_dict()))
    return model


def scene_of(golden: Golden) -> Scene:
    """Yaws and colours as ours: counter-clockwise, and in [0, 1]."""
    colors = golden["rgb"]
    if colors.dtype == np.uint8:
        colors = colors.astype(np.float32) / np.float32(255)
    boxes = Boxes.from_array(turned(torch.from_numpy(golden["gt_boxes"])))
    instance = None
    if "pts_instance_mask" in golden:
        semantic, ids = golden["pts_semantic_mask"], golden["pts_instance_mask"]
        first = {i: semantic[np.flatnonzero(ids == i)[0]] for i in np.unique(ids)}
        valid = np.array([first[i] < 18 for i in ids])
        instance = torch.from_numpy(np.where(valid, ids, -1).astype(np.int64))
    labels = torch.from_numpy(golden["gt_labels"])
    points = torch.from_numpy(golden["points"])
    return Scene("scan", points, torch.from_numpy(colors), boxes, labels, instance)


def turned(values: Tensor) -> Tensor:
    """Boxes (N, 7) or raw outputs (N, 8) in the other sign of yaw. (N, 6) are unchanged."""
    values = values.clone()
    values[:, 6:7] = -values[:, 6:7]
    return values


def run(model: CAGroup3D, scene: Scene) -> tuple[GroupPredictions, dict[str, Any]]:
    """The predictions, and tensors that the head computes for some groups."""
    head, seen = model.dense_head, {}

    def noted(name: str) -> Callable[..., None]:
        def note(_: nn.Module, args: tuple[SparseTensor, ...], out: SparseTensor) -> None:
            seen[name] = (args[0], out)

        return note

    hooks = []
    for k in (*GROUPS, len(model.classes) - 1):
        up: Any = head.cls_individual_up[k]
        layers = {
            "out": head.cls_individual_out[k],
            "expand": head.cls_individual_expand_out[k],
            "up": up[0],
            "fuse": head.cls_individual_fuse[k],
        }
        hooks += [layer.register_forward_hook(noted(f"{k}{n}")) for n, layer in layers.items()]
    found = model(model.inputs([scene]))
    for hook in hooks:
        hook.remove()
    return found, seen


def backbone(golden: Golden, found: GroupPredictions) -> Iterator[Comparison]:
    yield golden.same("n_voxels", [len(found.batch.x.sites)])
    voxels = found.voxels
    yield golden.same("backbone_coords", voxels.sites.coords)
    features = voxels.features
    yield golden.close("backbone_feats_sel", features[::397], CLOSE)
    yield golden.close("backbone_feats_mean", features.double().mean(dim=0), CLOSE)
    yield golden.close("backbone_feats_absmean", features.double().abs().mean(dim=0), CLOSE)
    yield golden.close("semantic_scores_sel", voxels.semantic[::197], CLOSE)
    yield golden.close("voxel_offsets_sel", voxels.offsets.flatten(1)[::97], CLOSE)
    yield golden.close("offset_features_sel", voxels.vote_features.flatten(1)[::397], CLOSE)
    chosen = voxels.semantic.sigmoid() > 0.15
    yield golden.same("n_selected_per_class", chosen.sum(dim=0))


def theirs_of(golden: Golden, found: GroupPredictions) -> Tensor:
    """(A,) our row of each of the original's anchors."""
    groups = np.repeat(np.arange(len(golden["n_per_class"])), golden["n_per_class"])
    wanted = np.column_stack([groups, golden["anchor_coords"]])
    ours = np.column_stack([found.anchors.groups.numpy(), found.anchors.coords.numpy()])
    rows = {tuple(row): i for i, row in enumerate(ours.tolist())}
    return torch.tensor([rows.get(tuple(row), -1) for row in wanted.tolist()])


def groups(
    golden: Golden,
    model: CAGroup3D,
    found: GroupPredictions,
    seen: dict[str, Any],
    order: Tensor,
) -> Iterator[Comparison]:
    count = len(model.classes)
    yield golden.same("n_per_class", torch.bincount(found.anchors.groups, minlength=count))
    yield golden.same("anchor_coords", found.anchors.coords[order])
    ends = np.cumsum(golden["n_per_class"])
    for k in (*GROUPS, count - 1):
        start = ends[k] - golden["n_per_class"][k]
        rows = order[start : ends[k]][::11][:64] - start
        fine, own = seen[f"{k}out"]
        yield golden.close(f"c{k}_in_feats", fine.features[rows], CLOSE)
        yield golden.close(f"c{k}_out9_feats", own.features[rows], CLOSE)
        yield golden.close(f"c{k}_up_feats", seen[f"{k}up"][1].features[rows], CLOSE)
        yield golden.close(f"c{k}_fuse_feats", seen[f"{k}fuse"][1].features[rows], CLOSE)
        coarse, expanded = seen[f"{k}expand"]
        at = coarse.sites.rows_of(torch.from_numpy(golden[f"c{k}_exp_coords"]).int())
        yield golden.same(f"c{k}_exp_coords", coarse.sites.coords[at])
        yield golden.close(f"c{k}_exp_in_feats", coarse.features[at], CLOSE)
        yield golden.close(f"c{k}_exp5_feats", expanded.features[at], CLOSE)


def outputs(golden: Golden, found: GroupPredictions, order: Tensor) -> Iterator[Comparison]:
    rows = order[:: int(golden["anchor_stride"][0])]
    anchors = found.anchors.rows(rows)
    yield golden.close("centerness_sel", anchors.center, CLOSE)
    reg = torch.cat([anchors.reg[:, :6].exp(), anchors.reg[:, 6:]], dim=1)
    yield golden.close("bbox_pred_sel", turned(reg), CLOSE)
    yield golden.close("cls_scores_sel", anchors.cls, CLOSE)


def as_theirs(
    golden: Golden, model: CAGroup3D, found: GroupPredictions, scene: Scene, order: Tensor
) -> GroupPredictions:
    """The predictions in the original's order and at its positions, as far as the file tells them.

    A positive is known by its class and its centerness, and every `anchor_stride`-th anchor by its
    box. Other anchors of a group take the positions that are left.
    """
    anchors, step = found.anchors.rows(order), int(golden["anchor_stride"][0])
    boxes, labels = scene.boxes.tensor, scene.labels
    places = torch.full_like(anchors.groups, -1)  # row of the position of each row
    distance = anchors.reg[:, :6].exp()[::step]
    shift = (distance[:, 1::2] - distance[:, ::2]) / 2
    at = torch.from_numpy(golden["boxes_all_sel"])[:, :3] - shift
    for group in anchors.groups.unique():
        own = (anchors.groups == group).nonzero().squeeze(1)
        listed_ones = own[own % step == 0]
        places[listed_ones] = nearest_row(at[listed_ones // step], anchors.positions, own)
    matches = match_anchors(anchors.positions, anchors.groups, boxes, labels, model.assigner.top)
    positive = (matches >= 0).nonzero().squeeze(1)
    central = centerness(anchors.positions[positive], boxes[matches[positive]])
    ours = torch.column_stack([labels[matches[positive]], central]).double()
    theirs = np.column_stack([golden["assign_pos_labels"], golden["assign_pos_centerness"]])
    partner = torch.cdist(torch.from_numpy(theirs).double(), ours).argmin(dim=1)
    places[torch.from_numpy(golden["assign_pos_index"]).long()] = positive[partner]
    for group in anchors.groups.unique():
        own = (anchors.groups == group).nonzero().squeeze(1)
        taken = places[own][places[own] >= 0]
        assert len(taken.unique()) == len(taken)
        places[own[places[own] < 0]] = own[~torch.isin(own, taken)]
    positions = anchors.positions[places]
    moved = anchors._replace(positions=positions)
    return replace(found, anchors=moved, boxes=decode_distances(positions, anchors.reg))


def nearest_row(at: Tensor, positions: Tensor, rows: Tensor) -> Tensor:
    """The one of some rows of positions that is nearest to each of some points."""
    return rows[torch.cdist(at.double(), positions[rows].double()).argmin(dim=1)]


def first_proposals(
    golden: Golden, model: CAGroup3D, found: GroupPredictions
) -> Iterator[Comparison]:
    """Boxes of the anchors. Each proposal is one of them, and NMS would keep it again."""
    step, width = int(golden["anchor_stride"][0]), golden["boxes_all_sel"].shape[1]
    yield golden.close("boxes_all_sel", turned(found.boxes[::step])[:, :width], CLOSE)
    own, rotated = proposals_in(golden, "stage1"), model.dataset.rotated
    anchors = found.anchors
    scores = anchors.cls.sigmoid() * anchors.center.sigmoid()
    partner, score = [], []
    for box, value, label in zip(*own, strict=True):
        far = (found.boxes[:, 3:] - box[3:]).abs().amax(dim=1) + (scores[:, label] - value).abs()
        partner.append(far.argmin())
        score.append(scores[partner[-1], label])
    rows = torch.stack(partner)
    ours = torch.cat([own.boxes[:, :3], found.boxes[rows, 3:]], dim=1)
    yield golden.close("stage1_boxes", turned(ours), CLOSE)
    yield golden.each_close("stage1_scores", torch.stack(score), 0, 1e-5)
    kept = nms(*own, model.config.proposal_iou, rotated)
    yield golden.same("stage1_labels", own.labels[kept])
    yield Comparison("stage1_boxes", kept.sort().values.numpy(), np.arange(len(kept)), 0, 0)


def listed(golden: Golden, prefix: str, own: Detections) -> Iterator[Comparison]:
    """`PREFIX_boxes`, `_scores` and `_labels`."""
    names = {f"det_{kind}": f"{prefix}_{kind}" for kind in ("boxes", "scores", "labels")}
    renamed = Golden(golden.path)
    renamed.__dict__["arrays"] = {ours: golden[theirs] for ours, theirs in names.items()}
    for each in detections(renamed, Detections(turned(own.boxes), *own[1:]), 1e-5, 2e-4):
        yield Comparison(names[each.key], each.ours, each.theirs, each.relative, each.absolute)


def proposals_in(golden: Golden, prefix: str) -> Detections:
    """The original's proposals, in our sign of yaw."""
    boxes, scores, labels = (
        torch.from_numpy(golden[f"{prefix}_{kind}"]) for kind in ("boxes", "scores", "labels")
    )
    return Detections(turned(boxes), scores, labels)


def all_rois(own: Detections) -> Rois:
    return Rois(own.boxes, torch.zeros_like(own.labels))


def second_stage(golden: Golden, model: CAGroup3D, found: GroupPredictions) -> Iterator[Comparison]:
    """From the original's proposals, whose order ours may not have."""
    own = proposals_in(golden, "stage1")
    rois = all_rois(own)
    pool: Any = model.roi_head.roi_grid_pool_layers[0]
    coords = pool.grid_cells(*rois)
    distinct = coords.unique(dim=0)
    sites, _ = found.features.sites.beside(coords, 2)
    features = pool.grid_conv(found.features, sites).features
    yield golden.same("roi_grid_n", [len(distinct)])
    step = max(1, len(distinct) // 300)
    cells = distinct[::step]
    yield golden.same("roi_grid_coords_sel", cells)
    at = sites.rows_of(cells)
    yield golden.close("roi_grid_feats_sel", features[at], CLOSE)
    pooled = pool(found.features, rois.boxes[:128], rois.scenes[:128])
    yield golden.close("roi_pooled_sel", pooled, CLOSE)
    codes = model.refine(found.features, rois)
    yield golden.close("rcnn_reg", codes, CLOSE)
    width = golden["stage2_boxes_pre_nms"].shape[1]
    refined = turned_like(golden, "stage2_boxes_pre_nms", decode(codes, rois.boxes))
    yield golden.close("stage2_boxes_pre_nms", refined[:, :width], CLOSE)
    again = replace(found, found=[own], rois=rois, codes=codes)
    yield from listed(golden, "det", model.detections(again)[0])


def turned_like(golden: Golden, key: str, boxes: Tensor) -> Tensor:
    """Boxes in the sign of yaw of `key`, and its multiples of 2π."""
    theirs = torch.from_numpy(golden[key])
    if theirs.shape[1] == 6:
        return boxes
    turn = torch.round((theirs[:, 6] - boxes[:, 6]) / (2 * np.pi)) * 2 * np.pi
    return torch.cat([boxes[:, :6], (boxes[:, 6] + turn)[:, None]], dim=1)


def assignment(
    golden: Golden, model: CAGroup3D, found: GroupPredictions, scene: Scene
) -> Iterator[Comparison]:
    boxes, labels, anchors = scene.boxes.tensor, scene.labels, found.anchors
    matches = match_anchors(anchors.positions, anchors.groups, boxes, labels, model.assigner.top)
    positive = (matches >= 0).nonzero().squeeze(1)
    owner = matches[positive]
    yield golden.same("assign_pos_index", positive)
    yield golden.same("assign_pos_labels", labels[owner])
    yield golden.close("assign_pos_boxes", turned(boxes[owner]))
    central = centerness(anchors.positions[positive], boxes[owner])
    yield golden.close("assign_pos_centerness", central)
    at = found.voxels.positions
    inner = smallest(inside(at, boxes), boxes)
    yield golden.same("semantic_labels", torch.where(inner >= 0, labels[inner], NEGATIVE))
    targets = model.vote_targets(at, boxes, found.batch.clouds[0])
    offsets = targets.offsets
    if model.config.votes == 3:  # the original has the places of the centres there
        offsets = offsets + at[:, None]
    yield golden.close("vote_targets_sel", offsets.flatten(1)[::29])
    yield golden.close("vote_weight", vote_weights(targets, model.config.votes == 1))


def training(golden: Golden, model: CAGroup3D, found: GroupPredictions) -> Iterator[Comparison]:
    truth, config = found.batch.truth, model.loss_config
    own = proposals_in(golden, "stage1")
    inds = torch.from_numpy(golden["train_roi_sampled_inds"])
    sampled, iou = sample(model, own, found, inds)
    yield golden.close("train_roi_max_overlaps", iou)
    yield from targets(golden, "train", model, found, sampled)
    codes = model.refine(found.features, sampled.rois)
    yield golden.close("train_rcnn_reg", codes, CLOSE)
    terms = model.loss(replace(found, rois=sampled.rois, codes=codes, sampled=sampled), truth).terms
    for name, theirs in TERMS.items():
        # The original weighs every term, but keeps the vote's of SUN RGB-D as it is.
        yield golden.each_close(f"loss_{theirs}", terms[name], 2e-5)
    one = sum(terms[name] for name in TERMS)
    yield golden.each_close("loss_one_stage_loss", one, 2e-5)
    yield golden.each_close("loss_rcnn_reg", terms["refine"], 1e-4, 1e-6)
    two = terms["refine"]
    if "loss_rcnn_iou" in golden:
        yield golden.each_close("loss_rcnn_iou", terms["refine_iou"], 1e-4, 1e-6)
        two = two + terms["refine_iou"]
    yield golden.each_close("loss_two_stage", two, 1e-4, 1e-6)
    yield golden.each_close("loss_all", one + two, 2e-5)
    assert config.mirrored_yaw


def sample(
    model: CAGroup3D, own: Detections, found: GroupPredictions, inds: Tensor
) -> tuple[Sampled, Tensor]:
    """The proposals that the original drew, which our rule could draw as well."""
    truth = found.batch.truth
    iou, owner = overlaps(own, truth.boxes, truth.labels)
    ours = draw(iou, model.assigner, torch.Generator().manual_seed(0))
    kinds = torch.tensor([model.assigner.hard_iou, model.assigner.foreground_iou])
    assert torch.equal(*(torch.bucketize(iou[rows], kinds, right=True) for rows in (ours, inds)))
    rois = Rois(own.boxes[inds], torch.zeros_like(inds))
    return Sampled(rois, owner[inds], iou[inds]), iou


def targets(
    golden: Golden, prefix: str, model: CAGroup3D, found: GroupPredictions, sampled: Sampled
) -> Iterator[Comparison]:
    rois, boxes = sampled.rois.boxes, found.batch.truth.boxes[sampled.owner]
    yield golden.close(f"{prefix}_rois", rois)
    yield golden.close(f"{prefix}_gt_of_rois_src", boxes)
    offset = rotate_z(boxes[:, :3] - rois[:, :3], -rois[:, 6])
    turn = folded(boxes[:, 6] - rois[:, 6] % (2 * np.pi))
    local = torch.cat([offset, boxes[:, 3:6], turn[:, None]], dim=1)
    yield golden.each_close(f"{prefix}_gt_of_rois", local, 1e-5, 1e-5)
    valid = sampled.iou > model.assigner.foreground_iou
    yield golden.same(f"{prefix}_reg_valid_mask", valid)


def injected(golden: Golden, model: CAGroup3D, found: GroupPredictions) -> Iterator[Comparison]:
    """The second stage with given proposals: ground truths, moved a little."""
    own = proposals_in(golden, "inj")
    sampled, iou = sample(model, own, found, torch.from_numpy(golden["inj_inds"]))
    yield golden.close("inj_max_overlaps", iou)
    yield from targets(golden, "inj", model, found, sampled)
    codes = model.refine(found.features, sampled.rois)
    yield golden.close("inj_rcnn_reg", codes, CLOSE)
    terms = model.refinement_loss(
        replace(found, rois=sampled.rois, codes=codes, sampled=sampled), found.batch.truth
    )
    terms = {name: getattr(model.loss_config, name) * value for name, value in terms.items()}
    yield golden.each_close("inj_loss_rcnn_loss_reg", terms["refine"], 1e-4)
    if "inj_loss_rcnn_loss_iou" in golden:
        yield golden.each_close("inj_loss_rcnn_loss_iou", terms["refine_iou"], 1e-4)
    yield golden.each_close("inj_loss_loss_two_stage", sum(terms.values()), 1e-4)
    rois = all_rois(own)
    codes = model.refine(found.features, rois)
    width = golden["inj_test_boxes_pre_nms"].shape[1]
    refined = turned_like(golden, "inj_test_boxes_pre_nms", decode(codes, rois.boxes))
    yield golden.close("inj_test_boxes_pre_nms", refined[:, :width], CLOSE)
    again = replace(found, found=[own], rois=rois, codes=codes)
    yield from listed(golden, "inj_test", model.detections(again)[0])
