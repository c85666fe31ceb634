"""Values from files and from text as frozen dataclasses, checked by pydantic.

A dataclass declares types and limits. `validate` makes it from plain values and turns the first
mistake into one `InputError` with the file, the field, the kind and the remedy. `json_schema`
gives editors the same rules.

pydantic is imported when the first value is validated: a command that only prints its help or
refuses a missing file does not wait for it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union

import yaml

from sr3d.errors import InputError, Kind
from sr3d.value_types import FromKey, Pattern, interval_of, limits

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The tail of an error message: the nearest known name, or all of them."""
    close = nearest(name, known)
    return f". Did you mean '{close}'?" if close else f". Choose one of {', '.join(known)}"


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that is most like this one, None if none is like it."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), None)


def validate(kind: type[T], value: Any, file: str | Path | None = None, place: str = "") -> T:
    """A value of this type from plain values, such as those of a YAML or JSON file.

    kind: a dataclass, or a generic type of dataclasses. What is left out has its default. A whole
    number is a number; nothing else is converted. place: of the value in the file, for errors.

    Raises:
        InputError: the first mistake, with its file, its field and what is allowed.
    """
    from pydantic import ValidationError

    # In JSON a list is a tuple and a mapping is a dataclass, even where pydantic is strict.
    text = json.dumps(_with_text_keys(value), default=str)
    try:
        return typing.cast(T, _adapter(typing.cast(Hashable, kind)).validate_json(text))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A misspelt key explains the one that is missing.
        unknown = (one for one in errors if one["type"] == "unexpected_keyword_argument")
        first = next(unknown, errors[0])
        raise _refusal(kind, json.loads(text), first, file, place) from None


def json_schema(kind: Any) -> dict[str, Any]:
    """The JSON schema of a type, for editors."""
    return _adapter(kind).json_schema()


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file.

    Raises:
        InputError: no such file, or not YAML.
    """
    path = Path(path)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML can be built without libyaml
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except FileNotFoundError:
        raise InputError("no such file", file=path, kind=Kind.MISSING) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"not valid YAML ({reason})", file=path, kind=Kind.UNREADABLE) from None


def parse_text(text: str) -> Any:
    """A value of the command line, as YAML reads it. `1e-3` is a number here, without a dot too.

    Raises:
        yaml.YAMLError: not YAML.
    """
    return yaml.load(text, Loader=_Loader)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 requires a dot in 1e-3. People omit it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def plain(value: Any) -> Any:
    """Nested values as JSON has them: lists in the place of tuples, dictionaries of dataclasses."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        # `dataclasses.asdict` takes three times as long, because it copies every leaf.
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names, in the same order."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= flatten(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = item
    return flat


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(typing.cast(Any, kind))


def _with_text_keys(value: Any) -> Any:
    """Keys as text: YAML also has numbers and dates for keys."""
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list | tuple) else value


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "text",
    "tuple_type": "a list such as [1, 2]",
    "list_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "dataclass_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def _refusal(kind: Any, value: Any, error: Any, file: str | Path | None, within: str) -> InputError:
    """The error of pydantic as ours. within: the place of the value in the file."""
    names, hint, owner = _walk(kind, value, error["loc"])
    found, what, fault = error["input"], Kind.VALUE, error["type"]
    remedy = None
    if fault.startswith("union_tag_"):  # by the field that chooses the member of a union
        names, owner = [*names, error["ctx"]["discriminator"].strip("'")], hint
        hint = Literal[tuple(tag for m in _members(owner) for tag in _tags(m)[1:])]
        found = error["ctx"].get("tag")
        fault = "missing" if fault == "union_tag_not_found" else "literal_error"
    if fault == "missing" and isinstance(names[-1], int):  # one of several numbers
        names, hint, fault = names[:-1], owner, "too_long"
    if fault == "missing":
        problem, what = "is missing", Kind.MISSING
    elif fault == "too_long" and typing.get_origin(_bare(hint)) is tuple:
        problem = f"expected {len(typing.get_args(_bare(hint)))} values, got {len(found)}"
    elif fault in ("value_error", "assertion_error"):
        cause = error["ctx"]["error"]
        problem = str(cause)
        if isinstance(cause, InputError):
            problem, what, remedy = cause.problem, cause.kind or what, cause.remedy
    elif fault == "unexpected_keyword_argument":
        known = [key for key, one in _hints(owner).items() if not _is_key(one)]
        problem, what = f"unknown key{did_you_mean(str(names[-1]), known)}", Kind.UNKNOWN
    elif (choices := _choices(hint)) and fault != "dataclass_type":
        problem, what = f"'{found}'{did_you_mean(str(found), choices)}", Kind.UNKNOWN
    elif (interval := interval_of(hint)) is not None and fault not in _EXPECTED:
        problem = f"must be {limits(interval)}, got '{found}'"
    elif fault == "string_pattern_mismatch":
        pattern = next(one for one in hint.__metadata__ if isinstance(one, Pattern))
        problem = f"expected {pattern.example}, got '{found}'"
    elif fault in ("too_short", "too_long"):
        least = error["ctx"].get("min_length", 0)
        bound = f"at least {least}" if fault == "too_short" else "fewer"
        problem = f"expected {bound} entries, got {len(found)}"
    elif fault in _EXPECTED:
        problem = f"expected {_EXPECTED[fault]}, got '{found}'"
    elif fault == "json_invalid":  # half a surrogate pair; the input is the whole text
        problem, what = "has text that is not valid Unicode", Kind.UNREADABLE
    else:
        problem = f"{error['msg'][:1].lower()}{error['msg'][1:]}, got '{found}'"
    field = _dotted([within, *names]) or None
    return InputError(problem, file=file, field=field, kind=what, remedy=remedy)


def _walk(kind: Any, value: Any, loc: Sequence[str | int]) -> tuple[list[str | int], Any, Any]:
    """The place of an error in a value without the tags of unions, the type there and the type that
    holds it.
    """
    names: list[str | int] = []
    owner = hint = kind
    for part in loc:
        if part == "[key]":  # of the name before it, which is not allowed as a key
            return names, typing.get_args(owner)[0], owner
        members = _members(hint)
        if len(members) > 1:
            hint = next((m for m in members if part in _tags(m)), hint)
            if part in _tags(hint) and not (isinstance(value, dict) and part in value):
                continue
        owner = _bare(_optional(hint))
        hint = _inside(owner, part)
        names.append(part)
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
    return names, _optional(hint), owner


def _inside(hint: Any, part: str | int) -> Any:
    """The type of a field of a dataclass, of a value of a mapping or of an item of a list."""
    if dataclasses.is_dataclass(hint):
        hints = _hints(hint)
        return hints.get(str(part), hints.get(f"{part}_"))
    args = typing.get_args(hint)
    return args[-1] if len(args) == 2 and args[-1] is not Ellipsis else args[0] if args else None


def _hints(hint: Any) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    if not dataclasses.is_dataclass(hint):
        return {}
    hints = typing.get_type_hints(hint, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(hint)}


def _members(hint: Any) -> tuple[Any, ...]:
    bare = _bare(hint)
    union = typing.get_origin(bare) in (Union, UnionType)
    return tuple(m for m in typing.get_args(bare) if m is not NoneType) if union else (bare,)


def _optional(hint: Any) -> Any:
    """The type without None."""
    members = _members(hint)
    return members[0] if len(members) == 1 and members[0] is not _bare(hint) else hint


def _tags(hint: Any) -> tuple[Any, ...]:
    """What pydantic calls a member of a union: its class, or the words of its first field."""
    first = next(iter(_hints(hint).values()), None)
    return (getattr(hint, "__name__", None), *_choices(first))


def _choices(hint: Any) -> tuple[str, ...]:
    bare = _bare(hint)
    return tuple(map(str, typing.get_args(bare))) if typing.get_origin(bare) is Literal else ()


def _is_key(hint: Any) -> bool:
    return any(isinstance(one, FromKey) for one in getattr(hint, "__metadata__", ()))


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _dotted(names: Sequence[str | int]) -> str:
    parts = (f"[{name}]" if isinstance(name, int) else f".{name}" for name in names)
    return "".join(parts).lstrip(".")
