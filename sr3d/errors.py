"""Errors that a user can fix, with the place, the problem and the remedy as fields."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Self


class Kind(StrEnum):
    """What is wrong, for code and tests that must not depend on the wording."""

    MISSING = "missing"  # a file, a folder, an argument or a field is absent
    UNREADABLE = "unreadable"  # a file of an unknown format, or not readable in its format
    EMPTY = "empty"  # a folder or a file without the content that is needed
    UNKNOWN = "unknown"  # a name that is not among the known names
    VALUE = "value"  # a value of the wrong type, or outside its range
    CONFLICT = "conflict"  # arguments or files that contradict each other
    UNWRITABLE = "unwritable"  # an output that cannot be written
    TOO_LARGE = "too large"  # more than the memory or a file format holds


class InputError(ValueError):
    """Bad input. The command line prints the message alone and exits with code 2.

    The message is `file: field: problem. Remedy.` Parts that are None are left out.

    problem: what is wrong, without a full stop. kind: its kind. file: the file or folder. field:
    the option, key or column. remedy: what to do, one or more whole sentences.
    """

    def __init__(
        self,
        problem: str,
        *,
        kind: Kind,
        file: str | Path | None = None,
        field: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem, self.field, self.kind, self.remedy = problem, field, kind, remedy
        self.file = None if file is None else Path(file)
        place = "".join(f"{part}: " for part in (file, field) if part is not None)
        end = "" if problem.endswith("?") else "."
        super().__init__(f"{place}{problem}" + (f"{end} {remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the parts: Exception would pass the message alone to the constructor."""
        again = partial(
            type(self), kind=self.kind, file=self.file, field=self.field, remedy=self.remedy
        )
        return again, (self.problem,)

    def inside(self, file: str | Path) -> Self:
        """The same error with the file that its raiser did not know."""
        return type(self)(
            self.problem, file=file, field=self.field, kind=self.kind, remedy=self.remedy
        )


class DamagedFile(InputError):
    """A file of ours that is missing, truncated or changed. Code that can make it again may."""


class OtherRun(InputError):
    """The folder of a run holds another run, finished or interrupted."""


def message_of(error: InputError | OSError) -> str:
    """The message for a user, without a traceback. Names the file if it is known."""
    if isinstance(error, InputError):
        return str(error)
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}"
