"""Commands in the documentation work in zsh too, where an unquoted `[`, `*` or `?` is a pattern."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from sr3d.cli import build_parser
from sr3d.cli.arguments import VerbParser
from tests.docs.pages import PAGES, ROOT

_COMMAND = re.compile(r"^(?:    )?((?:sr3d|snakemake|pip|make|python|mlflow) .*)$", re.MULTILINE)
_SPAN = re.compile(r"`((?:sr3d|snakemake|pip|mlflow) [^`]+)`")


def patterns(command: str) -> list[str]:
    """The words of a command that zsh would take for patterns."""
    words = shlex.shlex(command, posix=False, punctuation_chars=False)
    words.whitespace_split, words.commenters = True, "#"
    bare = (re.sub(r"\"[^\"]*\"|'[^']*'", "", word) for word in words)
    return [word for word in bare if re.search(r"[\[\]*?]", word)]


@pytest.mark.parametrize(
    ("command", "count"),
    [
        ("snakemake --config tables=[table2]", 1),
        ('snakemake --config "tables=[table2]"', 0),
        ("sr3d detect scans/*.ply  # [any] of them", 1),
    ],
)
def test_patterns_are_seen(command: str, count: int) -> None:
    assert len(patterns(command)) == count


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_have_no_bare_pattern(page: Path) -> None:
    if page.name == "commands.md":
        return  # usage lines, where brackets mean "optional"
    text = page.read_text(encoding="utf-8")
    commands = [*_COMMAND.findall(text), *_SPAN.findall(text)]
    assert {word: command for command in commands for word in patterns(command)} == {}


def examples(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The examples of all verbs."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                assert isinstance(child, VerbParser)
                yield from child.examples
                yield from examples(child)


def test_the_examples_of_the_help_have_no_bare_pattern() -> None:
    assert [command for command in examples(build_parser()) if patterns(command)] == []
