"""The verb that copies the Snakemake workflow out of the package: `workflow`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sr3d.cli.arguments import Verbs


def add_workflow(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Copy the Snakemake workflow and its configuration into a folder."
    verb = verbs.add_parser(
        "workflow",
        parents=[common],
        help=about,
        description=f"{about} Run `snakemake` there.",
        examples=("sr3d workflow my-benchmark",),
    )
    verb.add_argument("folder", type=Path, metavar="DIR", help="new or empty folder")
    verb.set_defaults(verb=_workflow)


def _workflow(args: argparse.Namespace) -> None:
    from sr3d.cli.workflow_files import copy_workflow

    copy_workflow(args.folder)
    print(f"{args.folder}: the workflow. Run it with: cd {args.folder} && snakemake --cores all")
