"""Open pages in headless Chromium, with WebGL on the CPU."""

import re
import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
SIZES = {
    "large": (1400, 900),
    "laptop": (1280, 800),
    "wide": (1000, 700),
    "middle": (900, 700),
    "phone": (390, 844),
}
_EXPECTED = "GL Driver Message"  # a warning that reading pixels back is slow


@contextmanager
def chromium():
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"needs an installed Chromium ({', '.join(BROWSERS)})")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield found
        found.close()


@contextmanager
def pages(browser):
    """A function that opens a file. At the end, errors or network requests fail the test."""
    contexts, wrong = [], []

    def note(request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            wrong.append(request.url)

    def opened(path, size="wide", scheme="light", **options):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: _EXPECTED in m.text or wrong.append(m.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(request.url[:100]))
        page.on("request", note)
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def colour(page, selector: str, name: str) -> tuple[float, ...]:
    return parts(page.eval_on_selector(selector, f"e => getComputedStyle(e).{name}"))


def parts(text: str) -> tuple[float, ...]:
    """Red, green and blue of a computed style."""
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
