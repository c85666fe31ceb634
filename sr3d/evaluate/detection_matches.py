"""Which ground truth each detection means: what average precision and consistency start from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sr3d.geometry.box_set import BoxSet
from sr3d.geometry.iou import paired_iou

_CHUNK = 1 << 18  # pairs of detection and ground truth compared at a time: bounds memory

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DetectionMatches:
    """For each of K detections its best ground truth, taken by others or not.

    index: (K,) int64, a row of the ground truth, or −1 where its scene has none of the class.
    iou: (K,) float64, the overlap with it; 0 where there is none.
    """

    index: Indices
    iou: Floats

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Any) -> DetectionMatches:
        """The detections that a mask, slice or index array picks."""
        return DetectionMatches(self.index[rows], self.iou[rows])


def best_ground_truth(truth: BoxSet, detections: BoxSet, rotated: bool) -> DetectionMatches:
    """For each detection, in the order given, the ground truth of its scene and class with the
    highest IoU, the first of equals. Labels are 0 or above; scores play no part.

    rotated: compare rotated boxes; False ignores yaw.
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
        best[pair_row[winner]] = pair_truth[winner]  # reversed: the first of equals is written last
    return DetectionMatches(best, top)


def true_positives(ranked: DetectionMatches, iou_thr: float) -> NDArray[np.bool_]:
    """Which detections are right, `(K,)`: best score first, each takes its ground truth if their
    IoU is strictly above `iou_thr` and nobody took it before. Any mix of scenes and classes.
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
    """Cut `rows` into parts of about `_CHUNK` pairs; each row makes `length` of them."""
    cuts = np.flatnonzero(np.diff(np.cumsum(length) // _CHUNK)) + 1
    yield from (part for part in np.split(rows, cuts) if len(part))
