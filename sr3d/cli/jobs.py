"""Options for jobs of a workflow, which may be started again after any kind of end."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sr3d.runs.files import exclusive
from sr3d.runs.markers import write_marker
from sr3d.runs.record import RUN_FILE, RunRecord


def add_run_options(verb: argparse.ArgumentParser) -> None:
    """`--replace`, `--wait` and `--done`."""
    verb.add_argument(
        "--replace",
        action="store_true",
        help="if --out holds a run with another configuration or other data, move that run to "
        "`replaced/` beside the folder",
    )
    add_wait(verb)
    add_done(verb)


def add_wait(verb: argparse._ActionsContainer) -> None:
    verb.add_argument(
        "--wait",
        action="store_true",
        help="if another process writes to --out, wait for its end instead of failing",
    )


def add_done(verb: argparse._ActionsContainer) -> None:
    verb.add_argument(
        "--done",
        type=Path,
        metavar="FILE",
        help="write this marker file at the end. A workflow recognises a finished job by it",
    )


def wait_for_others(args: argparse.Namespace) -> None:
    """With `--wait`, return when no other process works in `args.out`.

    Call it before a GPU is leased, because the other process may hold the last one. Under torchrun
    the first process waits, and the others wait for it.
    """
    if args.wait and os.environ.get("RANK", "0") == "0":
        with exclusive(args.out / RUN_FILE, wait=True):
            pass


def make_room(args: argparse.Namespace) -> None:
    """Move the other run in `args.out` aside, for `--replace`."""
    from sr3d.train.replacing import set_aside

    with exclusive(args.out / RUN_FILE, args.wait):
        set_aside(args.out)


def mark_run(args: argparse.Namespace, record: RunRecord) -> None:
    """With `--done`, write the marker of a finished run."""
    if args.done:
        write_marker(args.done, [args.out / RUN_FILE], [args.out / name for name in record.files])
