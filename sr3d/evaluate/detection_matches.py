"""Match detections to ground truth, for average precision and consistency."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sr3d.geometry.box_set import BoxSet
from sr3d.geometry.iou import paired_iou

_CHUNK = 1 << 18  # pairs of detection and ground truth compared at once, to limit memory

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DetectionMatches:
    """The best ground truth of each of K detections, whether taken by others or not.

    index: (K,) int64, a row of the ground truth, or −1 if its scene has none of the class.
    iou: (K,) float64, the IoU with it, 0 if there is none.
    """

    index: Indices
    iou: Floats

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Any) -> DetectionMatches:
        """The detections at a mask, slice or index array."""
        return DetectionMatches(self.index[rows], self.iou[rows])


def best_ground_truth(truth: BoxSet, detections: BoxSet, rotated: bool) -> DetectionMatches:
    """The ground truth of its scene and class with the highest IoU, for each detection in order.

    Of equal IoUs the first counts. Labels are 0 or more. Scores are not used.

    rotated: compare rotated boxes. False ignores the yaw.
    Source: the choice within mmdet3d's indoor_eval, with overlaps in float64.
    """
    best = np.full(len(detections), -1, dtype=np.int64)
    top = np.zeros(len(detections))
    true_key, key = _scene_class_keys(truth, detections)
    order = np.argsort(true_key, kind="stable")
    first = np.searchsorted(true_key[order], key, side="left")
    count = np.searchsorted(true_key[order], key, side="right") - first

    with_truth = np.flatnonzero(count)
    for rows in _chunks(with_truth, count[with_truth]):
        # All pairs of these detections with the ground truth of their scene and class, flat.
        length = count[rows]
        begin = np.cumsum(length) - length
        step = np.arange(length.sum()) - np.repeat(begin, length)
        pair_truth = order[np.repeat(first[rows], length) + step]
        pair_row = np.repeat(rows, length)
        iou = paired_iou(
            torch.from_numpy(detections.box[pair_row]).double(),
            torch.from_numpy(truth.box[pair_truth]).double(),
            rotated,
        ).numpy()
        top[rows] = np.maximum.reduceat(iou, begin)
        winner = np.flatnonzero(iou == top[pair_row])[::-1]
        best[pair_row[winner]] = pair_truth[winner]  # reversed, so the first of equals wins
    return DetectionMatches(best, top)


def true_positives(ranked: DetectionMatches, iou_thr: float) -> NDArray[np.bool_]:
    """`(K,)` bool: whether each detection is a true positive.

    From the best score down, a detection takes its ground truth if their IoU is strictly above
    `iou_thr` and no earlier one took it. Scenes and classes may be mixed.
    """
    hit = np.flatnonzero(ranked.iou > iou_thr)
    taker = np.unique(ranked.index[hit], return_index=True)[1]  # the first to reach each
    right = np.zeros(len(ranked), dtype=bool)
    right[hit[taker]] = True
    return right


def _scene_class_keys(truth: BoxSet, detections: BoxSet) -> tuple[Indices, Indices]:
    """One number for each (scene, class), the same in both sets."""
    scene = np.unique(np.concatenate([truth.scene, detections.scene]), return_inverse=True)[1]
    label = np.concatenate([truth.label, detections.label])
    key = scene.astype(np.int64) * (int(label.max(initial=0)) + 1) + label
    return key[: len(truth)], key[len(truth) :]


def _chunks(rows: Indices, length: Indices) -> Iterator[Indices]:
    """Split `rows` into parts of about `_CHUNK` pairs. Each row makes `length` pairs."""
    cuts = np.flatnonzero(np.diff(np.cumsum(length) // _CHUNK)) + 1
    yield from (part for part in np.split(rows, cuts) if len(part))
