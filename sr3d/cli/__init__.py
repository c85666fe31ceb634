"""The command `sr3d`: one verb per step of the benchmark. Each prints the files that it wrote.

A verb imports the modules that it needs, so `sr3d --help` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress

from sr3d._version import __version__
from sr3d.cli.about import add_config, add_doctor, add_schema
from sr3d.cli.arguments import VerbParser
from sr3d.cli.benchmark import add_benchmark
from sr3d.cli.completion import add_completion
from sr3d.cli.convert import add_convert
from sr3d.cli.data import add_download, add_export, add_inspect
from sr3d.cli.detect import add_detect
from sr3d.cli.plan import add_plan
from sr3d.cli.prepare import add_prepare
from sr3d.cli.results import add_evaluate, add_report, add_summarise, add_track
from sr3d.cli.runs import add_test, add_train
from sr3d.cli.workflow import add_workflow
from sr3d.errors import InputError, Kind, message_of
from sr3d.validation import did_you_mean

DESCRIPTION = """\
Indoor 3D object detection: detectors trained and evaluated as in the SR3D paper.

The benchmark runs these verbs in this order. `snakemake` runs them for you:
  download, prepare, train, test, summarise, report, track

To detect objects in your own scans, run `sr3d detect SCAN`. `sr3d VERB --help` explains a verb.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. Returns 0 on success, 2 on bad input, 130 when interrupted.

    Without a verb it prints the help. `sr3d help VERB` is `sr3d VERB --help`.
    """
    _say_what_is_logged()
    words = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in words
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    try:
        parser = build_parser(words)
        if not words:
            parser.print_help(sys.stderr)
            return 2
        args = parser.parse_args(words, argparse.Namespace(words=words))
        args.verb(args)
    except (InputError, OSError) as error:
        return _fail(debug, message_of(error), 2)
    except KeyboardInterrupt:
        return _fail(debug, "interrupted. Repeat the command to resume.", 130)
    return 0


def _say_what_is_logged() -> None:
    """Send the log of this package to stderr. Logs of other packages do not change."""
    logger = logging.getLogger("sr3d")
    if not logger.handlers:
        logger.addHandler(_Stderr())
        logger.setLevel(logging.INFO)


class _Stderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(f"sr3d: {record.getMessage()}", file=sys.stderr)


def _fail(debug: bool, message: str, code: int) -> int:
    if debug:
        raise
    with suppress(OSError):  # stderr on a full disk. The exit code still reports the failure
        print(f"sr3d: {message}", file=sys.stderr)
    return code


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of all verbs. words: the command line, to suggest a verb for a misspelt one."""
    parser = VerbParser(
        prog="sr3d",
        description=DESCRIPTION,
        examples=("sr3d detect --demo", "sr3d detect scan.ply", "sr3d doctor"),
    )
    parser.add_argument(
        "--version", action="version", version=f"sr3d {__version__}", help="print the version"
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(
        title="verbs", metavar="VERB", required=True, parser_class=VerbParser
    )
    for add in (
        add_download,
        add_prepare,
        add_inspect,
        add_export,
        add_train,
        add_test,
        add_evaluate,
        add_config,
        add_schema,
        add_summarise,
        add_report,
        add_track,
        add_detect,
        add_convert,
        add_plan,
        add_workflow,
        add_benchmark,
        add_doctor,
    ):
        add(verbs, common)
    add_completion(verbs, common, parser)
    first = next((word for word in words if not word.startswith("-")), None)
    if first is not None and first not in verbs.choices:
        near = did_you_mean(first, list(verbs.choices))
        raise InputError(
            f"unknown verb '{first}'{near}",
            field="VERB",
            kind=Kind.UNKNOWN,
            remedy="`sr3d --help` lists the verbs.",
        )
    return parser
