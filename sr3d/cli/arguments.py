"""What the verbs' arguments share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import Any

Verbs = argparse._SubParsersAction  # argparse has no public name for it


class VerbParser(argparse.ArgumentParser):
    """A verb's arguments, some of which may have a value that begins with a minus.

    `signed` names these: argparse would take the `-y` of `--up -y` for an option, and reads
    `--up=-y` alone.
    """

    signed: tuple[str, ...] = ()

    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args(list(self._joined(words)), namespace)

    def _joined(self, words: Iterable[str]) -> Iterator[str]:
        """The words, each signed option in one with its value; `--up --view` stays an error."""
        rest = iter(words)
        for word in rest:
            value = next(rest, None) if word in self.signed else None
            if value is None:
                yield word
            elif value.startswith("-") and not value.startswith("--"):
                yield f"{word}={value}"
            else:
                yield from (word, value)
