"""Opens viewers in headless Chromium, whose WebGL is drawn by the processor."""

import io
import shutil
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from sr3d.report.viewer import BoxLayer, write_viewer

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
SIZES = {"wide": (1000, 700), "phone": (390, 844)}
CLASSES = ("chair", "table", "sofa", "lamp")
FOUND = np.array(
    [
        [1, 1, 0.5, 0.8, 0.8, 0.8, 0],
        [3.2, 1, 0.5, 1, 0.8, 0.8, 0.5],
        [2, 3, 0.5, 1.4, 0.6, 0.8, 0],
    ],
    np.float32,
)
TRUTH = np.array([[1.2, 1, 0.5, 0.8, 0.8, 0.8, 0], [3.2, 1, 0.5, 1, 0.8, 0.8, 0.5]], np.float32)
SCORES = (0.9, 0.5, 0.2)
_EXPECTED = "GL Driver Message"  # that reading pixels back is slow


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
    """A function that opens a file; at the end nothing may have gone wrong or over the network."""
    contexts, wrong = [], []

    def note(request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            wrong.append(request.url)

    def opened(path, size="wide", scheme="light", script=None, **options):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: _EXPECTED in m.text or wrong.append(m.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", note)
        if script is not None:
            page.add_init_script(script)
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def room(path, count=4000, layers=None, **options):
    """A viewer of a grey floor with three boxes found and two true ones."""
    points = np.random.default_rng(0).random((count, 3)) * [4, 4, 0.02]
    points[:2] = [[0, 0, 0], [4, 4, 2]]
    layers = layers or [
        BoxLayer("found", FOUND, [0, 1, 2], SCORES, CLASSES),
        BoxLayer("ground truth", TRUTH, [0, 1], None, CLASSES),
    ]
    write_viewer(path, "A room", points, np.full((count, 3), 0.5), layers, **options)
    return path


def state(page) -> dict:
    return page.evaluate("window.viewer.state")


def settled(page) -> dict:
    """The state once all is drawn. (The page forbids `eval`, so that Playwright cannot wait.)"""
    end = time.monotonic() + 120
    while not (now := state(page))["still"]:
        assert time.monotonic() < end, now
        page.wait_for_timeout(30)
    page.wait_for_timeout(60)  # until it is on the screen
    return state(page)


def place(page, point) -> tuple[float, float]:
    """Pixels of the page where a point of the scene is drawn; the view begins at its corner."""
    x, y, _ = page.evaluate("point => window.viewer.project(point)", [float(v) for v in point])
    return x, y


def pixels(page) -> np.ndarray:
    """(H, W, 3) uint8 of what is seen, the view without its buttons and names."""
    page.add_style_tag(content=".bar, #labels { visibility: hidden }")
    return np.array(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))


def around(picture, x, y, reach=1) -> np.ndarray:
    """(n, 3) colours of the pixels around a place."""
    i, j = round(y), round(x)
    part = picture[i - reach : i + reach + 1, j - reach : j + reach + 1]
    return part.reshape(-1, 3).astype(int)


def corners(box) -> np.ndarray:
    """(8, 3), bit by bit x, y, z."""
    x, y, z, dx, dy, dz, yaw = (float(v) for v in box)
    made = []
    for i in range(8):
        u, v, w = ((i >> axis & 1) - 0.5 for axis in range(3))
        u, v = u * dx, v * dy
        made.append(
            [
                x + np.cos(yaw) * u - np.sin(yaw) * v,
                y + np.sin(yaw) * u + np.cos(yaw) * v,
                z + w * dz,
            ]
        )
    return np.array(made)
