"""A lock on the results folder that ends with its process: one Snakemake at a time.

Snakemake's lock remains after a run is killed, and then requires `--unlock`. Our profiles switch it
off and use this lock instead. So after any end, the same command resumes.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

from filelock import lock_descriptor

from sr3d.runs.files import read_holder, write_holder
from workflow.refusal import Refusal

_held: list[IO[bytes]] = []  # open until this process ends


def hold(folder: str | Path) -> None:
    """Lock a results folder for the rest of this process.

    Raises:
        Refusal: another run holds it.
    """
    path = Path(folder) / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab+", buffering=0)
    if not lock_descriptor(file.fileno(), blocking=False):
        raise Refusal(
            f"{folder}: another snakemake is writing here ({read_holder(file)}). Wait for its end, "
            "or choose another folder with --config results=FOLDER."
        )
    write_holder(file)
    _held.append(file)
