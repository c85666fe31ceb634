"""Assigners called with the tensors of one scene, for tests that need no more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.matching import spota
from sr3d.matching.align_ota import AlignOTA
from sr3d.matching.assigner import Anchors
from sr3d.matching.fcaf3d import FCAF3DAssigner
from sr3d.matching.simota import SimOTA
from sr3d.matching.spota import SPOTA
from sr3d.matching.spota_pruned import PrunedSPOTA
from sr3d.matching.tr3d import TR3DAssigner

_NAMES = tuple(range(64))  # so that the label of a ground truth is its level


def _anchors(positions: Tensor, levels: Tensor | None = None, strides: Any = None) -> Anchors:
    zero = torch.zeros(len(positions), dtype=torch.int64)
    return Anchors(positions, zero if levels is None else levels, strides, zero, 1)


def _truth(boxes: Tensor, labels: Tensor | None = None) -> GroundTruth:
    zero = torch.zeros(len(boxes), dtype=torch.int64)
    return GroundTruth(boxes, zero if labels is None else labels, zero)


def tr3d_assign(
    anchors: Tensor, levels: Tensor, gt: Tensor, gt_levels: Tensor, **options: Any
) -> Tensor:
    assigner = TR3DAssigner(_NAMES, **options)
    return assigner(_anchors(anchors, levels), gt, gt, _truth(gt, gt_levels))


def fcaf3d_assign(anchors: Tensor, levels: Tensor, gt: Tensor, **options: Any) -> Tensor:
    return FCAF3DAssigner(**options)(_anchors(anchors, levels), gt, gt, _truth(gt))


def simota_assign(
    anchors: Tensor,
    strides: Tensor,
    pred: Tensor,
    logits: Tensor,
    gt: Tensor,
    labels: Tensor,
    **options: Any,
) -> Tensor:
    places = _anchors(anchors, strides=strides)
    return SimOTA(**options)(places, pred, logits, _truth(gt, labels))


def align_ota_assign(
    anchors: Tensor,
    strides: Tensor,
    pred: Tensor,
    logits: Tensor,
    gt: Tensor,
    labels: Tensor,
    **options: Any,
) -> Tensor:
    places = _anchors(anchors, strides=strides)
    return AlignOTA(**options)(places, pred, logits, _truth(gt, labels))


def spota_assign(
    anchors: Tensor,
    anchor_levels: Tensor,
    pred: Tensor,
    gt: Tensor,
    gt_levels: Tensor,
    *,
    logits: Tensor | None = None,
    gt_labels: Tensor | None = None,
    kind: type[SPOTA] = PrunedSPOTA,
    **options: Any,
) -> Tensor:
    """With `logits`, labels are classes; without, they are levels."""
    assigner = kind(class_levels=_NAMES, **options)
    labels = gt_levels if gt_labels is None else gt_labels
    return assigner(
        _anchors(anchors, anchor_levels),
        pred,
        pred if logits is None else logits,
        _truth(gt, labels),
    )


def spota_cost(
    anchors: Tensor,
    pred: Tensor,
    gt: Tensor,
    *,
    logits: Tensor | None = None,
    gt_labels: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """(N, M)."""
    truth = _truth(gt, gt_labels)
    return SPOTA(**options).cost_matrix(anchors, pred, pred if logits is None else logits, truth).T


def center_prior(anchors: Tensor, centers: Tensor) -> Tensor:
    """(N, M)."""
    return spota.center_prior(anchors[:, None], centers)


def vertex_distance(pred: Tensor, gt: Tensor, *options: Any) -> Tensor:
    """(N, M)."""
    return spota.vertex_distance(pred[:, None], gt, *options)
