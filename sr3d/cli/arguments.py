"""What the verbs' arguments share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

Verbs = argparse._SubParsersAction  # argparse has no public name for it


class VerbParser(argparse.ArgumentParser):
    """A verb's arguments, with two kinds of options that argparse alone would misread.

    signed: their values may begin with a minus; it would take the `-y` of `--up -y` for an option,
    and reads `--up=-y` alone. optional: their values, the first of which may be left out; it would
    take the scan of `--compile SCAN` for one.
    """

    signed: tuple[str, ...] = ()
    optional: Mapping[str, tuple[str, ...]] = {}

    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args(list(self._joined(self._completed(words))), namespace)

    def _completed(self, words: Iterable[str]) -> Iterator[str]:
        """The words, each optional value in its place."""
        for word, after in pairwise([*words, ""]):
            values = self.optional.get(word)
            yield f"{word}={values[0]}" if values and after not in values else word

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


def add_overrides(verb: argparse.ArgumentParser, about: str) -> None:
    verb.add_argument(
        "--set", action="append", nargs="+", default=[], metavar="KEY=VALUE", help=about
    )


def overrides_of(args: argparse.Namespace) -> list[str]:
    """Of every `--set`, in their order."""
    return [item for group in args.set for item in group]


def add_compile(verb: argparse.ArgumentParser) -> None:
    precisions = ("fp32", "fp16", "bf16")
    verb.add_argument(
        "--compile", nargs="?", const=precisions[0], choices=precisions,
        help="with the detector's inference runner, in that precision (fp32); a processor gains "
        "from bf16 alone, if it has instructions for it",
    )  # fmt: skip
    if isinstance(verb, VerbParser):
        verb.optional = {"--compile": precisions}
