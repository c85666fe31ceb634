"""A value of a YAML file that is read with checks: each mistake is one sentence that names it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sr3d.errors import InputError
from sr3d.validation import did_you_mean

_KINDS = {"text": str, "whole number": int, "list": list, "mapping": dict, "yes or no": bool}


@dataclass(frozen=True)
class Checked:
    """A value and where it stands, as "tables.yaml: tables.table2.rows[0]".

    Every method raises InputError where the file does not say what is asked for.
    """

    value: Any
    where: str

    @classmethod
    def of_file(cls, path: str | Path) -> Checked:
        """The whole of a YAML file."""
        path = Path(path)
        try:
            value = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
        return cls(value, f"{path}:")

    def only(self, names: Iterable[str]) -> Checked:
        """Itself, a mapping without other entries than these."""
        for name in self._is("mapping"):
            one_of(name, list(names), self.where)
        return self

    def has(self, name: str) -> bool:
        """Whether the mapping has an entry of that name."""
        return name in self._is("mapping")

    def get(self, name: str) -> Checked:
        """An entry that must be there."""
        if name not in self._is("mapping"):
            raise InputError(f"{self.where.rstrip(':')}: '{name}' is missing")
        return Checked(self.value[name], self._inside(name))

    def entries(self) -> dict[str, Checked]:
        """All entries of a mapping."""
        mapping = self._is("mapping")
        return {name: Checked(value, self._inside(name)) for name, value in mapping.items()}

    def items(self) -> tuple[Checked, ...]:
        """All items of a list."""
        return tuple(Checked(item, f"{self.where}[{i}]") for i, item in enumerate(self._is("list")))

    def text(self) -> str:
        """A string, with folded lines joined."""
        return " ".join(self._is("text").split())

    def texts(self) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(item.text() for item in self.items())

    def whole(self) -> int:
        """A whole number above zero."""
        if isinstance(self.value, bool) or self._is("whole number") < 1:
            raise self.wrong("a whole number above zero")
        return int(self.value)

    def real(self) -> float:
        """Any number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.wrong("a number")
        return float(self.value)

    def truth(self) -> bool:
        """True or false."""
        return bool(self._is("yes or no"))

    def name(self, known: Sequence[str]) -> str:
        """One of some names."""
        one_of(self.value, known, self.where)
        return str(self.value)

    def names(self, known: Sequence[str]) -> tuple[str, ...]:
        """A list of some of them."""
        return tuple(item.name(known) for item in self.items())

    def wrong(self, wanted: str) -> InputError:
        """The error that this value is not what is wanted."""
        return InputError(f"{self.where.rstrip(':')}: expected {wanted}, got '{self.value}'")

    def _is(self, kind: str) -> Any:
        if not isinstance(self.value, _KINDS[kind]):
            raise self.wrong(f"a {kind}")
        return self.value

    def _inside(self, name: str) -> str:
        return f"{self.where} {name}" if self.where.endswith(":") else f"{self.where}.{name}"


def one_of(value: Any, known: Sequence[str], where: str) -> None:
    """Refuse a name that is not among the known ones.

    Raises:
        InputError: it is not.
    """
    if value not in known:
        near = did_you_mean(str(value), list(known))
        raise InputError(f"{where.rstrip(':')}: unknown '{value}'{near}")
