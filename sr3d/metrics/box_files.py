"""Scores of any detector's boxes, from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sr3d.data.box_files import read_detections, read_ground_truth
from sr3d.data.datasets import get_dataset
from sr3d.data.prepared import MANIFEST, read_manifest
from sr3d.metrics.average_precision import average_precision


def evaluate_files(ground_truth: Path, detections: Path, dataset: str) -> dict[str, Any]:
    """Average precision of a file of detections, see `average_precision` for the result.

    dataset: names the classes, or is a prepared folder, which has them. Boxes are compared with
    their yaw if the data set has rotated boxes or either file has any yaw.

    Raises:
        InputError: unknown data set, an unreadable file, or wrong content; names file and field.
    """
    if (Path(dataset) / MANIFEST).is_file():
        manifest = read_manifest(dataset)
        classes, turned = tuple(manifest.classes), manifest.rotated
    else:
        kind = get_dataset(dataset)
        classes, turned = kind.classes, kind.rotated
    truth = read_ground_truth(ground_truth, classes)
    found = read_detections(detections, classes, truth)
    rotated = turned or bool(truth.box[:, 6].any() or found.box[:, 6].any())
    return average_precision(truth, found, classes, rotated=rotated)
