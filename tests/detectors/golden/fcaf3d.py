"""FCAF3D's golden files: SamsungLabs/fcaf3d at bcc7ddc, and mmdetection3d 1.4.0 ("core").

The yaw of SamsungLabs/fcaf3d is clockwise. Its assigner reads it so. Its NMS and its box loss take
it for counter-clockwise, so they compare boxes that are each mirrored about their own centre.

The network has 70 million weights, so each scan passes it once for everything, and a second time
with stronger pruning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

import sr3d
from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.fcaf3d import detector as fcaf3d_detector
from sr3d.detectors.fcaf3d import network as fcaf3d_network
from sr3d.detectors.fcaf3d.detector import FCAF3D, CentredPredictions
from sr3d.detectors.fcaf3d.names import published_name, to_samsung
from sr3d.detectors.fcaf3d.network import prune
from sr3d.geometry.boxes import Boxes, centerness
from sr3d.geometry.iou import paired_iou
from sr3d.sparse import SparseTensor
from tests.detectors.golden.comparing import Comparison, Golden, detections
from tests.detectors.golden.scans import alignment, stored_scan
from tests.detectors.golden.weights import draw, rebuilt, shapes_in, shapes_of, through_file
from tests.detectors.published import NAMINGS

SCALES = {f"neck_with_head.{kind}_conv.kernel": 0.05 for kind in ("centerness", "reg", "cls")}
STEM_NORM = "backbone.conv1.1.weight"  # (1, 64): drawn as a norm's weight, although of two axes
INPUTS = {
    "point_idx": "rows of the scan that are the points",
    "gt_boxes": "input of the loss",
    "gt_labels": "input of the loss",
    "grad_names": "names of weights",
    **{f"{pass_}l{i}_step": "which rows are stored" for pass_ in ("", "p3000_") for i in range(4)},
}
CLOSE = 1e-5  # of the largest value
PRUNED = 3000  # maximum number of cells per level of the second pass
STEM = "backbone.conv1.kernel"
# The originals' names of our terms, of SamsungLabs/fcaf3d and of mmdetection3d.
TERMS = {
    "cls": ("loss_cls", "cls_loss"),
    "box": ("loss_bbox", "bbox_loss"),
    "center": ("loss_centerness", "center_loss"),
}


@dataclass(frozen=True)
class Convention:
    """How the original of a file differs from us.

    samsung: whether it is SamsungLabs/fcaf3d. rotated: whether boxes have a yaw. colour_scale: our
    colours, divided by those that the original's network takes.
    """

    samsung: bool
    rotated: bool
    colour_scale: float

    @staticmethod
    def of(golden: Golden) -> Convention:
        samsung, rotated = not golden.says("core"), golden.dataset == "sunrgbd"
        return Convention(samsung, rotated, 255.0 if samsung and rotated else 1.0)

    @property
    def clockwise(self) -> bool:
        return self.samsung and self.rotated

    def yaw(self, values: Tensor) -> Tensor:
        """Boxes (N, 7) or raw outputs (N, 6 or 8) in the original's sign of yaw."""
        if not self.clockwise:
            return values
        values = values.clone()
        values[:, 6] = -values[:, 6]
        return values


@dataclass(frozen=True)
class Run:
    """One pass of a scan through the network.

    levels: per level, finest first, values by name: `coords` (M, 3) in voxels, and what the head
    makes of them. sizes: per pruned level, finest first, its cells before and after.
    """

    predictions: CentredPredictions
    levels: list[dict[str, Tensor]]
    sizes: list[tuple[int, int]]


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    convention = Convention.of(golden)
    model, cloud = published(golden, folder, convention), cloud_of(golden)
    found = run(model, cloud)
    with torch.no_grad():
        yield from outputs(golden, found, convention)
        yield from post_processing(golden, model, found, convention)
    yield from training(golden, model, found, convention)
    if f"p{PRUNED}_l0_n" in golden:
        model.zero_grad()
        model.bbox_head.pts_prune = PRUNED
        with torch.no_grad():
            yield from pruned(golden, model, run(model, cloud), convention)


def published(golden: Golden, folder: Path, convention: Convention) -> FCAF3D:
    """The detector with a checkpoint as the original writes it.

    mmdetection3d's has the tensors of SamsungLabs/fcaf3d under its own names.
    """
    suffix = "_sunrgbd" if golden.dataset == "sunrgbd" else ""
    shapes = shapes_in(golden.keys(f"fcaf3d{suffix}"))
    untrained = sr3d.load("fcaf3d", dataset=golden.dataset, untrained=True)
    assert shapes == shapes_of(to_samsung(untrained.state_dict()))
    norm = 1 + np.float32(0.1) * draw(STEM_NORM, shapes[STEM_NORM])
    weights = rebuilt(shapes, SCALES) | {STEM_NORM: torch.from_numpy(norm)}
    if not convention.samsung:
        weights = {_core_name(name): value for name, value in weights.items()}
    path = folder / "fcaf3d.pth"
    return through_file(FCAF3D, "fcaf3d", golden, path, {"state_dict": weights})


def _published_name(name: str, convention: Convention) -> str:
    return published_name(name) if convention.samsung else name


def _core_name(name: str) -> str:
    """mmdetection3d's name of a weight of SamsungLabs/fcaf3d."""
    for core, samsung in NAMINGS["samsung-fcaf3d"][1].items():
        if name.startswith(samsung):
            return core + name.removeprefix(samsung)
    return name


def cloud_of(golden: Golden) -> tuple[Tensor, Tensor]:
    """Points (N, 3), aligned in float32 as in the originals, and colours (N, 3) in [0, 1]."""
    scan = stored_scan(golden)[golden["point_idx"]]
    points, colors = scan[:, :3], scan[:, 3:]
    if golden.dataset == "scannet":
        matrix = alignment(golden).astype(np.float32)
        points = points @ matrix[:3, :3].T + matrix[:3, 3]
        colors = colors / np.float32(255)
    return torch.from_numpy(np.ascontiguousarray(points)), torch.from_numpy(colors.copy())


def truth_of(golden: Golden) -> GroundTruth:
    boxes = Boxes.from_array(golden["gt_boxes"]).tensor
    return GroundTruth.collate([boxes], [torch.from_numpy(golden["gt_labels"])])


def run(model: FCAF3D, cloud: tuple[Tensor, Tensor]) -> Run:
    sizes, raw = [], []

    def noted(x: SparseTensor, scores: SparseTensor, most: int) -> SparseTensor:
        kept = prune(x, scores, most)
        sizes.append((len(x.sites), len(kept.sites)))
        return kept

    points, colors = cloud
    hook = model.bbox_head.conv_reg.register_forward_hook(
        lambda _, __, output: raw.append(output.features)
    )
    with hook, patch.object(fcaf3d_network, "prune", noted):
        x = model.voxels([points], [colors])
        found = model.run_network(x)
        with patch.object(model, "run_network", return_value=found):
            predictions = model(x)
    levels = [
        {
            "coords": out.sites.coords[:, 1:],
            "reg": before_scale,
            "bbox": torch.cat([reg[:, :6].exp(), reg[:, 6:]], dim=1),
            "cls": cls,
            "ctr": center,
            "box": predictions.boxes[predictions.anchors.levels == i],
        }
        for i, ((out, reg, cls, center), before_scale) in enumerate(
            zip(found, raw[::-1], strict=True)
        )
    ]
    return Run(predictions, levels, sizes[::-1])


def outputs(
    golden: Golden, found: Run, convention: Convention, prefix: str = ""
) -> Iterator[Comparison]:
    """Every step-th row of each level, and mean and root mean square of all rows."""
    for i, level in enumerate(found.levels):
        own = f"{prefix}l{i}"
        yield golden.same(f"{own}_n", len(level["coords"]))
        order = in_order(level["coords"])[:: int(golden[f"{own}_step"])]
        for name, values in level.items():
            if f"{own}_{name}" not in golden:
                continue
            if name in ("reg", "bbox", "box"):
                values = convention.yaw(values)
            width = golden[f"{own}_{name}"].shape[1]
            rows, every = values[order][:, :width], values[:, :width].double()
            same = golden.same if name == "coords" else golden.close
            yield same(f"{own}_{name}", rows)
            for key, column in (
                (f"{own}_{name}_colmean", every.mean(dim=0)),
                (f"{own}_{name}_colrms", every.square().mean(dim=0).sqrt()),
            ):
                if key in golden:
                    yield golden.each_close(key, column, CLOSE, CLOSE)
    if f"{prefix}prune_sizes" in golden:
        yield golden.same(f"{prefix}prune_sizes", found.sizes)


def in_order(coords: Tensor) -> np.ndarray:
    return np.lexsort(coords.numpy().T[::-1])


def post_processing(
    golden: Golden, model: FCAF3D, found: Run, convention: Convention
) -> Iterator[Comparison]:
    predictions, most = found.predictions, model.inference.nms_pre
    best = predictions.scores.amax(dim=1)
    candidates = 0
    for i in range(len(found.levels)):
        own = best[predictions.anchors.levels == i].sort(descending=True).values
        candidates += min(most, len(own))
        if f"l{i}_nms_pre_gap" in golden:
            gap = own[most - 1] - own[most] if len(own) > most else torch.nan
            yield golden.each_close(f"l{i}_nms_pre_gap", gap, 0, 5e-6)
    if "cand_n" in golden:
        yield golden.same("cand_n", candidates)
    selected = model.select(predictions)
    if convention.clockwise:
        yield from counts(golden, selected.labels, "det_n_cw_nms", "det_per_class_cw_nms")
        mirrored = replace(predictions, boxes=convention.yaw(predictions.boxes))
        selected = model.select(mirrored)
    if "det_n" in golden:
        yield from counts(golden, selected.labels, "det_n", "det_per_class")
    yield from detections(golden, selected, scores=5e-6, boxes=2e-3)


def counts(golden: Golden, labels: Tensor, all_: str, per_class: str) -> Iterator[Comparison]:
    yield golden.same(all_, len(labels))
    yield golden.same(per_class, torch.bincount(labels, minlength=len(golden[per_class])))


def training(
    golden: Golden, model: FCAF3D, found: Run, convention: Convention
) -> Iterator[Comparison]:
    """Positives, losses and the norms of all gradients, with batch norms in evaluation mode."""
    predictions, truth = found.predictions, truth_of(golden)

    def original_iou(boxes: Tensor, targets: Tensor, rotated: bool) -> Tensor:
        return paired_iou(convention.yaw(boxes), convention.yaw(targets), rotated)

    with patch.object(fcaf3d_detector, "paired_iou", original_iou):
        yield from positives(golden, model, found, truth, convention)
        losses = model.loss(predictions, truth)
    for name, (samsung, core) in TERMS.items():
        yield golden.each_close(samsung if convention.samsung else core, losses.terms[name], 1e-6)
    if "loss_total" in golden:
        yield golden.each_close("loss_total", losses.total, 1e-6)
    losses.total.backward()
    # In the kernel of the stem stands the scale of the original's colours.
    scales = {STEM: convention.colour_scale}
    norms = {
        _published_name(name, convention): p.grad.double().norm() / scales.get(name, 1.0)
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    names = golden["grad_names"].tolist()
    assert norms.keys() == {*names}
    yield golden.each_close("grad_norms", torch.stack([norms[name] for name in names]), 1e-4)


def positives(
    golden: Golden, model: FCAF3D, found: Run, truth: GroundTruth, convention: Convention
) -> Iterator[Comparison]:
    """The positives by level and cell, with their ground truths."""
    predictions = found.predictions
    matches = model.assigner(predictions.anchors, predictions.boxes, predictions.logits, truth)
    rows = (matches >= 0).nonzero()[:, 0]
    cells = torch.cat([level["coords"] for level in found.levels])[rows].long()
    levels = predictions.anchors.levels[rows]
    order = torch.from_numpy(np.lexsort([*cells.numpy().T[::-1], levels.numpy()]))
    rows, owner = rows[order], matches[rows[order]]
    boxes, targets = predictions.boxes[rows].detach(), truth.boxes[owner]
    yield golden.same("pos_level", levels[order])
    yield golden.same("pos_coords", cells[order])
    if "pos_gt" not in golden:
        return
    yield golden.same("pos_gt", owner)
    yield golden.same("pos_label", truth.labels[owner])
    central = centerness(predictions.anchors.positions[rows], targets)
    yield golden.close("pos_centerness", central)
    yield golden.close("pos_box", convention.yaw(targets))
    width = golden["pos_pred_box"].shape[1]
    yield golden.close("pos_pred_box", convention.yaw(boxes)[:, :width])
    iou = fcaf3d_detector.paired_iou(boxes, targets, model.dataset.rotated)
    yield golden.close("pos_iou", iou)


def pruned(
    golden: Golden, model: FCAF3D, found: Run, convention: Convention
) -> Iterator[Comparison]:
    """The second pass, whose every kept cell is stored."""
    prefix = f"p{PRUNED}_"
    yield from outputs(golden, found, convention, prefix)
    for i, level in enumerate(found.levels):
        cells = level["coords"][in_order(level["coords"])]
        yield golden.same(f"{prefix}l{i}_coords_all", cells)
    predictions = found.predictions
    mirrored = replace(predictions, boxes=convention.yaw(predictions.boxes))
    labels = model.select(mirrored).labels
    yield from counts(golden, labels, f"{prefix}det_n", f"{prefix}det_per_class")
