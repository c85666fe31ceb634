"""Markers of finished jobs (sr3d/runs/markers.py), compared with the results on the disk.

Snakemake sees that a marker exists. It does not see that the results beside it are gone, cut off or
replaced, and would then call the job finished.
"""

from __future__ import annotations

from pathlib import Path

from sr3d.runs.markers import marker_holds

_PLACES = (
    "mlflow.done.json",
    "*/*/boxes.done.json",
    "*/*/train*/done.json",
    "*/*/train*/test*/done.json",
)


def forget_stale(results: str | Path) -> None:
    """Remove the markers that describe other results than those on the disk.

    Snakemake then runs their jobs again, which return at once where a finished run fits.
    """
    for place in _PLACES:
        for marker in Path(results).glob(place):
            if not marker_holds(marker):
                marker.unlink(missing_ok=True)
