"""Numbers on the command line: one small set of types says what each verb takes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr3d.cli import build_parser, main
from sr3d.cli.arguments import real, whole
from sr3d.errors import Kind
from tests.refusals import refused

NONSENSE = ["-1", "nan", "inf", "1e300", "2.5.", "", "9" * 400]


def verbs(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.Action]]:
    """Every option of every verb that takes a value, with the words of its verb."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                yield from verbs(verb, (*words, name))
        elif action.option_strings and action.nargs != 0:
            yield words, action


NUMBERS = [
    pytest.param(words, action.option_strings[-1], id=" ".join([*words, action.option_strings[-1]]))
    for words, action in verbs(build_parser())
    if getattr(action.type, "__qualname__", "").startswith("_number")
]


def test_no_number_is_read_without_a_range() -> None:
    bare = [words for words, action in verbs(build_parser()) if action.type in (int, float)]
    assert bare == []
    assert len(NUMBERS) > 25


@pytest.mark.parametrize(("words", "option"), NUMBERS)
def test_a_senseless_number_is_refused_by_its_option(
    words: tuple[str, ...],
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    # The centre of a cut image may lie outside it. Angles and heights may be negative.
    signed = option in ("--intrinsics", "--walls", "--floor")
    for text in NONSENSE[signed:]:
        values = [text] * (4 if option == "--intrinsics" else 1)
        error = refused([*words, option, *values])
        assert (error.kind, error.field) == (Kind.VALUE, option)
    assert list(tmp_path.iterdir()) == []


@given(st.integers(-(10**12), 10**12), st.integers(-100, 100), st.integers(0, 1000))
def test_whole_numbers_are_those_of_the_range(value: int, low: int, width: int) -> None:
    read = whole(low, low + width)
    if low <= value <= low + width:
        assert read(str(value)) == value
    else:
        with pytest.raises(argparse.ArgumentTypeError):
            read(str(value))


def test_numbers_may_be_written_as_people_do() -> None:
    assert whole(0, 2**32 - 1)(str(2**32 - 1)) == 2**32 - 1
    assert whole()("1e4") == 10_000
    assert real(0, 1)("1e-3") == 0.001
    for text in ("0", "1.0000001"):
        with pytest.raises(argparse.ArgumentTypeError):
            real(0, 1, above=True)(text)
    with pytest.raises(argparse.ArgumentTypeError):
        whole()("2.5")


def test_wrong_words_are_one_sentence_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["train"], ["trian"], ["train", "--what"], ["prepare", "kitti"]):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error.startswith("sr3d: ")
        assert error.count("\n") == 1
        assert "--help" in error


@pytest.mark.parametrize(
    ("words", "near", "help_of"),
    [
        (["detect", "--modle", "x", "a.ply"], "--model", "sr3d detect"),
        (["detect", "--demo", "--devcie=cuda"], "--device", "sr3d detect"),
        (["prepare", "folder", "--raw", "a", "--ot", "b"], "--out", "sr3d prepare folder"),
        (["evaluate", "--ground-trth", "a", "--detections", "b"], "--ground-truth", "evaluate"),
        (["prepare", "foldr"], "folder", "sr3d prepare"),
        (["inspect", "dta"], "data", "sr3d inspect"),
        (["detekt"], "detect", "sr3d"),
    ],
)
def test_misspelt_words_have_the_nearest_known_one(
    words: list[str], near: str, help_of: str
) -> None:
    error = refused(words)
    assert f"'{near}'" in error.problem
    assert error.remedy is not None
    assert f"{help_of} --help" in error.remedy


def test_help_is_a_verb_and_what_no_verb_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "sr3d detect --demo" in capsys.readouterr().err
    for words in (["help"], ["help", "detect"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        assert " ".join(["usage: sr3d", *words[1:]]) in capsys.readouterr().out
