from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.inspection.making import (
    STANDING,
    made,
    write,
)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes of which every number is known."""
    folder = tmp_path_factory.mktemp("small")
    a = made("a", STANDING, [0, 0, 1])
    b = made("b", STANDING, [0, 1, 1], hollow=(1,))
    empty, c = (
        made("empty", [], []),
        made("c", [*STANDING, [2, 4, 0.5, 0.4, 0.4, 1, 0]], [0, 0, 1, 0]),
    )
    return write(folder, {"train": [a, b, empty], "val": [c]})
