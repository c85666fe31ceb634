"""The help of every verb: each option is explained, required ones are marked, examples parse."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sr3d.cli import build_parser, main
from sr3d.cli.arguments import VerbParser
from sr3d.cli.completion import SHELLS


def verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[VerbParser, str]]:
    """Every verb and sub-verb with its summary."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                verb = action.choices[choice.dest]
                yield verb, choice.help or ""
                yield from verbs(verb)


VERBS = [pytest.param(verb, about, id=verb.prog) for verb, about in verbs(build_parser())]


def without_spaces(text: str) -> str:
    """A text however it is wrapped."""
    return "".join(text.split())


@pytest.mark.parametrize(("verb", "about"), VERBS)
def test_a_verb_has_a_summary_of_one_line_and_explains_every_option(
    verb: VerbParser, about: str
) -> None:
    assert 10 < len(about) < 90
    assert about in " ".join((verb.description or "").split())
    shown = without_spaces(verb.format_help())
    for action in verb._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        name = action.option_strings or action.dest
        assert len(action.help or "") > 8, name
        required = action.required and action.nargs != "*"
        assert (without_spaces(f"{action.help} (required)") in shown) == required, name
        number = action.type is not None and isinstance(action.default, int | float)
        default = without_spaces(f"{action.help} (default: {action.default})")
        assert not number or default in shown or "default:" in str(action.help), name
    assert "==SUPPRESS==" not in verb.format_help()
    assert len(VERBS) > 20


@pytest.mark.parametrize(("verb", "about"), VERBS)
def test_the_examples_of_a_verb_parse(verb: VerbParser, about: str) -> None:
    assert verb.examples
    for example in verb.examples:
        assert example in verb.format_help()
        program, *words = shlex.split(example)
        assert program == "sr3d"
        assert example.startswith(f"{verb.prog} ") or example == verb.prog
        assert callable(build_parser(words).parse_args(words).verb)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_completion_script_names_the_verbs(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("detect", "benchmark", "score-thr"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("det",), {"detect"}),
        (("prepare", "sy"), {"synthetic"}),
        (("detect", "--score"), {"--score-thr"}),
        (("detect", "--device", "c"), {"cpu", "cuda"}),
        (("evaluate", "--ground-truth", "tr"), {"truth.npz"}),
        (("train", "--data", "fo"), {"folder"}),
    ],
)
def test_bash_completes_verbs_options_choices_and_paths(
    words: tuple[str, ...],
    expected: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "sr3d.bash"
    script.write_text(capsys.readouterr().out)
    subprocess.run(["bash", "-n", script], check=True)
    work = tmp_path / "work"
    (work / "folder").mkdir(parents=True)
    (work / "truth.npz").touch()
    line = ["sr3d", *words]
    ask = (
        f"source {script}; COMP_WORDS=({shlex.join(line)}); COMP_CWORD={len(line) - 1}; "
        f"$(complete -p sr3d | sed 's/.*-F \\([^ ]*\\).*/\\1/') sr3d {line[-1]} {line[-2]}; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", ask], cwd=work, capture_output=True, text=True, check=True
    )
    assert {*done.stdout.split()} == expected
