"""The loop behind `sr3d detect`: reads scans from files and finds their boxes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from sr3d.data.scans import Scan
from sr3d.detectors.outputs import Detections
from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes
from sr3d.geometry.duplicates import without_duplicates

SCHEMA, VERSION = "sr3d/detections", 1

_log = logging.getLogger(__name__)


class ScanDetector(Protocol):
    """A `Detector` or a compiled detector."""

    def detect(self, points: Any, colors: Any = None, floor: float | None = None) -> Detections: ...


@dataclass(frozen=True)
class ModelFacts:
    """The facts about the model in a file of detections.

    weights: path of the checkpoint. configuration: digest of the whole configuration.
    """

    name: str
    dataset: str
    weights: str
    configuration: str


@dataclass(frozen=True)
class ScanDetections:
    """A scan with its detections, best first, in the frame of `scan.points`.

    file: the file of the scan. name: of the output files, a relative path. classes: names by label.
    """

    file: str
    name: Path
    scan: Scan
    detections: Detections
    classes: Sequence[str]

    def counts(self) -> str:
        """`5 boxes (3 chair, 2 table)`."""
        total = len(self.detections.labels)
        names = Counter(self.classes[label] for label in self.detections.labels.tolist())
        listed = ", ".join(f"{count} {name}" for name, count in names.most_common())
        return f"{total} box{'' if total == 1 else 'es'}" + (f" ({listed})" if listed else "")


def detect_in_scan(
    model: ScanDetector, scan: Scan, score_thr: float, keep_duplicates: bool = False
) -> Detections:
    """Boxes with a score of at least `score_thr`, best first, on the CPU.

    The scan is not moved: `into_room_frame` has found its floor, or the user switched this off.
    keep_duplicates: keep boxes that `geometry.duplicates` takes for copies of a better box.
    """
    found = model.detect(scan.points, scan.painted(), floor=0.0)
    found = Detections(*(part.cpu() for part in found))
    found = found.rows(found.scores >= score_thr)
    if keep_duplicates:
        return found.rows(torch.sort(found.scores, descending=True, stable=True).indices)
    return found.rows(without_duplicates(*found, rotated=bool(found.boxes[:, 6].any())))


def detect_files(
    model: ScanDetector,
    classes: Sequence[str],
    scans: Sequence[tuple[Path, Path]],
    read: Callable[[Path], Scan],
    score_thr: float,
    each: Callable[[ScanDetections], None],
    keep_duplicates: bool = False,
) -> None:
    """Detect in every scan, a pair of file and name, and pass the boxes to `each`.

    read: reads a file into a scan in the frame of the model. keep_duplicates: see `detect_in_scan`.

    Raises:
        InputError: after all other scans, if some failed. At once if there is only one scan.
    """
    failed = []
    for path, name in scans:
        try:
            scan = read(path)
            try:
                found = detect_in_scan(model, scan, score_thr, keep_duplicates)
            except InputError as error:  # errors of points and model do not name the file
                raise error.inside(path) from None
            each(ScanDetections(str(path), name, scan, found, classes))
        except InputError as error:
            if len(scans) == 1:
                raise
            _log.error("%s", error)
            failed.append(str(path))
    if failed:
        raise InputError(
            f"{len(failed)} of {len(scans)} scans failed: {', '.join(failed)}",
            kind=Kind.UNREADABLE,
            remedy="The messages above say why.",
        )


def describe(found: ScanDetections, model: ModelFacts, score_thr: float) -> dict[str, Any]:
    """The content of a JSON file of detections. docs/detect_reference.md explains every field."""
    scan, detections = found.scan, found.detections
    frame, boxes = scan.frame, scan.frame.back(Boxes(detections.boxes))
    rows = zip(
        detections.labels.tolist(),
        detections.scores.tolist(),
        *(part.tolist() for part in boxes),
        (detections.boxes[:, 6] + frame.walls).tolist(),
        strict=True,
    )
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "file": found.file,
        "points": len(scan.points),
        "frame": {
            "up": frame.up,
            "unit": frame.unit,
            "metres_per_unit": frame.scale,
            "origin": frame.origin.tolist(),
            "rotation": frame.rotation.tolist(),
            "walls": frame.walls,
        },
        "facts": [{"name": f.name, "value": f.value, "why": f.why} for f in scan.facts],
        "model": asdict(model),
        "score_thr": score_thr,
        "detections": [
            {
                "class": found.classes[label],
                "score": score,
                "center": center,
                "size": size,
                "yaw": yaw,
                "rotation": rotation,
                "corners": corners,
            }
            for label, score, center, size, rotation, corners, yaw in rows
        ],
    }
