"""Refuses files dated in the future, which Snakemake would take for newer than any result."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from workflow.refusal import Refusal

TOLERANCE = 60.0  # seconds by which the clocks of two machines may differ


def refuse_future(files: Iterable[str | Path]) -> None:
    """Refuse input files with a time stamp in the future.

    With such an input, Snakemake fails every job at its end.

    Raises:
        Refusal: names the files, both times and the remedy.
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
    raise Refusal(
        f"{files_named}: dated in the future ({_shown(future[first])}, and the clock of this "
        f"machine says {_shown(now)}). If the clock is wrong, correct it. "
        f"Otherwise run: {touch}"
    )


def _shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
