from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sparse.conformance.engines import NAMES, Engine, ready


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Every engine in turn; layers compute with it as long as the test lasts."""
    with ready(request.param) as found:
        yield found
