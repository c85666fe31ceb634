"""One run at a time in a results folder, by a lock that dies with the process that holds it.

Snakemake's own lock stays behind when a run is killed and then wants `--unlock`; profiles turn it
off in favour of this one. So after any end, the same command resumes.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from sr3d.runs.files import this_process
from workflow.refusal import Refusal

_held: list[IO[str]] = []  # open until this process ends


def hold(folder: str | Path) -> None:
    """Lock a results folder for the rest of this process.

    Raises:
        Refusal: another run holds it.
    """
    path = Path(folder) / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise Refusal(
            f"{folder}: another snakemake is writing here ({file.read() or 'process unknown'}). "
            "Wait for its end, or choose another folder with --config results=FOLDER."
        ) from None
    file.truncate(0)
    file.write(this_process())
    file.flush()
    _held.append(file)
