"""DLLA's golden files: liuxinrun/dlla at a7ab343, both heads on MinkowskiEngine 0.5.4.

Each scan passes the network once. Then both phases of training take the loss of the same outputs:
0, in which the rule of the candidates decides, and 1, in which learned distances do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

import sr3d
from sr3d.detectors.dlla import loss as dlla_loss
from sr3d.detectors.dlla.config import DLLALoss
from sr3d.detectors.dlla.detector import FCAF3DDLLA, TR3DDLLA, DLLADetector
from sr3d.detectors.dlla.loss import LocalizedPredictions
from sr3d.detectors.dlla.matcher import Noise
from sr3d.detectors.dlla.names import fcaf3d_to_original, tr3d_to_original
from sr3d.detectors.outputs import Losses
from sr3d.losses.clusters import cluster_closeness, cluster_spread
from tests.detectors.golden.comparing import Comparison, Golden, detections
from tests.detectors.golden.fcaf3d import cloud_of, in_order, truth_of
from tests.detectors.golden.weights import draw, rebuilt, shapes_in, shapes_of, through_file

CONVS = ("bbox", "reg", "center", "cls", "localization")
SCALES = {f"head.{kind}_conv.kernel": 0.05 for kind in CONVS}
BOX_BIAS = "head.bbox_conv.bias"
INPUTS = {
    "point_idx": "rows of the scan that are the points",
    "gt_boxes": "input of the loss",
    "gt_labels": "input of the loss",
    **{f"l{i}_step": "which rows are stored" for i in range(4)},
    **{f"noise_{kind}": "input of the loss" for kind in ("p", "label", "box")},
    **{f"p{phase}_grad_names": "names of weights" for phase in range(2)},
}
TERMS = {
    "box": "bbox_loss",
    "cls": "cls_loss",
    "localization": "localization_loss",
    "inter": "cluster_loss_inter",
    "intra": "cluster_loss_intra",
    "denoising": "dn_loss",
}
CLOSE = 1e-5  # of the largest value
BY_PRODUCTS = 5e-5  # likewise. The original computes distances of matches by products of matrices


@dataclass(frozen=True)
class Variant:
    """One of the two detectors. activated: what is stored of the raw box outputs (N, 6)."""

    kind: type[DLLADetector]
    to_original: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    activated: Callable[[Tensor], Tensor]


VARIANTS = {
    "tr3d": Variant(
        TR3DDLLA, tr3d_to_original, lambda reg: torch.cat([reg[:, :3], reg[:, 3:].exp()], dim=1)
    ),
    "fcaf3d": Variant(FCAF3DDLLA, fcaf3d_to_original, torch.exp),
}


@dataclass
class Elements:
    """What the losses of the matches are before their means."""

    closeness: list[Tensor] = field(default_factory=list)
    spread: list[Tensor] = field(default_factory=list)

    def noted_closeness(self, *args: Tensor) -> Tensor:
        self.closeness.append(cluster_closeness(*args))
        return self.closeness[-1]

    def noted_spread(self, *args: Tensor) -> Tensor:
        self.spread.append(cluster_spread(*args))
        return self.spread[-1]


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    name = "fcaf3d" if golden.says("fcaf3d") else "tr3d"
    variant = VARIANTS[name]
    model = published(golden, folder, name)
    points, colors = cloud_of(golden)
    x = model.voxels([points], [colors])
    levels = model.run_network(x)
    with patch.object(model, "run_network", return_value=levels):
        found = model(x)
    coords = [level.sites.coords[:, 1:] for level, *_ in levels]
    with torch.no_grad():
        yield from outputs(golden, coords, levels, variant)
        yield from post_processing(golden, model, found)
    cells = torch.cat(coords)
    yield from training(golden, model, found, cells, variant, phase=0)
    model.zero_grad()
    yield from training(golden, model, found, cells, variant, phase=1)


def published(golden: Golden, folder: Path, name: str) -> DLLADetector:
    """The detector with a checkpoint as the original writes it."""
    variant = VARIANTS[name]
    shapes = shapes_in(golden.keys(f"dlla_{name}"))
    untrained = sr3d.load(f"{name}_dlla", dataset=golden.dataset, untrained=True)
    assert shapes == shapes_of(variant.to_original(untrained.state_dict()))
    weights = rebuilt(shapes, SCALES)
    if BOX_BIAS in shapes:  # so that boxes have positive sizes
        a = np.float32(0.1) * draw(BOX_BIAS, shapes[BOX_BIAS])
        base = np.array([0.5] * 3 + [-0.7] * 3, dtype=np.float32)
        weights[BOX_BIAS] = torch.from_numpy(a + base)
    content = {"state_dict": weights}
    return through_file(variant.kind, f"{name}_dlla", golden, folder / f"{name}.pth", content)


def outputs(
    golden: Golden,
    coords: list[Tensor],
    levels: Sequence[tuple[Any, ...]],
    variant: Variant,
) -> Iterator[Comparison]:
    """Every step-th row of each level, and means of all rows."""
    for i, (cells, (_, reg, cls, localization)) in enumerate(zip(coords, levels, strict=True)):
        yield golden.same(f"l{i}_n", len(cells))
        order = in_order(cells)[:: int(golden[f"l{i}_step"])]
        yield golden.same(f"l{i}_coords", cells[order])
        found = {"bbox": variant.activated(reg), "cls": cls, "loc": localization}
        for name, values in found.items():
            yield golden.close(f"l{i}_{name}", values[order], CLOSE)
            if name != "loc":
                mean = values.double().mean(dim=0)
                yield golden.each_close(f"l{i}_{name}_colmean", mean, CLOSE, CLOSE)


def post_processing(
    golden: Golden, model: DLLADetector, found: LocalizedPredictions
) -> Iterator[Comparison]:
    best, most = found.scores.amax(dim=1).sort(descending=True).values, model.inference.nms_pre
    yield golden.each_close("nms_pre_gap", best[most - 1] - best[most], 0, 5e-6)
    yield from detections(golden, model.select(found), scores=5e-6, boxes=2e-3)


def training(
    golden: Golden,
    model: DLLADetector,
    found: LocalizedPredictions,
    cells: Tensor,
    variant: Variant,
    phase: int,
) -> Iterator[Comparison]:
    """Positives, losses and the norms of all gradients, with batch norms in evaluation mode."""
    truth, elements = truth_of(golden), Elements()
    assigned: list[tuple[Any, ...]] = []
    localized_loss = dlla_loss.localized_loss

    def noted(*args: Any) -> Losses:
        assigned.append(args)
        return localized_loss(*args)

    noise = noise_of(golden, model.loss_config)
    model.start_epoch(phase)
    with (
        patch.object(Noise, "draw", return_value=noise),
        patch.object(dlla_loss, "cluster_closeness", elements.noted_closeness),
        patch.object(dlla_loss, "cluster_spread", elements.noted_spread),
        patch("sr3d.detectors.dlla.detector.localized_loss", noted),
    ):
        losses = model.loss(found, truth)
    (_, assignment, weights, *_) = assigned[0]
    order = positions(found, cells, assignment.positives.rows)
    yield from positives(golden, found, cells, assignment.positives, weights, order, phase)
    if phase:
        intra, denoising = elements.spread
        yield golden.close("p1_inter", elements.closeness[0][0], BY_PRODUCTS)
        yield golden.close("p1_intra_pos_order", intra[0][order] / len(order), BY_PRODUCTS)
        yield golden.close("p1_dn", denoising[0] / denoising.shape[1], BY_PRODUCTS)
    for name, theirs in TERMS.items():
        if f"p{phase}_{theirs}" in golden:
            yield golden.each_close(f"p{phase}_{theirs}", losses.terms[name], CLOSE)
        else:
            assert float(losses.terms[name]) == 0
    yield golden.each_close(f"p{phase}_total", losses.total, CLOSE)
    losses.total.backward(retain_graph=phase == 0)
    yield from gradients(golden, model, variant, phase)


def noise_of(golden: Golden, config: DLLALoss) -> Noise:
    """The original draws labels only for the ground truths whose class changes."""
    chance = torch.from_numpy(golden["noise_p"])
    labels = torch.zeros(len(chance), dtype=torch.int64)
    labels[chance < config.noise / 2] = torch.from_numpy(golden["noise_label"])
    return Noise(chance, labels, torch.from_numpy(golden["noise_box"]))


def positions(found: LocalizedPredictions, cells: Tensor, rows: Tensor) -> Tensor:
    """The order of the positives by level and cell."""
    keys = [*cells[rows].numpy().T[::-1], found.anchors.levels[rows].numpy()]
    return torch.from_numpy(np.lexsort(keys))


def positives(
    golden: Golden,
    found: LocalizedPredictions,
    cells: Tensor,
    owners: dlla_loss.Positives,
    weights: Tensor,
    order: Tensor,
    phase: int,
) -> Iterator[Comparison]:
    rows, own = owners.rows[order], f"p{phase}_pos"
    yield golden.same(f"{own}_level", found.anchors.levels[rows])
    yield golden.same(f"{own}_coords", cells[rows])
    yield golden.same(f"{own}_gt", owners.owner[order])
    if f"{own}_centerness" in golden:
        yield golden.close(f"{own}_centerness", weights[order], CLOSE)
    yield golden.close(f"{own}_box", found.boxes[rows, :6], CLOSE)
    yield golden.close(f"{own}_prob", found.logits[rows].sigmoid(), CLOSE)
    yield golden.close(f"{own}_loc", found.localization[rows, None], CLOSE)


def gradients(
    golden: Golden, model: DLLADetector, variant: Variant, phase: int
) -> Iterator[Comparison]:
    named = variant.to_original(dict(model.named_parameters()))
    norms = {name: p.grad.double().norm() for name, p in named.items() if p.grad is not None}
    names = golden[f"p{phase}_grad_names"].tolist()
    assert norms.keys() == {*names}
    found = torch.stack([norms[name] for name in names])
    # A shift of all keys changes no distance, so one of the norms is 0 up to rounding.
    yield golden.each_close(f"p{phase}_grad_norms", found, 1e-4, 1e-6)
