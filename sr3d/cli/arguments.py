"""Shared parts of the verbs' arguments."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from annotated_types import Interval

from sr3d.config import Config
from sr3d.detectors.configuration import split_override
from sr3d.errors import InputError, Kind
from sr3d.runs.devices import DEVICES, refuse_apple_gpu
from sr3d.validation import did_you_mean
from sr3d.value_types import holds, limits

_log = logging.getLogger(__name__)

Verbs = argparse._SubParsersAction  # argparse has no public name for it


class _HelpText(argparse.RawDescriptionHelpFormatter):
    """Help that marks required arguments and adds defaults, so that no help text repeats them."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if action.required and action.nargs != "*":  # argparse marks every "*" as required
            return f"{text} (required)"
        nothing = any(action.default is none for none in (None, False, argparse.SUPPRESS))
        if nothing or action.default == [] or "default:" in text:
            return text
        return f"{text} (default: %(default)s)"

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap a description, unless it has several lines."""
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


class VerbParser(argparse.ArgumentParser):
    """The arguments of a verb, with two kinds of options that argparse alone would misread.

    signed: options whose values may begin with a minus. argparse would take the `-y` of `--up -y`
    for an option. optional: options whose value may be left out. argparse would take the scan of
    `--compile SCAN` for the value.
    """

    signed: tuple[str, ...] = ()
    optional: Mapping[str, tuple[str, ...]] = {}

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **kwargs: Any) -> None:
        """examples: command lines for the help. Tests parse each of them."""
        self.examples = examples
        self._words: list[str] = []
        if examples:
            kwargs["epilog"] = "\n  ".join(("examples:", *examples))
        super().__init__(*args, **{**kwargs, "formatter_class": _HelpText})

    def error(self, message: str) -> Any:
        """Refuse wrong arguments with an `InputError`."""
        cause, field = sys.exception(), None
        if isinstance(cause, argparse.ArgumentError):
            message, field = cause.message, cause.argument_name
            if choice := re.match(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
                known = [word.strip(" '") for word in choice[2].split(",")]
                message = f"unknown '{choice[1]}'{did_you_mean(choice[1], known)}"
        else:  # arguments that are missing, perhaps because an option is misspelt
            self._refuse_misspelt(word for word in self._words if word.startswith("--"))
        raise InputError(
            message,
            field=field,
            kind=Kind.VALUE if field else Kind.MISSING,
            remedy=f"`{self.prog} --help` explains the arguments.",
        )

    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        words = sys.argv[1:] if args is None else args
        self._words = list(self._joined(self._completed(words)))
        found, rest = super().parse_known_args(self._words, namespace)
        # Refused here, because the parser of all verbs gets the rest but knows no verb's options.
        self._refuse_misspelt(rest)
        return found, rest

    def _refuse_misspelt(self, words: Iterable[str]) -> None:
        """Refuse options that the verb does not have.

        Raises:
            InputError: names the nearest option.
        """
        known = [name for name in self._option_string_actions if name.startswith("--")]
        for word in words:
            option = word.partition("=")[0]
            if not option.startswith("-") or any(name.startswith(option) for name in known):
                continue
            near = difflib.get_close_matches(option, known, n=1)
            raise InputError(
                f"unknown option '{option}'" + (f". Did you mean '{near[0]}'?" if near else ""),
                kind=Kind.UNKNOWN,
                remedy=f"`{self.prog} --help` explains the options.",
            )

    def _completed(self, words: Iterable[str]) -> Iterator[str]:
        """The words, with missing optional values filled in."""
        for word, after in pairwise([*words, ""]):
            values = self.optional.get(word)
            yield f"{word}={values[0]}" if values and after not in values else word

    def _joined(self, words: Iterable[str]) -> Iterator[str]:
        """The words, each signed option joined with its value. `--up --view` stays an error."""
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
    return _number(int, "a whole number", Interval(ge=low, le=high))


def real(low: float, high: float, above: bool = False) -> Callable[[str], float]:
    """The type of an argument that is a number from `low` to `high`. above: without `low`."""
    allowed = Interval(gt=low, le=high) if above else Interval(ge=low, le=high)
    return _number(float, "a number", allowed)


def _number(kind: type[N], name: str, allowed: Interval) -> Callable[[str], N]:
    def read(text: str) -> N:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not holds(allowed, value) or kind(value) != value:
            raise argparse.ArgumentTypeError(f"expected {name} {limits(allowed)}, got '{text}'")
        return kind(value)

    return read


# Seeds of training run 999 and evaluation run 998 are the last before the next base seed's seeds.
TRAINING, EVALUATION, SEED = whole(0, 999), whole(0, 998), whole(0, 2**32 - 1)
EVALUATIONS = whole(1, 999)  # the number of evaluation runs of a training run
THREADS, WORKERS, COUNT = whole(1, 1024), whole(0, 1024), whole(1, 1_000_000)


def add_device(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--device", type=_device, default="cpu", choices=DEVICES, help="device to compute on"
    )


def _device(text: str) -> str:
    try:
        refuse_apple_gpu(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(f"{error.problem}. Use device cpu") from None
    return text


def add_setting(verb: argparse.ArgumentParser, about: str) -> None:
    verb.add_argument("--setting", metavar="NAME", help=about)
    verb.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="YAML file with settings of your own, beside the packaged settings",
    )


def add_overrides(verb: argparse.ArgumentParser, about: str) -> None:
    verb.add_argument(
        "--set", action="append", nargs="+", default=[], metavar="KEY=VALUE", help=about
    )


def overrides_of(args: argparse.Namespace) -> list[str]:
    """The values of every `--set`, in order."""
    return [item for group in args.set for item in group]


def warn_without_effect(config: Config, overrides: Iterable[str]) -> None:
    """Warn of values that the user gave and the configuration does not use."""
    found = config.without_effect([split_override(override)[0] for override in overrides])
    if os.environ.get("RANK", "0") == "0":  # one process of several speaks
        for name, why in found.items():
            _log.warning("--set: %s has no effect with %s", name, why)


def add_compile(verb: argparse.ArgumentParser) -> None:
    precisions = ("fp32", "fp16", "bf16")
    verb.add_argument(
        "--compile", nargs="?", const=precisions[0], choices=precisions,
        help="use the inference-only network in this precision (without a value: fp32). On a CPU, "
        "only bf16 is faster, and only if the CPU has bf16 instructions (default: not compiled)",
    )  # fmt: skip
    if isinstance(verb, VerbParser):
        verb.optional = {"--compile": precisions}
