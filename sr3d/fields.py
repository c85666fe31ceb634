"""Frozen dataclasses from plain values and from text: types, ranges, and suggestions for names.

A dataclass may hold other dataclasses, its groups. A field's dotted name is `group.field`.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import typing
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeVar

import yaml

from sr3d.errors import InputError
from sr3d.ranges import Range

C = TypeVar("C")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The tail of an error message: the nearest known name, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; choose one of {', '.join(known)}"


def assign(node: C, name: str, text: str) -> C:
    """A copy with one field, by its dotted name, set to what the text says.

    Raises:
        InputError: unknown name (with the nearest known one), or a value of the wrong type.
    """
    try:
        return _assign(node, name.split("."), text, name)
    except _Unknown:
        known = list(flatten(dataclasses.asdict(typing.cast(Any, node))))
        raise InputError(f"unknown key '{name}'{did_you_mean(name, known)}") from None


class _Unknown(Exception):
    """No field has that name."""


def _assign(node: C, path: list[str], text: str, whole: str) -> C:
    hints = typing.get_type_hints(type(node))
    if path[0] not in hints:
        raise _Unknown
    hint = hints[path[0]]
    if dataclasses.is_dataclass(hint):
        if len(path) == 1:
            raise InputError(f"'{whole}' is a group; set one of its fields, e.g. {whole}.…=…")
        value = _assign(getattr(node, path[0]), path[1:], text, whole)
    elif len(path) > 1:
        raise _Unknown
    else:
        try:
            value = _coerce(yaml.safe_load(text), hint, whole)
        except yaml.YAMLError:
            raise InputError(f"{whole}: cannot read the value '{text}'") from None
    return dataclasses.replace(typing.cast(Any, node), **{path[0]: value})


def _coerce(value: Any, hint: Any, name: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in args:
            raise InputError(f"{name}: '{value}'{did_you_mean(str(value), args)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{name}: expected a list such as [1, 2], got '{value}'")
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise InputError(f"{name}: expected {len(args)} numbers, got {len(value)}")
        return tuple(_coerce(item, args[0], name) for item in value)
    if hint is float and isinstance(value, str):
        # YAML 1.1 wants a dot in 1e-3; people do not.
        try:
            value = float(value)
        except ValueError:
            raise InputError(f"{name}: expected a number, got '{value}'") from None
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= sys.float_info.max:  # NaN and huge integers too
            raise InputError(f"{name}: expected a finite number, got '{value}'")
        return float(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    kind = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    raise InputError(f"{name}: expected {kind.get(hint, hint)}, got '{value}'")


def from_dict(cls: type[C], value: dict[str, Any], prefix: str = "") -> C:
    """The inverse of `dataclasses.asdict`. What is left out has its default.

    Raises:
        InputError: unknown name (with the nearest known one), or a value of the wrong type.
    """
    if not isinstance(value, dict):
        raise InputError(f"{prefix.rstrip('.') or 'configuration'}: expected a mapping")
    hints = typing.get_type_hints(cls)
    for name in value:
        if name not in hints:
            raise InputError(f"unknown key '{prefix}{name}'{did_you_mean(name, list(hints))}")
    fields = {
        name: from_dict(hints[name], item, f"{prefix}{name}.")
        if dataclasses.is_dataclass(hints[name])
        else _coerce(item, hints[name], prefix + name)
        for name, item in value.items()
    }
    return cls(**fields)


def plain(value: Any) -> Any:
    """Nested dictionaries with lists in the place of tuples, as JSON has them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names, in the same order."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= flatten(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = item
    return flat


def ranges(node: Any, prefix: str = "") -> Iterator[tuple[str, bool, str]]:
    """Of each field that declares a range: dotted name, whether the value lies in it, the range."""
    for name, hint in typing.get_type_hints(type(node), include_extras=True).items():
        value = getattr(node, name)
        if dataclasses.is_dataclass(value):
            yield from ranges(value, f"{prefix}{name}.")
        elif (range_ := range_of(hint)) is not None:
            values = value if isinstance(value, tuple) else (value,)
            yield f"{prefix}{name}", all(range_.holds(item) for item in values), str(range_)


def range_of(hint: Any) -> Range | None:
    """The range that a field's type declares for its number, or for each number of its list."""
    if typing.get_origin(hint) is tuple:
        hint = typing.get_args(hint)[0]
    found = [one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Range)]
    return found[0] if found else None
