"""Runs that make room for another run: moved aside, never overwritten or deleted."""

from __future__ import annotations

import logging
from pathlib import Path

from sr3d.runs.files import sha256
from sr3d.runs.record import (
    CHECKPOINT_FILES,
    DETECTIONS_FILE,
    METRICS_FILE,
    MODEL_FILE,
    RUN_FILE,
)

REPLACED = "replaced"
_NAMING = (RUN_FILE, *CHECKPOINT_FILES)
_log = logging.getLogger(__name__)


def set_aside(folder: Path) -> Path:
    """Move the run of a folder, with its evaluations, to `replaced/` beside the folder.

    The new folder's name has the run's name and the digest of its record, or of its checkpoint if
    the run was interrupted. What names the run moves last, so that an interrupted call can be
    repeated. The caller holds the run's lock.

    Returns the new folder.
    """
    naming = next(path for name in _NAMING if (path := folder / name).exists())
    place = folder.parent / REPLACED / f"{folder.name}.{sha256(naming)[:8]}"
    place.mkdir(parents=True, exist_ok=True)
    evaluations = sorted(path.parent.name for path in folder.glob(f"test*/{RUN_FILE}"))
    for name in [*evaluations, METRICS_FILE, MODEL_FILE, DETECTIONS_FILE, *reversed(_NAMING)]:
        if (folder / name).exists():
            (folder / name).rename(place / name)
    _log.warning("%s: moved the other run that was there to %s", folder, place)
    return place
