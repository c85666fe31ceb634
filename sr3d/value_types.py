"""Types of checked values: limits, patterns, and the bases of the dataclasses that hold them.

`sr3d.validation` checks values against them.
"""

from __future__ import annotations

import operator
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from annotated_types import Interval

T = TypeVar("T")


# The upper bounds lie far beyond any sensible value. Above them a run overflows or never begins.
Share = Annotated[float, Interval(ge=0, le=1)]
PositiveShare = Annotated[float, Interval(gt=0, le=1)]
Weight = Annotated[float, Interval(ge=0, le=1000)]
Exponent = Annotated[float, Interval(ge=0, le=100)]
Count = Annotated[int, Interval(ge=1, le=10_000)]
ManyOrNone = Annotated[int, Interval(ge=0, le=10_000_000)]
Many = Annotated[int, Interval(ge=1, le=10_000_000)]
Factor = Annotated[float, Interval(ge=0.01, le=100)]
Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]
Level = Annotated[int, Interval(ge=0, le=1)]


class Validated:
    """Base of dataclasses that `validate` can make. No unknown keys, no conversions, no NaN."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "strict": True,
        "allow_inf_nan": False,
    }


class Foreign:
    """Base of dataclasses for parts of files that other programs write: keys that we do not read
    are allowed. A field `class_` is the key `class`.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        **Validated.__pydantic_config__,
        "extra": "ignore",
        "alias_generator": lambda name: name.removesuffix("_"),
    }


@dataclass(frozen=True)
class Pattern:
    """Text that a regular expression finds something in, without the space around it. example: what
    an error shows.
    """

    regex: str
    example: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {**handler(source), "pattern": self.regex, "strip_whitespace": True}


@dataclass(frozen=True)
class Rule:
    """Passes a value of the type through a function. Its InputError or ValueError refuses the
    value.
    """

    function: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.function, handler(source))


@dataclass(frozen=True)
class NotNull:
    """Refuses null where a type allows None for a key that is left out."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler(source)["schema"]


# A field that may be left out, and is None then: `field: LeftOut[int] = None`.
LeftOut = Annotated[T | None, NotNull()]


def _different(items: Sequence[Any]) -> Sequence[Any]:
    twice = next((item for i, item in enumerate(items) if item in items[:i]), None)
    if twice is not None:
        raise ValueError(f"'{twice}' occurs twice")
    return items


DIFFERENT = Rule(_different)  # limits a list to items that differ


@dataclass(frozen=True)
class ByField:
    """Chooses the member of a union by this field, the first one of every member."""

    name: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import Field

        return handler(Annotated[source, Field(discriminator=self.name)])


@dataclass(frozen=True)
class FromKey:
    """A field that no file has: its value is the key that the entry has in a mapping."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import PydanticKnownError, core_schema

        def refuse(value: Any) -> Any:
            raise PydanticKnownError("unexpected_keyword_argument")

        return core_schema.no_info_plain_validator_function(refuse)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        from pydantic_core import PydanticOmit

        raise PydanticOmit


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


Name = Annotated[str, Pattern("^[a-z0-9_]+$", "lowercase letters, digits and _")]
Text = Annotated[str, Pattern(r"\S", "text")]
# Line breaks and repeated spaces become single spaces.
Line = Annotated[str, Rule(_on_one_line)]
Override = Annotated[str, Pattern("^[a-z0-9_.]+=.", "name=value")]


def interval_of(hint: Any) -> Interval | None:
    """The limits that a type declares for its number, or for each number of its list."""
    if typing.get_origin(hint) is tuple:
        hint = typing.get_args(hint)[0]
    found = (one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Interval))
    return next(found, None)


def holds(interval: Interval, value: float) -> bool:
    """Whether a number lies within limits. NaN does not."""
    bounds = (operator.gt, interval.gt), (operator.ge, interval.ge), (operator.le, interval.le)
    return all(bound is None or bool(compare(value, bound)) for compare, bound in bounds)


def limits(interval: Interval) -> str:
    """Limits in words."""
    low, above, high = interval.ge, interval.gt, interval.le
    if low is None and above is None:
        return f"at most {_number(high)}"
    begin = f"above {_number(above)}" if low is None else f"from {_number(low)}"
    if high is None:
        return begin if low is None else f"{_number(low)} or more"
    return f"{begin} and at most {_number(high)}" if low is None else f"{begin} to {_number(high)}"


def _number(value: Any) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"
