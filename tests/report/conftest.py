"""A browser, and pages in it."""

import pytest

from tests.report.browsers import chromium, pages
from tests.report.viewer_pages import room


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def open_page(browser):
    """Opens a file. At the end, errors or network requests fail the test."""
    with pages(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A viewer file with a space in its name."""
    return room(tmp_path_factory.mktemp("viewer") / "a room.html")
