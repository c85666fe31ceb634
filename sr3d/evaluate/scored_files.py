"""The file `detections.npz` of an evaluation run: detections, ground truth, and their overlaps.

It has the arrays of a detections file (`sr3d.data.box_files`), and also `iou` (K,) and `gt` (K,),
the best ground truth of each detection (a row of `truth_…`, or -1), `truth_scene`, `truth_label`,
`truth_box`, and `scenes`, the ids of all scenes. So reports do not need the data set.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sr3d.data.box_files import read_detections, read_npz
from sr3d.errors import InputError, Kind
from sr3d.evaluate.detection_matches import DetectionMatches
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.files import write_bytes


@dataclass(frozen=True)
class ScoredDetections:
    """Detections (K), the ground truth of the same scenes, and the match of each detection."""

    truth: BoxSet
    detections: BoxSet
    matching: DetectionMatches


def write_scored(path: str | Path, scored: ScoredDetections) -> None:
    """Write the npz atomically."""
    found, truth = scored.detections, scored.truth
    assert found.score is not None
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        scene=found.scene,
        label=found.label,
        score=found.score,
        box=found.box,
        iou=scored.matching.iou,  # not rounded, because AP compares it with a threshold
        gt=scored.matching.index.astype(np.int32),
        truth_scene=truth.scene,
        truth_label=truth.label,
        truth_box=truth.box,
        scenes=np.array(truth.scenes),
    )
    write_bytes(path, buffer.getbuffer())


def read_scored(path: str | Path) -> ScoredDetections:
    """Read a file of `write_scored`. For a file of a run, take its path from `records.run_file`.

    Raises:
        InputError: missing, unreadable, or of a version of sr3d that stored no ground truth.
    """
    detections = read_detections(path)
    content = read_npz(path)
    if "truth_scene" not in content or "iou" not in content:
        raise InputError(  # `sr3d test` alone would find that the run has finished
            "holds no ground truth",
            file=path,
            kind=Kind.EMPTY,
            remedy=f"Move {Path(path).parent} away, then repeat its `sr3d test` command.",
        )
    truth = BoxSet(
        content["truth_scene"],
        content["truth_label"],
        content["truth_box"],
        scenes=tuple(content["scenes"].tolist()),
    )
    return ScoredDetections(
        truth, detections, DetectionMatches(content["gt"].astype(np.int64), content["iou"])
    )
