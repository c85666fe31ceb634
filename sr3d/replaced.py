"""Finished runs that make room for another run: moved aside, never overwritten or deleted."""

from __future__ import annotations

import logging
from pathlib import Path

from sr3d.files import sha256
from sr3d.records import DETECTIONS_FILE, METRICS_FILE, MODEL_FILE, RUN_FILE

REPLACED = "replaced"
_log = logging.getLogger(__name__)


def set_aside(folder: Path) -> Path:
    """Move the finished run of a folder, with its evaluations, to `replaced/` beside the folder.

    The new folder's name has the run's name and the digest of its record. The record moves last, so
    that an interrupted call can be repeated. The caller holds the run's lock.

    Returns the new folder.
    """
    place = folder.parent / REPLACED / f"{folder.name}.{sha256(folder / RUN_FILE)[:8]}"
    place.mkdir(parents=True, exist_ok=True)
    evaluations = sorted(path.parent.name for path in folder.glob(f"test*/{RUN_FILE}"))
    for name in [*evaluations, METRICS_FILE, MODEL_FILE, DETECTIONS_FILE, RUN_FILE]:
        if (folder / name).exists():
            (folder / name).rename(place / name)
    _log.warning("%s: moved the finished run that was there to %s", folder, place)
    return place
