"""The page in a browser: opened from disk, offline, light and dark, wide and narrow."""

import io
import shutil

import pytest
from PIL import Image

from sr3d.study.report.report_folder import write_report
from tests.make_runs import make_tree
from tests.report.browsers import SIZES, colour, contrast, parts
from tests.shared_data import ROOT


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    make_tree(folder / "runs", trainings=3, tests=2)
    tables = ROOT / "workflow" / "tables.yaml"
    write_report(folder / "runs", tables, folder / "out", ["table1", "table2", "fig6", "fig8"])
    page = folder / "elsewhere" / "a copy.html"  # alone, without the files beside it
    page.parent.mkdir()
    shutil.copy(folder / "out" / "index.html", page)
    return page


def test_tables_claims_and_figures_are_seen(open_page, address):
    page = open_page(address, "large")
    assert page.title() == page.locator("h1").inner_text()
    assert page.title().startswith("SR3D: ")
    for selector in ("#table1-synthetic table", "#claims .says", "#values figure img"):
        assert page.locator(selector).first.is_visible()
    drawn = page.eval_on_selector_all("img", "all => all.map(e => e.naturalWidth)")
    assert len(drawn) >= 3
    assert min(drawn) > 100


def test_folded_claims_open_by_keyboard(open_page, address):
    page = open_page(address, "large")
    fold = page.locator("#claims details").first
    assert not fold.locator(".says").first.is_visible()
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    assert fold.locator(".says").first.is_visible()


def test_the_first_stop_of_the_tabulator_skips_the_contents(open_page, address):
    page = open_page(address, "large")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    top = page.evaluate("document.querySelector('main').getBoundingClientRect().top")
    assert top < SIZES["large"][1]


def test_light_and_dark_differ_and_both_can_be_read(open_page, address):
    grounds = {}
    for scheme in ("light", "dark"):
        page = open_page(address, "large", scheme)
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
    assert sum(grounds["light"]) > 600
    assert sum(grounds["dark"]) < 150


@pytest.mark.parametrize("size", list(SIZES))
def test_the_page_itself_never_scrolls_sideways(open_page, address, size):
    page = open_page(address, size)
    page.eval_on_selector_all("details", "all => all.forEach(e => { e.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    beyond = page.evaluate(
        """width => [...document.querySelectorAll('main *')].filter(e =>
            !e.closest('.box, pre') && e.getBoundingClientRect().right > width + 1
        ).map(e => e.outerHTML.slice(0, 80))""",
        SIZES[size][0],
    )
    assert not beyond


def test_wide_tables_scroll_in_their_own_box(open_page, address):
    page = open_page(address, "phone")
    box = page.locator("#table1-synthetic .box")
    assert box.evaluate("e => e.scrollWidth > e.clientWidth")
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#table1-synthetic .box').scrollLeft > 0")


def test_print_shows_what_the_screen_folds(open_page, address):
    page = open_page(address, "large", "dark")
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator("#claims details .says").first.is_visible()
    assert colour(page, "body", "backgroundColor") == (255, 255, 255)
    caution = colour(page, ".caution", "backgroundColor")
    assert contrast(colour(page, ".caution", "color"), caution) >= 4.5


def test_tables_fit_a_laptop(open_page, address):
    page = open_page(address, "laptop")
    page.eval_on_selector_all("details", "all => all.forEach(e => { e.open = true })")
    hidden = page.eval_on_selector_all(
        ".box:has(table)", "all => all.map(e => e.scrollWidth - e.clientWidth)"
    )
    assert len(hidden) > 3
    assert max(hidden) == 0


def test_on_a_phone_settings_stay_in_view_while_their_table_scrolls(open_page, address):
    page = open_page(address, "phone")
    box = page.locator("#table2-synthetic .box")
    box.evaluate("e => { e.scrollLeft = e.scrollWidth }")
    for name in box.locator('th[scope="row"]').all():
        left, right = (edge - box.bounding_box()["x"] for edge in edges(name.bounding_box()))
        assert left == pytest.approx(0, abs=1)
        assert right < SIZES["phone"][0] / 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_drawings_have_the_ground_and_the_ink_of_the_scheme(open_page, address, scheme):
    file = address.parent.parent / "out" / "strip_synthetic.svg"
    drawing = open_page(file, "large", scheme)
    ground = colour(drawing, "#patch_1 path", "fill")
    assert (sum(ground) < 150) is (scheme == "dark")
    assert contrast(colour(drawing, "text", "fill"), ground) >= 7
    marks = drawing.eval_on_selector_all(
        "use", "all => [...new Set(all.map(e => getComputedStyle(e).stroke))]"
    )
    assert all(contrast(parts(mark), ground) >= 3 for mark in marks if mark != "none")


def test_the_page_shows_drawings_in_its_own_scheme(open_page, address):
    light, dark = (
        Image.open(io.BytesIO(page.locator("#strip-synthetic img").screenshot(timeout=120_000)))
        for page in (open_page(address, "laptop", scheme) for scheme in ("light", "dark"))
    )
    assert sum(light.convert("RGB").getpixel((2, 2))) > 700
    assert sum(dark.convert("RGB").getpixel((2, 2))) < 150


def edges(place):
    return place["x"], place["x"] + place["width"]
