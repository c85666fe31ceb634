"""Files that are dated in the future, which Snakemake would take for newer than any result."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from snakemake.exceptions import WorkflowError

TOLERANCE = 60.0  # seconds by which the clocks of two machines may differ


def refuse_future(files: Iterable[str | Path]) -> None:
    """Refuse input files with a time stamp in the future.

    Snakemake fails every job with such an input, after the job's work is done.

    Raises:
        WorkflowError: names the files, both times and the remedy.
    """
    now = time.time()
    dates = {str(file): Path(file).stat().st_mtime for file in files if Path(file).exists()}
    future = {file: date for file, date in dates.items() if date > now + TOLERANCE}
    if not future:
        return
    first, common = min(future), os.path.commonpath(future)
    if len(future) == 1:
        files_named, touch = first, f"touch {first}"
    else:
        files_named = f"{first} and {len(future) - 1} other files"
        touch = f"find {common} -newermt now -exec touch {{}} +"
    raise WorkflowError(
        f"{files_named}: dated in the future ({_shown(future[first])}). The clock of this machine "
        f"says {_shown(now)}, and Snakemake refuses results that are older than their input. "
        f"Correct the clock, or give the files the present date: {touch}"
    )


def _shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
