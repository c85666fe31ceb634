"""Input that is refused, by the fields of the errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from sr3d.cli import main
from sr3d.errors import InputError, Kind


def refused(words: Sequence[str]) -> InputError:
    """The error of a command line. Its message must be one line."""
    with pytest.raises(InputError) as caught:
        main([*words, "--debug"])
    assert "\n" not in str(caught.value)
    return caught.value


@contextmanager
def refuses(
    kind: Kind | None = None,
    *,
    file: str | Path | None = None,
    field: str | None = None,
    mentions: Sequence[str] = (),
    remedy: Sequence[str] = (),
    error: type[InputError] = InputError,
) -> Iterator[pytest.ExceptionInfo[InputError]]:
    """Expect an error with these fields; None leaves a field open.

    file: the file or folder, or the end of its path. field: the field, or its end. mentions: names
    and numbers that the message must contain, not its wording. remedy: options, commands and files
    that the remedy must contain. error: the class.
    """
    with pytest.raises(error) as caught:
        yield caught
    found = caught.value
    assert "\n" not in str(found)
    if kind is not None:
        assert found.kind == kind, found
    if file is not None:
        assert str(found.file).endswith(str(file)), found
    if field is not None:
        assert (found.field or "").endswith(field), found
    for name in mentions:
        assert name in str(found)
    for name in remedy:
        assert name in str(found.remedy), found
