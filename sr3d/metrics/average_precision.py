"""Average precision by mmdet3d's rules (indoor_eval), vectorised over detections and scenes.

Per class, the detections of all scenes go from the best score down. Each looks only at the ground
truth of its class and scene with the highest IoU, and is a true positive if that IoU is strictly
above the threshold and no better detection took that ground truth. AP is the VOC area under the
interpolated precision-recall curve; the mean runs over the classes that have ground truth.

Different from mmdet3d: equal scores keep the order of the input (there: arbitrary), overlaps and
curves are computed in float64 (there: float32), and a class that has detections but no ground truth
is left out (there: NaN, which spoils the mean).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sr3d.geometry.box_set import BoxSet
from sr3d.geometry.iou import paired_iou

_CHUNK = 1 << 18  # pairs of detection and ground truth compared at a time: bounds memory

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


def average_precision(
    truth: BoxSet,
    detections: BoxSet,
    classes: Sequence[str],
    thresholds: Sequence[float] = (0.25, 0.5),
    *,
    rotated: bool,
) -> dict[str, Any]:
    """AP of scored `detections` against `truth`, in percent; labels index `classes`.

    Returns `{"AP25": …, "AP50": …, "per_class": {name: {"AP25": …, "AP50": …}},
    "without_ground_truth": [names], "detected_without_ground_truth": [names]}`. Classes without
    ground truth are left out of `per_class` and the mean; the last list holds those of them that
    were detected nevertheless. A class with ground truth but no detection has AP 0, and so has the
    mean if no class has ground truth. Never NaN.

    rotated: compare rotated boxes; False ignores yaw.

    Raises:
        ValueError: detections without scores, or a label outside `classes`.
    """
    if detections.score is None:
        raise ValueError("detections need scores")
    labels = np.concatenate([truth.label, detections.label])
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(f"labels must lie in 0 to {len(classes) - 1}")

    ranked = detections[np.argsort(-detections.score, kind="stable")]
    best, iou = _best_ground_truth(truth, ranked, rotated)
    names = [f"AP{round(100 * threshold)}" for threshold in thresholds]
    per_class = {}
    for label, name in enumerate(classes):
        positives = int((truth.label == label).sum())
        if positives:
            mine = ranked.label == label
            per_class[name] = {
                key: 100 * _area(_true_positives(best[mine], iou[mine], threshold), positives)
                for key, threshold in zip(names, thresholds, strict=True)
            }
    without = [name for name in classes if name not in per_class]
    detected = {classes[label] for label in np.unique(detections.label)}
    mean = {
        key: float(np.mean([value[key] for value in per_class.values()])) if per_class else 0.0
        for key in names
    }
    return {
        **mean,
        "per_class": per_class,
        "without_ground_truth": without,
        "detected_without_ground_truth": [name for name in without if name in detected],
    }


def _best_ground_truth(truth: BoxSet, ranked: BoxSet, rotated: bool) -> tuple[Indices, Floats]:
    """For each detection the ground truth of its scene and class with the highest IoU, the first
    of equals, and that IoU; index -1 and IoU 0 where there is none.
    """
    best = np.full(len(ranked), -1, dtype=np.int64)
    top = np.zeros(len(ranked))
    true_key, key = _scene_class_keys(truth, ranked)
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
            torch.from_numpy(ranked.box[pair_row]).double(),
            torch.from_numpy(truth.box[pair_truth]).double(),
            rotated,
        ).numpy()
        top[rows] = np.maximum.reduceat(iou, begin)
        winner = np.flatnonzero(iou == top[pair_row])[::-1]
        best[pair_row[winner]] = pair_truth[winner]  # reversed: the first of equals is written last
    return best, top


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


def _true_positives(best: Indices, iou: Floats, threshold: float) -> NDArray[np.bool_]:
    """Which detections of one class, best score first, are right."""
    hit = np.flatnonzero(iou > threshold)
    taker = np.unique(best[hit], return_index=True)[1]  # the first to reach each ground truth
    right = np.zeros(len(best), dtype=bool)
    right[hit[taker]] = True
    return right


def _area(right: NDArray[np.bool_], positives: int) -> float:
    """VOC area under the precision-recall curve, made monotone from the right; 0 to 1."""
    found = np.cumsum(right)
    precision = found / np.arange(1, len(right) + 1)
    ceiling = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall rises by 1 / positives at each true positive and nowhere else.
    return float(ceiling[right].sum() / positives)
