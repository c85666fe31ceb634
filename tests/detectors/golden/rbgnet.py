"""RBGNet's golden files: Haiyang-W/RBGNet at f0a40d1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sr3d
from sr3d.data.datasets import SCANNET
from sr3d.data.ground_truth import GroundTruth
from sr3d.data.mmdet3d.infos import read_infos
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.votes import vote_targets
from sr3d.detectors.rbgnet.detector import RBGNet, RBGNetPredictions, proposals_of, select
from sr3d.detectors.rbgnet.backbone import score_of
from sr3d.detectors.rbgnet.names import CHECKPOINTS, own_name
from tests.detectors.golden.comparing import Comparison, Golden
from tests.detectors.golden.weights import rebuilt, shapes_in, shapes_of
from tests.shared_data import shared

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
FEW = 16  # clusters whose scores on rays are in the files


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    model = published(golden, folder)
    with torch.no_grad():
        found = model.eval()(batch_of(golden))
        yield from network(golden, found, "test")
        yield from post_processing(golden, model, found)


def published(golden: Golden, folder: Path) -> RBGNet:
    """The detector with a checkpoint as OpenPCDet writes it."""
    suffix = "_sunrgbd" if golden.dataset == "sunrgbd" else ""
    model = sr3d.load("rbgnet", dataset=golden.dataset, untrained=True)
    constants = CHECKPOINTS.published["original"].convert(model.state_dict())
    shapes = shapes_in(shared(f"golden/rbgnet{suffix}_keys.txt"))
    assert shapes == shapes_of(constants)
    fixed = {name: constants[name] for name in shapes if own_name(name) is None}
    path = folder / "checkpoint.pth"
    torch.save({"epoch": 64, "model_state": rebuilt(shapes, SCALES) | fixed}, path)
    loaded = sr3d.load("rbgnet", dataset=golden.dataset, checkpoint=path)
    path.unlink()
    assert isinstance(loaded, RBGNet)
    return loaded


def batch_of(golden: Golden) -> PointBatch:
    """The points of the file in the scan, with their objects."""
    parts = golden.path.stem.split("_")
    scene = "_".join(parts[-2:]) if golden.dataset == "scannet" else parts[-1]
    file = shared(f"real/{golden.dataset}/points/{scene}.bin")
    scan = np.fromfile(file, dtype=np.float32).reshape(-1, 6)
    points = scan[:, :3]
    if golden.dataset == "scannet":
        matrix = alignment_of(scene)
        points = points @ matrix[:3, :3].T + matrix[:3, 3]
    chosen = golden["sample_idx"]
    instance = None
    if "instance_mask_sampled" in golden:
        mask = golden["instance_mask_sampled"].astype(np.int64)
        known = (mask >= 1) & (mask <= len(golden["gt_boxes"]))
        instance = torch.from_numpy(np.where(known, mask - 1, -1))[None]
    colors = torch.from_numpy(scan[chosen, 3:] / np.float32(255))
    return PointBatch(torch.from_numpy(points[chosen])[None], colors.t()[None], instance)


def alignment_of(scene: str) -> np.ndarray:
    """(4, 4) float32."""
    for split in ("train", "val"):
        path = shared(f"real/scannet/infos/scannet_infos_{split}.pkl")
        for info in read_infos(path, SCANNET.classes):
            if info.id == scene:
                return np.asarray(info.alignment, dtype=np.float32)
    raise AssertionError(f"no info of {scene}")


def truth_of(golden: Golden) -> GroundTruth:
    """The original's yaw is clockwise."""
    boxes = torch.from_numpy(golden["gt_boxes"]) * torch.tensor([1.0] * 6 + [-1.0])
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
    theirs = found.boxes[0] * torch.tensor([1.0] * 6 + [-1.0])
    yield golden.close("test_decoded_boxes", theirs)
    (proposals,) = proposals_of(found)
    detections, _ = select(proposals, found.batch.points[0], model.inference)
    classes = proposals.classes.shape[1]
    yield golden.same("det_labels_rows", np.arange(classes))
