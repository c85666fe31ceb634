"""indoor_eval's rules written out one detection after the other, without numpy tricks.

Overlaps come from shapely, so that nothing is shared with the code under test.
"""

from __future__ import annotations

from typing import Any

import shapely  # type: ignore[import-untyped]
from shapely import affinity

from sr3d.geometry.box_set import BoxSet


def iou(a: list[float], b: list[float]) -> float:
    shared = _footprint(a).intersection(_footprint(b)).area
    shared *= max(
        0.0, min(a[2] + a[5] / 2, b[2] + b[5] / 2) - max(a[2] - a[5] / 2, b[2] - b[5] / 2)
    )
    volume = a[3] * a[4] * a[5] + b[3] * b[4] * b[5]
    return float(shared / (volume - shared))


def _footprint(box: list[float]) -> shapely.Polygon:
    x, y, _, dx, dy, _, yaw = box
    upright = shapely.box(x - dx / 2, y - dy / 2, x + dx / 2, y + dy / 2)
    return affinity.rotate(upright, yaw, use_radians=True) if yaw else upright


def reference(
    truth: BoxSet, detections: BoxSet, classes: list[str], thresholds: tuple[float, ...]
) -> dict[str, Any]:
    """What `average_precision` returns, without its lists of names."""
    per_class: dict[str, dict[str, float]] = {}
    for label, name in enumerate(classes):
        if any(truth.label == label):
            per_class[name] = {
                f"AP{round(threshold * 100)}": _class_ap(truth, detections, label, threshold)
                for threshold in thresholds
            }
    keys = [f"AP{round(threshold * 100)}" for threshold in thresholds]
    mean = dict.fromkeys(keys, 0.0)
    for key in keys:
        if per_class:
            mean[key] = sum(value[key] for value in per_class.values()) / len(per_class)
    return {**mean, "per_class": per_class}


def _class_ap(truth: BoxSet, detections: BoxSet, label: int, threshold: float) -> float:
    assert detections.score is not None
    rows = [i for i in range(len(detections)) if detections.label[i] == label]
    rows.sort(key=lambda i: -float(detections.score[i]))  # type: ignore[index]
    taken: set[int] = set()
    right = []
    for i in rows:
        best, best_iou = -1, float("-inf")
        for j in range(len(truth)):
            if truth.label[j] == label and truth.scene[j] == detections.scene[i]:
                value = iou(truth.box[j].tolist(), detections.box[i].tolist())
                if value > best_iou:
                    best, best_iou = j, value
        if best_iou > threshold and best not in taken:
            taken.add(best)
            right.append(True)
        else:
            right.append(False)

    positives = sum(1 for j in range(len(truth)) if truth.label[j] == label)
    recall, precision = [0.0], [0.0]
    found = 0
    for position, is_right in enumerate(right, start=1):
        found += is_right
        recall.append(found / positives)
        precision.append(found / position)
    recall.append(1.0)
    precision.append(0.0)
    for k in range(len(precision) - 2, -1, -1):
        precision[k] = max(precision[k], precision[k + 1])
    steps = range(len(recall) - 1)
    return 100 * sum((recall[k + 1] - recall[k]) * precision[k + 1] for k in steps)
