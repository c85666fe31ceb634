"""Dataclasses from plain values: each mistake is one error with its field, kind and remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from annotated_types import Interval, MinLen

from sr3d.errors import InputError, Kind
from sr3d.validation import json_schema, parse_text, read_yaml, validate
from sr3d.value_types import (
    DIFFERENT,
    ByField,
    Count,
    Foreign,
    FromKey,
    LeftOut,
    Line,
    Name,
    Override,
    Rule,
    Share,
    Text,
    Validated,
    holds,
    interval_of,
    limits,
)
from tests.refusals import refuses


@dataclass(frozen=True)
class Chair(Validated):
    kind: Literal["chair"]
    legs: Count = 4


@dataclass(frozen=True)
class Lamp(Validated):
    kind: Literal["lamp"]
    watts: float = 1.0


@dataclass(frozen=True)
class House(Validated):
    name: Text
    pieces: tuple[Chair | Lamp, ...] = ()
    rooms: Mapping[Name, Share] = field(default_factory=dict)
    size: tuple[float, float] = (1.0, 1.0)
    words: Annotated[tuple[str, ...], MinLen(1), DIFFERENT] = ("a",)
    overrides: tuple[Override, ...] | None = None
    folder: Path | None = None
    open: bool = False


@dataclass(frozen=True, kw_only=True)
class Room(Validated):
    name: Annotated[str, FromKey()] = ""
    about: Line = ""
    piece: Annotated[Chair | Lamp, ByField("kind")]


def test_plain_values_become_what_the_types_say() -> None:
    value = {
        "name": " mine\n",
        "pieces": [{"kind": "lamp", "watts": 3}, {"kind": "chair"}],
        "rooms": {"hall": 0, 7: 0.5},
        "size": [1, 2.5],
        "folder": "a/b",
    }
    found = validate(House, value)
    assert found == House(
        name="mine",
        pieces=(Lamp("lamp", 3.0), Chair("chair")),
        rooms={"hall": 0.0, "7": 0.5},
        size=(1.0, 2.5),
        folder=Path("a/b"),
    )
    assert all(type(number) is float for number in found.size)


@pytest.mark.parametrize(
    ("value", "place", "kind", "told"),
    [
        (None, None, Kind.VALUE, "'None'"),
        ([], None, Kind.VALUE, "'[]'"),
        ({}, "name", Kind.MISSING, ""),
        ({"nam": "x"}, "nam", Kind.UNKNOWN, "'name'"),
        ({"name": 3}, "name", Kind.VALUE, "'3'"),
        ({"name": "  "}, "name", Kind.VALUE, "'  '"),
        ({"open": 1}, "open", Kind.VALUE, "'1'"),
        ({"open": "yes"}, "open", Kind.VALUE, "'yes'"),
        ({"open": None}, "open", Kind.VALUE, "'None'"),
        ({"size": [1]}, "size", Kind.VALUE, "2"),
        ({"size": [1, 2, 3]}, "size", Kind.VALUE, "3"),
        ({"size": [1, "2"]}, "size[1]", Kind.VALUE, "'2'"),
        ({"size": [1, float("nan")]}, "size[1]", Kind.VALUE, "'nan'"),
        ({"size": [1, 10**400]}, "size[1]", Kind.VALUE, "10000"),
        ({"size": {1: 2}}, "size", Kind.VALUE, "2}"),
        ({"words": []}, "words", Kind.VALUE, "1"),
        ({"words": ["a", "a"]}, "words", Kind.VALUE, "'a'"),
        ({"rooms": {"Hall": 0.5}}, "rooms.Hall", Kind.VALUE, "'Hall'"),
        ({"rooms": {"hall": 2}}, "rooms.hall", Kind.VALUE, "'2'"),
        ({"rooms": []}, "rooms", Kind.VALUE, "'[]'"),
        ({"overrides": ["k"]}, "overrides[0]", Kind.VALUE, "'k'"),
        ({"pieces": [{"kind": "char"}]}, "pieces[0].kind", Kind.UNKNOWN, "'char'"),
    ],
)
def test_a_mistake_is_named(value: Any, place: str | None, kind: Kind, told: str) -> None:
    if isinstance(value, dict) and value and "nam" not in value:
        value = {"name": "mine", **value}
    with pytest.raises(InputError) as error:
        validate(House, value, "house.yaml")
    assert (error.value.file, error.value.field) == (Path("house.yaml"), place)
    assert error.value.kind == kind
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_text_becomes_one_line_and_a_field_chooses_the_class() -> None:
    found = validate(Room, {"about": " a\n  b ", "piece": {"kind": "lamp"}})
    assert found == Room(about="a b", piece=Lamp("lamp"))


@pytest.mark.parametrize(
    ("value", "place", "kind", "told"),
    [
        ({"kind": "lmp"}, "piece.kind", Kind.UNKNOWN, "'lamp'"),
        ({"kind": 3}, "piece.kind", Kind.UNKNOWN, "chair, lamp"),
        ({}, "piece.kind", Kind.MISSING, ""),
        ([], "piece", Kind.VALUE, "'[]'"),
        ({"kind": "lamp", "legs": 3}, "piece.legs", Kind.UNKNOWN, "kind, watts"),
        ({"kind": "chair", "legs": 0}, "piece.legs", Kind.VALUE, "from 1"),
    ],
)
def test_a_mistake_in_a_chosen_class_is_named(
    value: Any, place: str, kind: Kind, told: str
) -> None:
    with pytest.raises(InputError) as error:
        validate(Room, {"piece": value})
    assert (error.value.field, error.value.kind) == (place, kind)
    assert told in str(error.value)


def test_a_file_does_not_repeat_the_key_of_an_entry() -> None:
    with refuses(Kind.UNKNOWN, mentions=["about", "piece"]) as error:
        validate(Room, {"name": "x", "piece": {"kind": "lamp"}})
    assert error.value.field == "name"
    assert "name" not in json_schema(Room)["properties"]


def test_limits_in_words() -> None:
    texts = {
        limits(Interval(ge=0, le=1)): ["0", "1"],
        limits(Interval(gt=0, le=0.5)): ["0", "0.5"],
        limits(Interval(ge=0, le=0.5)): ["0", "0.5"],
        limits(Interval(ge=1)): ["1"],
        limits(Interval(gt=1)): ["1"],
        limits(Interval(le=1)): ["1"],
    }
    assert len(texts) == 6  # each reads differently
    for text, numbers in texts.items():
        assert re.findall(r"[\d.]+", text) == numbers
    assert interval_of(tuple[Count, ...]) == Interval(ge=1, le=10_000)
    assert interval_of(int) is None
    assert holds(Interval(gt=0), 1e300)
    assert not holds(Interval(gt=0), 0)
    assert not holds(Interval(ge=0), float("nan"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("-2E5", -2e5), ("[1e2, a]", [100.0, "a"]), ("1e", "1e"), ("7", 7)],
)
def test_numbers_of_the_command_line_need_no_dot(text: str, value: Any) -> None:
    found = parse_text(text)
    assert (found, type(found)) == (value, type(value))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_yaml(tmp_path / "none.yaml")
    assert error.value.kind == Kind.MISSING
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(InputError) as error:
        read_yaml(tmp_path / "bad.yaml")
    assert error.value.kind == Kind.UNREADABLE
    assert "\n" not in str(error.value)


def test_files_are_read_without_libyaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "house.yaml"
    file.write_text("name: home\nrooms: {hall: 0.25}\n")
    found = read_yaml(file)
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert read_yaml(file) == found == {"name": "home", "rooms": {"hall": 0.25}}


def test_the_schema_has_the_same_rules() -> None:
    schema = json_schema(House)
    assert schema["required"] == ["name"]
    assert schema["additionalProperties"] is False
    [share] = schema["properties"]["rooms"]["patternProperties"].values()
    assert (share["minimum"], share["maximum"]) == (0, 1)


def _even(number: int) -> int:
    if number % 2:
        raise InputError(f"{number} is odd", kind=Kind.CONFLICT, remedy="Add one.")
    return number


@dataclass(frozen=True)
class Sofa(Foreign):
    class_: str
    seats: LeftOut[Annotated[int, Rule(_even)]] = None


def test_a_foreign_file_may_have_other_keys_and_a_key_may_be_left_out_but_not_null() -> None:
    assert validate(Sofa, {"class": "sofa", "color": [1, 2]}) == Sofa("sofa")
    assert validate(tuple[Sofa, ...], [{"class": "a", "seats": 2}]) == (Sofa("a", 2),)
    with pytest.raises(InputError) as error:
        validate(Sofa, {"class": "sofa", "seats": None}, "a.json", "rooms[1]")
    assert (error.value.field, error.value.kind) == ("rooms[1].seats", Kind.VALUE)
    with pytest.raises(InputError) as error:
        validate(Sofa, {"class_": "sofa"})
    assert (error.value.field, error.value.kind) == ("class", Kind.MISSING)


def test_the_error_of_a_rule_keeps_its_kind_and_remedy_and_gets_the_place() -> None:
    with pytest.raises(InputError) as error:
        validate(tuple[Sofa, ...], [{"class": "a", "seats": 3}], "a.json", "sofas")
    found = error.value
    assert (found.file, found.field) == (Path("a.json"), "sofas[0].seats")
    assert (found.kind, found.remedy) == (Kind.CONFLICT, "Add one.")


def test_text_that_is_not_unicode_is_refused_without_the_whole_file() -> None:
    with pytest.raises(InputError) as error:
        validate(tuple[Sofa, ...], [{"class": "\ud800"}, {"class": "other"}], "a.json")
    assert error.value.kind == Kind.UNREADABLE
    assert "other" not in str(error.value)
