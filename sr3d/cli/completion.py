"""The verb `completion`: scripts that complete `sr3d` in a shell."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sr3d.cli.arguments import Verbs

SHELLS = ("bash", "zsh", "tcsh", "fish")
_FILES = ("--boxes", "--view", "--model", "--classes")  # paths that are read as text


def add_completion(
    verbs: Verbs, common: argparse.ArgumentParser, whole: argparse.ArgumentParser
) -> None:
    """whole: the parser of `sr3d`, for which the script is made."""
    about = "Print a script that completes verbs, options and paths in a shell."
    verb = verbs.add_parser(
        "completion",
        parents=[common],
        help=about,
        description=f'{about} bash: eval "$(sr3d completion bash)" in ~/.bashrc. zsh: save the '
        "script as _sr3d in a folder of $fpath. tcsh: source the script in ~/.tcshrc. fish: save "
        "the script as ~/.config/fish/completions/sr3d.fish.",
        examples=("sr3d completion bash",),
    )
    verb.add_argument(
        "shell", choices=SHELLS, metavar="SHELL",
        help=f"shell that the script is for: {', '.join(SHELLS)}",
    )  # fmt: skip
    verb.set_defaults(verb=_printer(whole))


def _printer(whole: argparse.ArgumentParser) -> Callable[[argparse.Namespace], None]:
    def show(args: argparse.Namespace) -> None:
        import shtab

        _mark_paths(whole, shtab.FILE, shtab.DIRECTORY)
        print(shtab.complete(whole, args.shell))

    return show


def _mark_paths(parser: argparse.ArgumentParser, file: Any, folder: Any) -> None:
    """Tell shtab which arguments are files and which are folders."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _mark_paths(verb, file, folder)
        elif action.type is Path or {*action.option_strings} & {*_FILES} or action.dest == "source":
            action.complete = folder if action.metavar == "DIR" else file  # type: ignore[attr-defined]
