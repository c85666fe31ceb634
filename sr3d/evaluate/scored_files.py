"""What a test leaves of its scenes: detections, ground truth, and how they overlap, in one npz.

It has the entries of a detections file (`sr3d.data.box_files`) and beside them `iou` (K,) and `gt`
(K,), a detection's best ground truth (a row of `truth_…`, or -1), `truth_scene`, `truth_label`,
`truth_box`, and `scenes`, the ids of all scenes. So reports need no data set.
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
    """Write the npz, whole or not at all."""
    found, truth = scored.detections, scored.truth
    assert found.score is not None
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        scene=found.scene,
        label=found.label,
        score=found.score,
        box=found.box,
        iou=scored.matching.iou,  # whole: AP asks whether it is strictly above a threshold
        gt=scored.matching.index.astype(np.int32),
        truth_scene=truth.scene,
        truth_label=truth.label,
        truth_box=truth.box,
        scenes=np.array(truth.scenes),
    )
    write_bytes(path, buffer.getbuffer())


def read_scored(path: str | Path) -> ScoredDetections:
    """Read what `write_scored` wrote. For a file of a run, take its path from `records.run_file`.

    Raises:
        InputError: missing, unreadable, or of a test before sr3d kept the ground truth with it.
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
