"""V-DETR's golden files: V-DETR/V-DETR at c2a1c45a.

Its voxels are in MinkowskiEngine's order, so rows of cells are compared by their coordinates. The
sampled voxels and the order of the queries depend on ties: later stages get the stored ones.

In training, batch norms of one scene amplify rounding to 3e-5 in scores. Many queries are nearer to
their neighbours, and their order is not stored. A different order of a few queries moves all boxes
of later stages by centimetres. So these stages are compared by their losses, within `ORDER`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from sr3d.api import find_source
from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scannet_files import align
from sr3d.data.scene import Scene
from sr3d.detectors.common.proposals import pick
from sr3d.detectors.common.vertex_lattice import lattice
from sr3d.detectors.vdetr import detector
from sr3d.detectors.vdetr.detector import VDETR
from sr3d.detectors.vdetr.loss import VDETRPredictions
from sr3d.detectors.vdetr.network import BoxStage, VertexAttention
from sr3d.detectors.vdetr.vertex_bias import VERTICES, vertex_bias
from sr3d.geometry.boxes import Boxes
from sr3d.points import furthest_points
from sr3d.sparse import SparseTensor
from tests.detectors.golden.comparing import Comparison, Golden
from tests.detectors.golden.scans import alignment, stored_scan
from tests.detectors.golden.weights import Shapes, rebuilt, shapes_in, shapes_of

SCALES = {"*layers.8.weight": 0.05, "*cpb_mlps.*.2.weight": 0.03, "*query_embed.weight": 0.1}
TABLE = "relative_coords_table"
OVERRIDES = ["model.dropout=0", "model.head_dropout=0"]
INPUTS = {
    "first": "rows of the scan that are the points",
    "gt_box": "the ground truth",
    "gt_label": "the ground truth",
}
# The original's names of our terms.
TERMS = {
    "sem_cls": "cls",
    "angle_cls": "heading_cls",
    "angle_reg": "heading_reg",
    "center": "center",
    "size": "size",
    "giou": "giou",
}
EVAL = 3e-5  # of the largest value
LOSS = {"eval": 3e-5, "train": 5e-4}
ORDER = 0.05  # relative, of losses in training after the first layer
SHIFT = 0.3  # metres, and of the logits. Between most boxes of an original's query and of ours


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    model, scene = published(golden, folder), scene_of(golden)
    yield golden.same("xyz", scene.points)
    yield golden.same("rgb", (255 * scene.colors).round())
    yield golden.same("dims_min", scene.points.amin(dim=0))
    yield golden.same("dims_max", scene.points.amax(dim=0))
    batch, truth = model.inputs([scene]), truth_of(golden)
    with torch.no_grad():
        yield from sampling(golden)
        yield from evaluation(golden, model, batch, truth)
        yield from training(golden, model, batch, truth)


def published(golden: Golden, folder: Path) -> VDETR:
    shapes = shapes_in(golden.keys("vdetr"))
    weights = rebuilt(shapes, SCALES | _decoder_scales(shapes))
    weights |= {name: lattice() for name in shapes if name.endswith(TABLE)}
    path = folder / "vdetr.pth"
    torch.save({"model": weights}, path)
    model = find_source("vdetr", golden.dataset, path, overrides=OVERRIDES).detector()
    path.unlink()
    assert isinstance(model, VDETR)
    assert shapes_of(model.state_dict()) == shapes
    return model


def _decoder_scales(shapes: Shapes) -> dict[str, float]:
    return {
        name: math.sqrt(1 / math.prod(shape[1:]))
        for name, shape in shapes.items()
        if name.startswith("decoder.") and name.endswith("weight") and len(shape) > 1
    }


def scene_of(golden: Golden) -> Scene:
    """All points of the scan, one of each voxel."""
    rows = stored_scan(golden)[golden["first"]]
    points = align(rows[:, :3], alignment(golden))
    return Scene.unlabelled(torch.from_numpy(points), torch.from_numpy(rows[:, 3:] / 255))


def truth_of(golden: Golden) -> GroundTruth:
    boxes = Boxes.from_array(golden["gt_box"]).tensor
    return GroundTruth.collate([boxes], [torch.from_numpy(golden["gt_label"].astype(np.int64))])


def sampling(golden: Golden) -> Iterator[Comparison]:
    """Of equally far voxels, the first one in the files, and that of the original's kernel."""
    points = torch.from_numpy(golden["out_C"]) * 0.01
    count = len(golden["seed_inds"])
    first = furthest_points(points[None], count)[0]
    yield golden.same("seed_inds", first)
    yield golden.same("fps_cudatie", furthest_points(points[None], count, tie_threads=512)[0])
    every = furthest_points(points[None], count, skip_origin=False)[0]
    yield golden.same("fps_noskip_equal", torch.equal(every, first))


def run(golden: Golden, model: VDETR, batch: SparseTensor, queries: bool) -> VDETRPredictions:
    """With the stored samples and, if so, the stored order of the queries."""
    seeds = golden["out_C"][golden["seed_inds"]].astype(np.int64)

    def stored(points: Tensor, count: int) -> Tensor:
        coords = (points / 0.01).round().long().numpy()
        rows = {tuple(row): i for i, row in enumerate(coords.tolist())}
        return torch.tensor([rows[tuple(row)] for row in seeds.tolist()])

    order = torch.from_numpy(golden["topk"].astype(np.int64))[None]
    chosen = (lambda logits: order) if queries else model.decoder.chosen
    with (
        patch.object(detector, "spread", stored),
        patch.object(model.decoder, "chosen", chosen),
    ):
        found: VDETRPredictions = model(batch)
    return found


def evaluation(
    golden: Golden, model: VDETR, batch: SparseTensor, truth: GroundTruth
) -> Iterator[Comparison]:
    seen: dict[str, Any] = {}

    def watch(name: str, module: torch.nn.Module) -> None:
        def note(_: Any, inputs: Any, output: Any) -> None:
            seen[name], seen[f"{name} inputs"] = output, inputs

        module.register_forward_hook(note)

    names = ["pre_encoder", "pre_encoder.conv1", "out_block_0"]
    names += ["encoder_to_decoder_projection", "decoder.first_layer"]
    names += [f"decoder.layers.{i}" for i in range(8)]
    names += ["decoder.layers.0.multihead_attn"]
    for name in names:
        watch(name, model.get_submodule(name))
    found = run(golden, model.eval(), batch, queries=True)
    yield from sparse(golden, seen)
    for module in model.modules():
        module._forward_hooks.clear()
    yield golden.close("memory64", seen["encoder_to_decoder_projection"][0, :, :64], EVAL)
    yield golden.close("ffn_out64", seen["decoder.first_layer"][0, :64], EVAL)
    yield golden.close("point_cls_logits_512", found.point_logits[0, :512], EVAL)
    yield from attention(golden, model, seen)
    yield from stages(golden, found)
    yield from criterion(golden, model, found, truth, "eval")
    yield from post_processing(golden, model, found)


def sparse(golden: Golden, seen: Mapping[str, Any]) -> Iterator[Comparison]:
    """Stem, stages and neck, by coordinates."""
    stem, levels = seen["pre_encoder.conv1"], seen["pre_encoder"]
    counts = [len(x.sites) for x in (stem, *levels)]
    yield golden.same("nvox", counts)
    for name, level in (("stem", stem), *((f"stage{i}", x) for i, x in enumerate(levels))):
        rows = rows_of(level, golden[f"{name}_C64"])
        yield golden.same(f"{name}_C64", level.sites.coords[rows, 1:])
        yield golden.close(f"{name}_F64", level.features[rows, :32], EVAL)
        if name != "stem":
            mean = level.features.double().abs().mean()
            yield golden.each_close(f"{name}_abs_mean", mean, 1e-5)
    out = seen["out_block_0"]
    rows = rows_of(out, golden["out_C"])
    yield golden.same("out_C", out.sites.coords[rows, 1:])
    assert len(rows.unique()) == len(out.sites)
    yield golden.close("out_F128", out.features[rows[:128]], EVAL)
    yield golden.close("out_F_mean", out.features.double().mean(dim=0), EVAL)


def rows_of(level: SparseTensor, coords: np.ndarray) -> Tensor:
    index = {tuple(row): i for i, row in enumerate(level.sites.coords[:, 1:].tolist())}
    return torch.tensor([index[tuple(row)] for row in coords.tolist()])


def attention(golden: Golden, model: VDETR, seen: Mapping[str, Any]) -> Iterator[Comparison]:
    for i in range(8):
        key = f"query{i}"
        queries, channels = golden[key].shape
        yield golden.close(key, seen[f"decoder.layers.{i}"][0, :queries, :channels], EVAL)
    for i in (0, 7):
        boxes = seen[f"decoder.layers.{i} inputs"][-1][0, :32]
        yield golden.close(f"ref{i}", vertices(boxes), EVAL)
    layer = model.get_submodule("decoder.layers.0.multihead_attn")
    assert isinstance(layer, VertexAttention)
    queries, memory, points, boxes = seen["decoder.layers.0.multihead_attn inputs"]
    bias = vertex_bias(layer.tables(), points, boxes[:, :4], rotated=False)[0]
    q = layer.q(queries[0, :4]).unflatten(1, (4, 64)).transpose(0, 1)
    weights = (q / 8 @ layer.k(memory[0]).t() + bias).softmax(dim=-1)
    yield golden.close("attn0_q4_top", weights.topk(16, dim=-1).values, EVAL)
    index = torch.from_numpy(golden["attn0_q4_topi"].astype(np.int64))
    close = golden.close("attn0_q4_top", weights.gather(-1, index), EVAL)
    yield Comparison("attn0_q4_topi", close.ours, close.theirs, 0, close.absolute)


def vertices(boxes: Tensor) -> Tensor:
    """(K, 8, 3) of boxes (K, 7) without a yaw, in the original's order."""
    signs = 2 * torch.tensor(VERTICES) - 1
    return boxes[:, None, :3] + signs * boxes[:, None, 3:6] / 2


def camera(corners: Tensor) -> Tensor:
    x, y, z = corners.unbind(-1)
    return torch.stack([x, -z, y], dim=-1)


def stages(golden: Golden, found: VDETRPredictions) -> Iterator[Comparison]:
    for i, stage in enumerate(found.stages):
        for name, value in published_outputs(stage).items():
            key = f"L{i}_{name}"
            yield golden.close(key, value[: len(golden[key])], EVAL)
    scores = found.stages[0].logits[0, :, 0].sigmoid()
    yield golden.close("L0_objectness", scores, EVAL)
    order = torch.from_numpy(golden["topk"].astype(np.int64))
    best = scores.topk(len(order)).values
    close = Comparison("topk", scores[order].numpy(), best.numpy(), 0, 1e-5)
    yield close
    gaps = -np.diff(best.double().numpy())
    yield golden.each_close("topk_min_gap", gaps.min(), 0, 1e-6)
    boxes = found.stages[-1].boxes[0, :16]
    yield golden.close("L8_box_corners_16", camera(vertices(boxes)), EVAL)


def published_outputs(stage: BoxStage) -> dict[str, Tensor]:
    return {
        "sem_cls_logits": stage.logits[0],
        "center_reg": stage.center[0],
        "size_reg": stage.size[0],
        "angle_residual_normalized": stage.heading_residual[0],
        "center": stage.boxes[0, :, :3],
        "size": stage.boxes[0, :, 3:6],
    }


def criterion(
    golden: Golden, model: VDETR, found: VDETRPredictions, truth: GroundTruth, mode: str
) -> Iterator[Comparison]:
    """Matches and every loss."""
    loss, relative, count = model.set_loss, LOSS[mode], len(truth.labels)
    matches = loss.match(found.stages, truth)
    each = loss.terms(found.stages, truth, matches)
    last = len(each) - 1
    for i, (stage, own, terms) in enumerate(zip(found.stages, matches, each, strict=True)):
        queries, index = golden[f"{mode}_match_L{i}"].astype(np.int64)
        wanted = torch.full_like(own[0], -1)
        wanted[queries] = torch.from_numpy(index % count)
        exact = mode == "eval" or i == 0
        if exact:
            yield Comparison(f"{mode}_match_L{i}", own[0].numpy(), wanted.numpy(), 0, 0)
        else:
            share = (own[0] == wanted)[queries].double().mean()
            yield Comparison(f"{mode}_match_L{i}", share.numpy(), np.array(1), 0, 0.4)
        near = (relative, 1e-7) if exact else (ORDER, 0.02)
        end = "" if i == last else f"_{i}"
        for theirs, ours in TERMS.items():
            yield golden.each_close(f"{mode}_loss_{theirs}{end}", terms[ours], *near)
        objects = (stage.logits[0].argmax(dim=1) < stage.logits.shape[-1] - 1).sum()
        errors = abs(int(objects) - count * (loss.costs.repeats if i else 1))
        yield golden.each_close(f"{mode}_loss_cardinality{end}", errors, 0, 0 if exact else 10)
    own, stage = matches[-1], found.stages[-1]
    gious = loss.giou(stage, truth.boxes[own.clamp(min=0)], own >= 0)[0]
    queries = golden[f"{mode}_match_L{last}"][0].astype(np.int64)
    key = f"{mode}_giou_matched_L8"
    if mode == "eval":
        yield golden.close(key, gious[queries], relative)
    else:
        mean = gious[own[0] >= 0].mean()
        yield Comparison(key, mean.numpy(), golden[key].mean(), 0, ORDER)
    point = loss.point_loss(found, truth)
    yield golden.each_close(f"{mode}_enc_point_cls_loss", point, relative)
    within = relative if mode == "eval" else ORDER / 10
    yield golden.each_close(f"{mode}_total", model.loss(found, truth).total, within)


def post_processing(golden: Golden, model: VDETR, found: VDETRPredictions) -> Iterator[Comparison]:
    (proposals,), (detections,) = model.proposals(found), model.detections(found)
    kept = pick(proposals, found.points[0], model.inference).sort().values
    yield golden.same("nms_keep", kept)
    yield golden.close("det_corners_cam", camera(vertices(proposals.boxes[kept])), EVAL)
    scores = proposals.classes[kept] * proposals.objectness[kept, None]
    yield golden.close("det_score", scores.t(), EVAL)
    assert len(detections.labels) == scores.numel()
    for label, own in enumerate(scores.t()):
        of_class = detections.rows(detections.labels == label)
        assert torch.equal(of_class.scores, own.sort(descending=True, stable=True).values)


def training(
    golden: Golden, model: VDETR, batch: SparseTensor, truth: GroundTruth
) -> Iterator[Comparison]:
    """Batch norms take the statistics of one scene."""
    found = run(golden, model.train(), batch, queries=False)
    yield golden.same("train_seed_inds_equal", True)
    scores = found.stages[0].logits[0, :512, 0].sigmoid()
    yield golden.each_close("train_topk_objectness_L0", scores, 0, 1e-4)
    last = published_outputs(found.stages[-1])
    for name in ("sem_cls_logits", "center", "size"):
        key = f"train_L8_{name}_256"
        moved = np.median(np.abs(last[name][:256].numpy() - golden[key]))
        yield Comparison(key, moved, np.array(0), 0, SHIFT)
    yield from criterion(golden, model, found, truth, "train")
    own = model.state_dict()
    for key in golden.arrays:
        if ".running_" in key:
            first = "mlp_heads" not in key
            yield golden.close(key, own[key.removeprefix("train_")], 1e-4 if first else ORDER)
