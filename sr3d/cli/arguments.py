"""What the verbs' arguments share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from sr3d.errors import InputError
from sr3d.ranges import Range

Verbs = argparse._SubParsersAction  # argparse has no public name for it


class VerbParser(argparse.ArgumentParser):
    """A verb's arguments, with two kinds of options that argparse alone would misread.

    signed: their values may begin with a minus; it would take the `-y` of `--up -y` for an option,
    and reads `--up=-y` alone. optional: their values, the first of which may be left out; it would
    take the scan of `--compile SCAN` for one.
    """

    signed: tuple[str, ...] = ()
    optional: Mapping[str, tuple[str, ...]] = {}

    def error(self, message: str) -> Any:
        """Refuse wrong arguments in one sentence, as every other wrong input."""
        raise InputError(f"{message}; `{self.prog} --help` lists the arguments")

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


N = TypeVar("N", int, float)


def whole(low: int = 0, high: int = 1_000_000) -> Callable[[str], int]:
    """The type of an argument that is a whole number from `low` to `high`, such as 1000 or 1e3."""
    return _number(int, "a whole number", Range(low, high))


def real(low: float, high: float, above: bool = False) -> Callable[[str], float]:
    """The type of an argument that is a number from `low` to `high`. above: without `low`."""
    return _number(float, "a number", Range(low, high, above))


def _number(kind: type[N], name: str, allowed: Range) -> Callable[[str], N]:
    def read(text: str) -> N:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not allowed.holds(value) or kind(value) != value:
            raise argparse.ArgumentTypeError(f"expected {name} {allowed}, got '{text}'")
        return kind(value)

    return read


# Seeds of training 999 and of evaluation 998 are the last before those of the next base seed begin.
TRAINING, EVALUATION, SEED = whole(0, 999), whole(0, 998), whole(0, 2**32 - 1)
THREADS, WORKERS, COUNT = whole(1, 1024), whole(0, 1024), whole(1, 1_000_000)


def add_setting(verb: argparse.ArgumentParser, about: str) -> None:
    verb.add_argument("--setting", metavar="NAME", help=about)
    verb.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="your own settings beside the package's (YAML)",
    )


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
