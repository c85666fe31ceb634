"""Snakemake in a fork of a process that has imported it, which saves a second of CPU time a call.

`Checkout.command` starts Snakemake as people do.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import NamedTemporaryFile

# What Snakemake and the Snakefile import, but for `workflow`, which each checkout has itself.
IMPORTED = (
    "snakemake.cli",
    "snakemake.report.html_reporter",
    "sr3d.run_setting",
    "sr3d.study.report.paper.tables_file",
)


def run_snakemake(
    python: Path, arguments: Sequence[str], folder: Path, environment: dict[str, str]
) -> CompletedProcess[str]:
    """The end of `snakemake` with these arguments in this folder; its stdout has stderr in it.

    python: the interpreter that the process takes itself to be.
    """
    with NamedTemporaryFile("r") as output:
        given = (str(python), arguments, folder, environment, output.name)
        process = _server().Process(target=_snakemake, args=given)
        process.start()
        process.join(timeout=600)
        assert process.exitcode is not None
        return CompletedProcess(arguments, process.exitcode, output.read())


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED])
    return context


def _snakemake(
    python: str, arguments: Sequence[str], folder: Path, environment: dict[str, str], output: str
) -> None:
    file = os.open(output, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.executable = python
    sys.argv = ["snakemake", *arguments]
    from snakemake.cli import main

    main()
