"""Compare the markers of finished jobs (sr3d/runs/markers.py) with the results on the disk.

Snakemake only sees that a marker exists. If the results beside it were lost, cut off or replaced,
Snakemake would still take the job for finished.
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
    """Remove the markers that do not match the results on the disk.

    Snakemake then runs their jobs again. A job returns at once if a finished run fits.
    """
    for place in _PLACES:
        for marker in Path(results).glob(place):
            if not marker_holds(marker):
                marker.unlink(missing_ok=True)
