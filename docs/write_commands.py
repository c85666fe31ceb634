"""Write docs/commands.md from the help of every verb: `python docs/write_commands.py [FILE.md]`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).with_name("commands.md")

_HEAD = """\
# Commands

This reference has the help of every command. To change this page, change the help texts, and run
`docs/write_commands.py`.

`sr3d VERB --help` prints the same text.
"""


def page() -> str:
    """The whole page."""
    os.environ["COLUMNS"] = "100"  # the width that argparse wraps at
    from sr3d.cli import build_parser

    parts = [_HEAD]
    for parser in _parsers(build_parser()):
        level = "#" * min(4, 1 + len(parser.prog.split()))
        parts.append(f"{level} {parser.prog}\n\n```text\n{parser.format_help().rstrip()}\n```\n")
    return "\n".join(parts)


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and all below it, in their order, each once."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in dict.fromkeys(action.choices.values()):
                yield from _parsers(child)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.write_text(page(), encoding="utf-8")
