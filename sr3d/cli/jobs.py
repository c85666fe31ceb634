"""Options for jobs of a workflow, which can be repeated after any failure."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from sr3d.errors import OtherRun
from sr3d.runs.files import exclusive
from sr3d.runs.markers import write_marker
from sr3d.runs.record import RUN_FILE, RunRecord


def add_run_options(verb: argparse.ArgumentParser, several: bool = False) -> None:
    """`--replace`, `--wait` and `--done`. several: see `add_done`."""
    verb.add_argument(
        "--replace",
        action="store_true",
        help="if --out holds a run with another configuration or other data, move that run to "
        "`replaced/` beside the folder",
    )
    add_wait(verb)
    add_done(verb, several)


def add_wait(verb: argparse._ActionsContainer) -> None:
    verb.add_argument(
        "--wait",
        action="store_true",
        help="if another process writes to --out, wait for its end instead of failing",
    )


def add_done(verb: argparse._ActionsContainer, several: bool = False) -> None:
    """several: whether the verb makes several runs, each with its own marker."""
    about = "write this marker file at the end, by which a workflow recognises a finished job"
    verb.add_argument(
        "--done",
        type=Path,
        metavar="FILE",
        nargs="+" if several else None,
        default=[] if several else None,
        help=f"{about}. With --tests, one file for each run" if several else about,
    )


def wait_for_others(args: argparse.Namespace, *folders: Path) -> None:
    """With `--wait`, return when no other process works in the folders of these runs.

    Call it before a GPU is leased, because the other process may hold the last one. Under torchrun
    the first process waits, and the others wait for it.
    """
    if args.wait and os.environ.get("RANK", "0") == "0":
        for folder in folders:
            with exclusive(folder / RUN_FILE, wait=True):
                pass


def run_or_replace(
    make: Callable[[], RunRecord], out: Path, replace: bool, lock: AbstractContextManager[None]
) -> RunRecord:
    """The record of the run that `make` makes in `out`.

    replace: if another run is there, move it aside and make the run again. lock: of the run in
    `out`, for the move. `nullcontext()` if the caller holds it.

    Raises:
        OtherRun: another run is there, without `replace`.
    """
    try:
        return make()
    except OtherRun:
        if not replace:
            raise
    from sr3d.train.replacing import set_aside

    with lock:
        set_aside(out)
    return make()


def mark_run(marker: Path | None, out: Path, record: RunRecord) -> None:
    """With `--done`, write the marker of the finished run in `out`."""
    if marker:
        write_marker(marker, [out / RUN_FILE], [out / name for name in record.files])
