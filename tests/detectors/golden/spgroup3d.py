"""SPGroup3D's golden files: zyrant/SPGroup3D at 1812835.

Rounding decides which cell a vote lies in, and one vote changes the features around it by more than
rounding. So our offsets of votes are compared, and the original's replace them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.readers.scannet import read_mesh
from sr3d.data.scene import Scene
from sr3d.detectors.spgroup3d.assignment import centre_targets
from sr3d.detectors.spgroup3d.detector import SPGroup3D, SuperpointBatch, VotedPredictions
from sr3d.detectors.spgroup3d.loss import ObjectVotes
from sr3d.geometry.boxes import Boxes
from sr3d.losses.focal import class_targets
from sr3d.sparse import SparseTensor
from tests.detectors.golden.comparing import Comparison, Golden, detections
from tests.detectors.golden.weights import draw, rebuilt, shapes_in, shapes_of, through_file
from tests.shared_data import shared

SCALES = {"head.*.6.weight": 0.05, "voxel_encoder.offset_block.6.kernel": 0.05}
CLASS_BIAS, BOX_BIAS = "head.conv_cls.6.bias", "head.conv_reg.6.bias"
BOX_CENTRE = (0.4, 0.4, 0.4, -0.9, -0.9, -0.9, 0.0, 0.0)
INPUTS = {
    "point_index": "rows of the scan that are the points",
    "points": "input",
    "rgb": "input",
    "superpoints": "input: the superpoint of each point",
    "pts_semantic_mask": "input: the class of each point",
    "pts_instance_mask": "input: the object of each point",
    "gt_boxes": "input",
    "gt_labels": "input",
}
CLOSE = 2e-5  # of the largest value
ROWS, SELECTED, FIRST = 97, 256, 96  # every 97th row, up to 256, and the first 96 superpoints
# The original's names of our terms.
TERMS = {"cls": "cls", "center": "center", "box": "bbox", "vote": "vote"}


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    model, scene = published(golden, folder), scene_of(golden)
    batch = model.inputs([scene])
    yield golden.same("n_voxels", [len(batch.x.sites)])
    with torch.no_grad():
        found = yield from intermediate(golden, model.eval(), batch)
        yield from outputs(golden, model, found)
        truth = GroundTruth.of([scene], torch.device("cpu"))
        yield from training(golden, model, found, truth)


def published(golden: Golden, folder: Path) -> SPGroup3D:
    """The detector with a checkpoint as the original writes it."""
    rotated = golden.dataset == "sunrgbd"
    shapes = shapes_in(golden.keys("spgroup3d_sunrgbd" if rotated else "spgroup3d"))
    weights = rebuilt(shapes, SCALES)
    for name, centre in ((CLASS_BIAS, (-3.5,)), (BOX_BIAS, BOX_CENTRE)):
        bias = np.float32(0.1) * draw(name, shapes[name])
        own = np.asarray(centre, dtype=np.float32)[: len(bias)]
        weights[name] = torch.from_numpy(bias + own)
    path = folder / "spgroup3d.pth"
    model = through_file(SPGroup3D, "spgroup3d", golden, path, {"state_dict": weights})
    assert shapes == shapes_of(model.state_dict())
    assert sum(p.numel() for p in model.parameters()) == (16_837_227 if rotated else 16_838_769)
    return model


def scene_of(golden: Golden) -> Scene:
    """The cloud. ScanNet's objects are those of the masks: the box of an object is the one nearest
    to the middle of its points.
    """
    points = torch.from_numpy(golden["points"])
    colors = torch.from_numpy(golden["rgb"] if "rgb" in golden else _colors_of_mesh(golden))
    boxes = golden["gt_boxes"]
    boxes = np.pad(boxes, ((0, 0), (0, 7 - boxes.shape[1])))
    instance = None
    if golden.dataset == "scannet":
        instance = torch.from_numpy(_boxes_of_points(golden, points.numpy(), boxes))
    return Scene(
        "scan",
        points,
        colors,
        Boxes(torch.from_numpy(boxes.astype(np.float32))),
        torch.from_numpy(golden["gt_labels"]),
        instance,
        torch.from_numpy(golden["superpoints"].astype(np.int64)),
    )


def _colors_of_mesh(golden: Golden) -> np.ndarray:
    """Of the vertices of the raw scan that are the points."""
    mesh = shared(f"real/scannet/scans/{golden.scene}/{golden.scene}_vh_clean_2.ply")
    return read_mesh(mesh)[1][golden["point_index"]]


def _boxes_of_points(golden: Golden, points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    found = np.full(len(points), -1)
    owner, semantic = golden["pts_instance_mask"], golden["pts_semantic_mask"]
    for number in np.unique(owner):
        own = owner == number
        if semantic[own][0] < 18:
            middle = (points[own].min(axis=0) + points[own].max(axis=0)) / 2
            found[own] = np.linalg.norm(boxes[:, :3] - middle, axis=1).argmin()
    return found


def intermediate(
    golden: Golden, model: SPGroup3D, batch: SuperpointBatch
) -> Generator[Comparison, None, VotedPredictions]:
    """Runs the network. Returns its predictions."""
    seen: dict[str, tuple[Any, Any]] = {}
    encoder = model.voxel_encoder

    def noted(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _, inputs, output: seen.update({name: (inputs, output)})

    named: dict[str, nn.Module] = {"backbone": model.backbone, "offsets": encoder.offset_block}
    named |= {f"attention{i}": layer for i, layer in enumerate(encoder.attn_layers)}
    named |= {f"fusion{i}": layer for i, layer in enumerate(encoder.ffn_layers)}
    offsets: list[Tensor] = []

    def replaced(_: nn.Module, inputs: object, output: SparseTensor) -> SparseTensor:
        offsets.append(output.features[:, :3])
        theirs = torch.from_numpy(golden["vote_offsets"])
        return output.replace(torch.cat([theirs, output.features[:, 3:]], dim=1))

    hooks = [layer.register_forward_hook(noted(name)) for name, layer in named.items()]
    hooks.append(encoder.offset_block.register_forward_hook(replaced))
    found = model(batch)

    x = seen["backbone"][1]
    assert isinstance(x, SparseTensor)
    yield golden.same("backbone_coords", x.sites.coords)
    yield golden.close("backbone_feats_sel", x.features[::ROWS][:SELECTED], CLOSE)
    yield golden.close("backbone_feats_mean", x.features.double().mean(dim=0), CLOSE)
    yield golden.close("backbone_feats_absmean", x.features.double().abs().mean(dim=0), CLOSE)
    raw = seen["offsets"][1]
    assert isinstance(raw, SparseTensor)
    yield golden.close("vote_raw_sel", raw.features[::ROWS][:SELECTED], CLOSE)
    yield golden.close("vote_offsets", offsets[0], CLOSE)
    order = np.unique(golden["orgin_superpoints"], return_inverse=True)[1]
    yield Comparison("orgin_superpoints", batch.groups.index.numpy(), order.reshape(-1), 0, 0)
    votes = encoder.votes(x)
    for hook in hooks:
        hook.remove()
    cells, first, _ = encoder._cells(x, votes.positions)
    yield golden.same("grid4_n", [len(cells)])
    keep = np.zeros(len(votes.positions), dtype=bool)
    keep[first.numpy()] = True
    yield golden.same("grid4_kept_packbits", np.packbits(keep))
    for i in range(len(encoder.attn_layers)):
        inputs, output = seen[f"attention{i}"]
        assert isinstance(inputs, tuple)
        yield golden.close(f"sp_feats_in{i}", inputs[0][:FIRST], CLOSE)
        yield golden.close(f"sp_feats_att{i}", output[:FIRST], CLOSE)
    for i in range(len(encoder.ffn_layers)):
        fused = seen[f"fusion{i}"][1]
        assert isinstance(fused, SparseTensor)
        yield golden.same(f"ffn{i}_out_coords", fused.sites.coords[::ROWS][:128])
        yield golden.close(f"ffn{i}_out_feats", fused.features[::ROWS][:128], CLOSE)
    return found


def outputs(golden: Golden, model: SPGroup3D, found: VotedPredictions) -> Iterator[Comparison]:
    each = found.superpoints
    centers = each.anchors.positions
    with_scene = torch.cat([each.anchors.scenes[:, None], centers], dim=1)
    yield golden.each_close("sp_centers", with_scene, 0, 2e-5)
    yield golden.each_close("voxel_coods", with_scene, 0, 2e-5)
    yield golden.each_close("anchor_points", centers, 0, 2e-5)
    yield golden.close("voxel_feats", each.features[:FIRST], CLOSE)
    yield golden.close("voxel_feats_mean", each.features.double().mean(dim=0), CLOSE)
    yield golden.close("center_pred", each.centerness[:, None], CLOSE)
    yield golden.close("bbox_pred", each.coded, CLOSE)
    yield golden.close("cls_pred", each.logits, CLOSE)
    boxes = golden["boxes_all"]
    yield golden.close("boxes_all", each.boxes[:, : boxes.shape[1]], CLOSE)
    (kept,) = model.detections(found)
    yield from detections(golden, kept, 1e-5, 1e-3)


def training(
    golden: Golden, model: SPGroup3D, found: VotedPredictions, truth: GroundTruth
) -> Iterator[Comparison]:
    each, assigner = found.superpoints, model.criterion.assigner
    matches = assigner(each.anchors, each.boxes, each.logits, truth)
    yield golden.close("cls_cost", assigner.class_cost(each.logits, truth.labels))
    yield golden.close("reg_cost", assigner.box_cost(each.boxes, truth.boxes))
    yield golden.same("cls_targets", class_targets(matches, truth.labels))
    rows = (matches >= 0).nonzero().squeeze(1)
    owned = truth.boxes[matches[rows]]
    central = torch.full_like(each.centerness, -1)
    central[rows] = centre_targets(each.anchors.positions[rows], owned)
    yield golden.each_close("center_targets", central, 1e-4, 1e-5)
    theirs = golden["bbox_targets"]
    mine = theirs.copy()
    mine[rows.numpy()] = owned[:, : theirs.shape[1]].numpy()
    yield golden.each_close("bbox_targets", mine, 1e-6)
    batch = found.batch
    votes = ObjectVotes.of(batch.positions, batch.owner, batch.scenes, truth)
    yield golden.each_close("vote_targets_sel", votes.offsets[::13], 0, 1e-5)
    yield golden.same("vote_mask", batch.owner >= 0)
    loss = model.loss(found, truth)
    for name, original in TERMS.items():
        yield golden.each_close(f"loss_{original}_loss", loss.terms[name], 2e-5)
    yield golden.each_close("loss_total", loss.total, 2e-5)
