"""Commands that are refused, by the fields of their errors."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sr3d.cli import main
from sr3d.errors import InputError


def refused(words: Sequence[str]) -> InputError:
    """The error of a command line. Its message must be one line."""
    with pytest.raises(InputError) as caught:
        main([*words, "--debug"])
    assert "\n" not in str(caught.value)
    return caught.value
