"""The page in a browser: opened from disk, offline, light and dark, wide and narrow."""

import re
import shutil

import pytest
from playwright.sync_api import sync_playwright

from sr3d.report.writing import write_report
from tests.make_runs import make_tree
from tests.shared_data import ROOT

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZES = {"wide": (1400, 900), "middle": (900, 700), "narrow": (390, 844)}


@pytest.fixture(scope="module")
def browser():
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"needs an installed Chromium ({', '.join(BROWSERS)})")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    make_tree(folder / "runs", trainings=3, tests=2)
    tables = ROOT / "workflow" / "tables.yaml"
    write_report(folder / "runs", tables, folder / "out", ["table1", "table2", "fig6", "fig8"])
    page = folder / "elsewhere" / "a copy.html"  # alone, without the files beside it
    page.parent.mkdir()
    shutil.copy(folder / "out" / "index.html", page)
    return page.as_uri()


@pytest.fixture
def open_page(browser, address):
    """Opens the page; at the end nothing may have gone wrong or over the network."""
    contexts, wrong = [], []

    def note(request):
        if not request.url.startswith(("file:", "data:")):
            wrong.append(request.url)

    def opened(size="wide", scheme="light"):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(request.url[:100]))
        page.on("request", note)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def colour(page, selector: str, name: str) -> tuple[float, ...]:
    text = page.eval_on_selector(selector, f"e => getComputedStyle(e).{name}")
    return tuple(float(part) for part in re.findall(r"[\d.]+", text)[:3])


def contrast(one, other) -> float:
    """WCAG 2.1's ratio of two sRGB colours, 1 to 21."""

    def luminance(colour) -> float:
        linear = [
            v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
            for v in (part / 255 for part in colour)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_tables_claims_and_figures_are_seen(open_page):
    page = open_page()
    assert page.title() == "SR3D: the paper's results beside ours"
    for selector in ("#table1-synthetic table", "#claims .says", "#values figure img"):
        assert page.locator(selector).first.is_visible()
    drawn = page.eval_on_selector_all("img", "all => all.map(e => e.naturalWidth)")
    assert len(drawn) >= 3
    assert min(drawn) > 100


def test_folded_claims_open_by_keyboard(open_page):
    page = open_page()
    fold = page.locator("#claims details").first
    assert not fold.locator(".says").first.is_visible()
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    assert fold.locator(".says").first.is_visible()


def test_the_first_stop_of_the_tabulator_skips_the_contents(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    top = page.evaluate("document.querySelector('main').getBoundingClientRect().top")
    assert top < SIZES["wide"][1]


def test_light_and_dark_differ_and_both_can_be_read(open_page):
    grounds = {}
    for scheme in ("light", "dark"):
        page = open_page(scheme=scheme)
        ground = grounds[scheme] = colour(page, "body", "backgroundColor")
        selectors = (
            "main p", "#claims .why", "#claims .where", "caption", ".notes", "nav a", ".counts li",
            "td.none", ".verdict h4",
        )  # fmt: skip
        for selector in selectors:
            assert contrast(colour(page, selector, "color"), ground) >= 4.5, (scheme, selector)
        for selector in (".caution", "td.paper", "pre"):
            own = colour(page, selector, "backgroundColor")
            assert contrast(colour(page, selector, "color"), own) >= 4.5, (scheme, selector)
        assert colour(page, ".card", "backgroundColor") == (255, 255, 255)
    assert sum(grounds["light"]) > 600
    assert sum(grounds["dark"]) < 150


@pytest.mark.parametrize("size", list(SIZES))
def test_the_page_itself_never_scrolls_sideways(open_page, size):
    page = open_page(size)
    page.eval_on_selector_all("details", "all => all.forEach(e => { e.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    beyond = page.evaluate(
        """width => [...document.querySelectorAll('main *')].filter(e =>
            !e.closest('.box, pre') && e.getBoundingClientRect().right > width + 1
        ).map(e => e.outerHTML.slice(0, 80))""",
        SIZES[size][0],
    )
    assert not beyond


def test_wide_tables_scroll_in_their_own_box(open_page):
    page = open_page("narrow")
    box = page.locator("#table1-synthetic .box")
    assert box.evaluate("e => e.scrollWidth > e.clientWidth")
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#table1-synthetic .box').scrollLeft > 0")


def test_print_shows_what_the_screen_folds(open_page):
    page = open_page(scheme="dark")
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator("#claims details .says").first.is_visible()
    assert colour(page, "body", "backgroundColor") == (255, 255, 255)
    caution = colour(page, ".caution", "backgroundColor")
    assert contrast(colour(page, ".caution", "color"), caution) >= 4.5
