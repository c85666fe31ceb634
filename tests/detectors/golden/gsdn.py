"""GSDN's golden files: jgwak/GSDN at 507fb2e, with 7 anchors of a cell and with 13 ("ar124").

Rounding decides about cells whose probability is at the threshold of pruning. The network has 68
million weights, so each scan passes it three times: in evaluation mode, and as in training with
batch norms in evaluation and in training mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor, nn

from sr3d.data.ground_truth import IGNORED, GroundTruth
from sr3d.data.scene import Scene
from sr3d.detectors.gsdn.anchors import anchor_corners, anchor_sizes, encode, strides
from sr3d.detectors.gsdn.assignment import AnchorTargets, match_anchors
from sr3d.detectors.gsdn.detector import GSDN, GSDNPredictions, VoxelBatch
from sr3d.detectors.gsdn.names import CHECKPOINTS
from sr3d.detectors.gsdn.selection import Candidates, in_metres, joined
from sr3d.geometry.boxes import Boxes
from sr3d.sparse import SparseTensor
from tests.detectors.golden.comparing import Comparison, Golden
from tests.detectors.golden.fcaf3d import cloud_of, in_order
from tests.detectors.golden.weights import draw, rebuilt, shapes_in, shapes_of, through_file

SCALES = {
    "*final_class_logits.kernel": 0.15,
    "*final_semantic_logits.kernel": 0.2,
    "*final_bbox.kernel": 0.05,
}
PRUNING = "feature_upsample_network.conv_cls{}.{}"
INPUTS = {
    "point_idx": "rows of the scan that are the points",
    "sem_label": "input: the class of each point",
    "ins_label": "input: the object of each point",
    "grad_names": "names of weights",
    **{f"test_head{i}_substep": "which rows are stored" for i in range(4)},
}
LEVELS = range(4)
CLOSE = 2e-5  # of the largest value
# The original's names of our terms, without their weights.
TERMS = {
    "objectness": "rpn_class_loss",
    "box": "rpn_bbox_loss",
    "label": "rpn_semantic_loss",
    "sparsity": "sfpn_class_loss",
}


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    model, scene = published(golden, folder), scene_of(golden)
    batch = model.inputs([scene])
    yield from inputs(golden, batch)
    yield from assignment(golden, model, batch)
    with torch.no_grad():
        found = run(model.eval(), batch)
        yield from outputs(golden, found)
        yield from post_processing(golden, model, found.predictions)
    yield from training(golden, model, batch)
    with torch.no_grad():
        yield from losses(golden, model.train(), model(batch), "lossbn", 1e-4)


def published(golden: Golden, folder: Path) -> GSDN:
    """The detector with a checkpoint as the original writes it."""
    shapes = shapes_in(golden.keys("gsdn_ar124" if golden.says("ar124") else "gsdn"))
    weights = rebuilt(shapes, SCALES) | dict(_pruning_weights(shapes)) | dict(_norms(shapes))
    path = folder / "gsdn.pth"
    model = through_file(GSDN, "gsdn", golden, path, {"state_dict": weights})
    assert shapes == shapes_of(CHECKPOINTS.published["original"].convert(model.state_dict()))
    assert model.config.anchors == (13 if golden.says("ar124") else 7)
    return model


def _pruning_weights(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, Tensor]]:
    """So drawn that pruning really prunes."""
    for level in LEVELS:
        name, bias = (PRUNING.format(level + 1, kind) for kind in ("kernel", "bias"))
        a, b = draw(name, shapes[name]), np.float32(0.1) * draw(bias, shapes[bias])
        b[0, 1] -= np.float32(0.8)
        scale = np.float32(0.05 if level else 0.2)
        yield name, torch.from_numpy(scale * (a - a.mean(axis=0, keepdims=True)))
        yield bias, torch.from_numpy(b)


def _norms(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, Tensor]]:
    """Weights of instance norms: drawn as a norm's, although of two axes."""
    for name, shape in shapes.items():
        if name.endswith("weight") and len(shape) == 2:
            yield name, torch.from_numpy(1 + np.float32(0.1) * draw(name, shape))


def scene_of(golden: Golden) -> Scene:
    """The cloud with its objects. Boxes are not used: they follow from the voxels of objects."""
    points, colors = cloud_of(golden)
    valid = golden["sem_label"] >= 0
    ids, first, index = np.unique(
        np.where(valid, golden["ins_label"], -1), return_index=True, return_inverse=True
    )
    assert ids[0] == -1
    labels = torch.from_numpy(golden["sem_label"][first[1:]].astype(np.int64))
    boxes = Boxes(torch.ones(len(labels), 7))
    instance = torch.from_numpy(index.reshape(-1).astype(np.int64)) - 1
    return Scene("scan", points, colors, boxes, labels, instance)


def inputs(golden: Golden, batch: VoxelBatch) -> Iterator[Comparison]:
    """Our voxels are in order of their coordinates."""
    order = in_order(torch.from_numpy(golden["voxel_coords"]))
    coords = batch.x.sites.coords[:, 1:].numpy()
    yield Comparison("voxel_coords", coords, golden["voxel_coords"][order], 0, 0)
    height = batch.x.features[:, 3].numpy()
    yield Comparison("height_input", height, golden["height_input"][order], 0, 1e-6)
    matrix = np.diag([20.0, 20.0, 20.0, 1.0])
    matrix[:3, 3] = -batch.origins[0].numpy()
    yield golden.close("transformation", matrix, 1e-12)
    theirs = golden["gt_boxes_voxel"]
    ours = np.column_stack([corners_of(batch.truth).numpy(), batch.truth.labels.numpy()])
    rows = [r[np.lexsort(r.T)] for r in (ours, theirs)]
    yield Comparison("gt_boxes_voxel", rows[0], rows[1], 0, 0)


def corners_of(truth: GroundTruth) -> Tensor:
    centre, half = truth.boxes[:, :3], truth.boxes[:, 3:6] / 2
    return torch.cat([centre - half, centre + half], dim=1)


def assignment(golden: Golden, model: GSDN, batch: VoxelBatch) -> Iterator[Comparison]:
    anchors, truth = model.config.anchors, batch.truth
    cells = batch.x.sites.coords[:, 1:].long()
    found = match_anchors(cells, truth.boxes, len(LEVELS), anchors, model.assigner)
    for i, (level, stride) in enumerate(zip(found, strides(len(LEVELS)), strict=True)):
        order = in_order(level.cells)
        level = AnchorTargets(level.cells[order], level.matches[order])
        yield golden.same(f"anchor{i}_coords", level.cells)
        states = np.stack([level.matches.numpy() >= 0, level.matches.numpy() == IGNORED])
        packed = np.packbits(states.reshape(2, -1), axis=1)
        yield golden.same(f"anchor{i}_match_packed", packed)
        rows, which = (level.matches >= 0).nonzero().unbind(dim=1)
        yield golden.same(f"anchor{i}_pos", torch.stack([rows, which], dim=1))
        owner = level.matches[rows, which]
        yield golden.same(f"anchor{i}_pos_cls", truth.labels[owner])
        corners = anchor_corners(level.cells[rows], anchor_sizes(anchors, stride), stride)
        at = corners[torch.arange(len(rows)), which]
        yield golden.close(f"anchor{i}_pos_delta", encode(corners_of(truth)[owner], at))


@dataclass(frozen=True)
class Run:
    """One pass of a scan. stages: the backbone's outputs. features: of all cells of each level."""

    predictions: GSDNPredictions
    stages: list[tuple[Tensor, Tensor]]
    features: list[Tensor]


def run(model: GSDN, batch: VoxelBatch) -> Run:
    stages: list[tuple[Tensor, Tensor]] = []
    features: dict[int, Tensor] = {}
    decoder = model.feature_upsample_network

    def noted(_: nn.Module, args: tuple[list[SparseTensor], ...]) -> None:
        stages.extend((s.sites.coords[:, 1:], s.features) for s in args[0])

    hooks = [decoder.register_forward_pre_hook(noted)]
    for i in LEVELS:
        layer = decoder.get_submodule(f"conv_feat{i + 1}")
        hooks.append(
            layer.register_forward_hook(lambda _, __, y, i=i: features.update({i: y.features}))
        )
    predictions = model(batch)
    for hook in hooks:
        hook.remove()
    return Run(predictions, stages, [features[i] for i in LEVELS])


def outputs(golden: Golden, found: Run) -> Iterator[Comparison]:
    """Coordinates of all rows, values of some, and means of columns."""
    for i, (coords, values) in enumerate(found.stages, 1):
        yield golden.same(f"test_c{i}_coords", coords)
        yield golden.close(f"test_c{i}_feats_sub", _every(values, 400)[:, :32], CLOSE)
        yield golden.close(f"test_c{i}_colmean", values.double().mean(dim=0), CLOSE)
    levels, raw = found.predictions.levels, found.predictions.outputs
    for i, (level, feature) in enumerate(zip(levels, found.features, strict=True)):
        yield golden.same(f"test_fpn{i}_coords", level.cells.coords[:, 1:])
        yield golden.close(f"test_fpn{i}_logits", level.sparsity, CLOSE)
        yield golden.close(f"test_fpn{i}_feat_sub", _every(feature, 200)[:, :32], CLOSE)
        yield golden.same(f"test_head{i}_coords", level.kept.sites.coords[:, 1:])
        step = int(golden[f"test_head{i}_substep"])
        for name, value in zip(("obj", "sem", "box"), raw[i], strict=True):
            flat = value.flatten(1)
            yield golden.close(f"test_head{i}_{name}_sub", flat[::step], CLOSE)
            yield golden.close(f"test_head{i}_{name}_colmean", flat.double().mean(dim=0), CLOSE)


def _every(values: Tensor, count: int) -> Tensor:
    return values[:: max(1, len(values) // count)]


def post_processing(
    golden: Golden, model: GSDN, predictions: GSDNPredictions
) -> Iterator[Comparison]:
    (found,) = model.candidates(predictions)
    extent = torch.tensor(model.config.extent).repeat(2) - 1
    step = torch.tensor([0, 0, 0, 1, 1, 1])  # the original's upper corners have a voxel more
    yield golden.close("prenms_scores", found.scores)
    order = partners(golden, found)
    yield Comparison("prenms_classes", order.sort().values.numpy(), np.arange(len(order)), 0, 0)
    yield golden.same("prenms_classes", found.labels[order])
    yield golden.close("prenms_boxes_voxel", found.corners[order] + step, CLOSE)
    yield golden.close("prenms_boxes_normalised", found.corners[order] / extent, CLOSE)
    kept = joined(model.certain(found), model.inference)
    yield from detected(golden, "detections", kept.corners + step, kept, 1e-3)
    metres = in_metres(kept, predictions.batch.origins[0], model.config.voxel_size)
    half = metres.boxes[:, 3:6] / 2
    corners = torch.cat([metres.boxes[:, :3] - half, metres.boxes[:, :3] + half], dim=1)
    yield from detected(golden, "detections_metres", corners, kept, 1e-4)


def partners(golden: Golden, found: Candidates) -> Tensor:
    """(K,) our row of each of the original's candidates. Scores that float32 cannot tell apart may
    be in either order.
    """
    ours = np.column_stack([1e4 * found.labels, 100 * found.scores, found.corners])
    theirs = [1e4 * golden["prenms_classes"], 100 * golden["prenms_scores"]]
    theirs.append(golden["prenms_boxes_voxel"] - [0, 0, 0, 1, 1, 1])
    return torch.from_numpy(KDTree(ours).query(np.column_stack(theirs))[1])


def detected(
    golden: Golden, key: str, corners: Tensor, kept: Candidates, tolerance: float
) -> Iterator[Comparison]:
    rows = np.column_stack([corners, kept.labels, kept.scores])
    yield golden.each_close(key, rows, 0, tolerance)


def training(golden: Golden, model: GSDN, batch: VoxelBatch) -> Iterator[Comparison]:
    """As in training, but with batch norms in evaluation mode."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
    found = model(batch)
    targets = found.targets
    for i, (level, raw) in enumerate(zip(found.levels, found.outputs, strict=True)):
        yield golden.same(f"loss_fpn{i}_coords", level.cells.coords[:, 1:])
        target = targets.cells[i].at(level.cells)
        theirs = torch.where(target == IGNORED, -1, (target >= 0).long())
        yield golden.same(f"loss_fpn{i}_target", theirs)
        yield golden.same(f"loss_head{i}_coords", level.kept.sites.coords[:, 1:])
        for name, value in zip(("obj", "sem", "box"), raw, strict=True):
            mean = value.detach().flatten(1).double().mean(dim=0)
            yield golden.close(f"loss_head{i}_{name}_colmean", mean, CLOSE)
    yield from losses(golden, model, found, "loss", 1e-5)
    model.loss(found, batch.truth).total.backward()
    norms = {
        name: p.grad.double().norm() for name, p in model.named_parameters() if p.grad is not None
    }
    names = golden["grad_names"].tolist()
    assert norms.keys() == {*names}
    yield golden.each_close("grad_norms", torch.stack([norms[name] for name in names]), 1e-3)


def losses(
    golden: Golden, model: GSDN, found: GSDNPredictions, prefix: str, relative: float
) -> Iterator[Comparison]:
    terms = model.loss(found, found.batch.truth)
    for name, theirs in TERMS.items():
        value = terms.terms[name] / getattr(model.loss_config, name)
        yield golden.each_close(f"{prefix}_{theirs}", value, relative)
    yield golden.each_close(f"{prefix}_loss", terms.total, relative)
