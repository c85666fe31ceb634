"""A viewer to test, and the state of its page."""

import io
import time

import numpy as np
from PIL import Image

from sr3d.study.report.viewer import BoxLayer, write_viewer

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
    """The state when all is drawn. (The page forbids `eval`, so Playwright cannot wait.)"""
    end = time.monotonic() + 120
    while not (now := state(page))["still"]:
        assert time.monotonic() < end, now
        page.wait_for_timeout(30)
    page.wait_for_timeout(60)  # until it is on the screen
    return state(page)


def place(page, point) -> tuple[float, float]:
    """Page pixels of a point of the scene. The view begins at the page's corner."""
    x, y, _ = page.evaluate("point => window.viewer.project(point)", [float(v) for v in point])
    return x, y


def pixels(page) -> np.ndarray:
    """(H, W, 3) uint8 picture of the view without buttons and names."""
    hidden = page.add_style_tag(content=".bar, #labels { visibility: hidden }")
    picture = np.array(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    hidden.evaluate("style => style.remove()")
    return picture


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
