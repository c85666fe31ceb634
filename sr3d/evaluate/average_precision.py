"""Average precision by mmdet3d's rules (indoor_eval), vectorised over detections and scenes.

Per class, the detections of all scenes are ranked by score. Each is compared only with the ground
truth of its class and scene with the highest IoU. It is a true positive if that IoU is strictly
above the threshold and no better detection took that ground truth. AP is the VOC area under the
interpolated precision-recall curve. The mean is over the classes with ground truth.

Differences to mmdet3d: equal scores keep the order of the input (there: any order), overlaps and
curves are computed in float64 (there: float32), and a class with detections but no ground truth is
omitted (there: NaN, which makes the mean NaN).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d.evaluate.detection_matches import DetectionMatches, best_ground_truth, true_positives
from sr3d.geometry.box_set import BoxSet


def average_precision(
    truth: BoxSet,
    detections: BoxSet,
    classes: Sequence[str],
    iou_thrs: Sequence[float] = (0.25, 0.5),
    *,
    rotated: bool,
) -> dict[str, Any]:
    """AP of scored `detections` against `truth`, in percent. Labels index `classes`.

    Returns `{"AP25": …, "AP50": …, "per_class": {name: {"AP25": …, "AP50": …}},
    "without_ground_truth": [names], "detected_without_ground_truth": [names]}`. Classes without
    ground truth are omitted from `per_class` and the mean. The last list has the detected ones
    among them. A class with ground truth but no detection has AP 0. The mean is 0 if no class has
    ground truth. No value is NaN.
    truth. No value is NaN.

    rotated: compare rotated boxes. False ignores the yaw.

    Raises:
        ValueError: detections without scores, or a label outside `classes`.
    """
    matching = best_ground_truth(truth, detections, rotated)
    return score_matches(truth, detections, matching, classes, iou_thrs)


def score_matches(
    truth: BoxSet,
    detections: BoxSet,
    matching: DetectionMatches,
    classes: Sequence[str],
    iou_thrs: Sequence[float] = (0.25, 0.5),
) -> dict[str, Any]:
    """`average_precision` from a given result of `best_ground_truth`."""
    if detections.score is None:
        raise ValueError("detections need scores")
    if len(matching) != len(detections):
        raise ValueError(f"a matching of {len(matching)} for {len(detections)} detections")
    labels = np.concatenate([truth.label, detections.label])
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(f"labels must lie in 0 to {len(classes) - 1}")

    best_first = np.argsort(-detections.score, kind="stable")
    ranked, ranked_label = matching[best_first], detections.label[best_first]
    names = [f"AP{round(100 * iou_thr)}" for iou_thr in iou_thrs]
    per_class = {}
    for label, name in enumerate(classes):
        positives = int((truth.label == label).sum())
        if positives:
            mine = ranked[ranked_label == label]
            per_class[name] = {
                key: 100 * float(precision_at_hits(true_positives(mine, iou_thr)).sum() / positives)
                for key, iou_thr in zip(names, iou_thrs, strict=True)
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


def precision_at_hits(right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Interpolated precision at each true positive of a ranking, best score first.

    The i-th value, from 0, belongs to a recall of (i + 1) / positives. Their sum over the positives
    is the VOC average precision.

    right: (K,) whether each detection of a class is a true positive. Returns a value per true
    positive, 0 to 1.
    """
    found = np.cumsum(right)
    precision = found / np.arange(1, len(right) + 1)
    ceiling = np.maximum.accumulate(precision[::-1])[::-1]
    return ceiling[right]
