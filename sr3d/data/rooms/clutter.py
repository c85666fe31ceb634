"""Objects without labels: clutter on tables and floors, which occludes other objects."""

from __future__ import annotations

import math

from sr3d.data.rooms.furniture import Rng, bright, fabric, tinted, wood
from sr3d.data.rooms.shapes import QuadMesh, blob, block, cylinder, join, lathe


def books(rng: Rng) -> QuadMesh:
    """A small pile."""
    parts, level = [], 0.0
    for _ in range(int(rng.integers(1, 4))):
        x, y, thick = rng.uniform(0.08, 0.12), rng.uniform(0.1, 0.15), rng.uniform(0.03, 0.05)
        parts.append(block((-x, x), (-y, y), (level, level + thick), bright(rng)))
        level += thick
    return join(parts)


def vase(rng: Rng) -> QuadMesh:
    """A vase with a bunch of leaves."""
    green = tinted(rng, (0.25, 0.5, 0.2), 0.06)
    outline = [(0.0, 0.0), (0.05, 0.0), (0.07, 0.08), (0.04, 0.16), (0.0, 0.16)]
    return join(
        [lathe(outline, bright(rng), sides=8), blob((0.22, 0.22, 0.2), green, (0, 0, 0.15))]
    )


def lamp(rng: Rng) -> QuadMesh:
    """A table lamp with a shade."""
    shade = tinted(rng, (0.92, 0.86, 0.7), 0.03)
    return join([
        cylinder(0.07, (0, 0.02), (0.2, 0.2, 0.2)),
        cylinder(0.015, (0.02, 0.25), (0.3, 0.3, 0.3)),
        lathe([(0.0, 0.22), (0.13, 0.22), (0.08, 0.4), (0.0, 0.4)], shade, sides=8),
    ])  # fmt: skip


def monitor(rng: Rng) -> QuadMesh:
    """A screen on its foot, with a keyboard. The dark screen absorbs many rays."""
    x, top = rng.uniform(0.24, 0.32), rng.uniform(0.44, 0.52)
    dark = (0.08, 0.08, 0.1)
    return join([
        block((-0.12, 0.12), (-0.2, -0.05), (0, 0.02), dark),
        block((-0.03, 0.03), (-0.15, -0.12), (0.02, 0.16), dark),
        block((-x, x), (-0.14, -0.1), (0.12, top), dark, returns=0.5),
        block((-0.22, 0.22), (0.05, 0.2), (0, 0.025), tinted(rng, (0.25, 0.25, 0.27), 0.03)),
    ])  # fmt: skip


def carton(rng: Rng) -> QuadMesh:
    """A closed cardboard box, with a strip of tape."""
    x, y, z = rng.uniform(0.12, 0.22), rng.uniform(0.1, 0.18), rng.uniform(0.15, 0.35)
    brown = tinted(rng, (0.7, 0.54, 0.36))
    parts = [block((-x, x), (-y, y), (0, z), brown)]
    parts.append(block((-x, x), (-0.03, 0.03), (z, z + 0.005), (0.85, 0.8, 0.65)))
    return join(parts)


def plant(rng: Rng) -> QuadMesh:
    """A potted plant of a few heads of leaves."""
    green, height = tinted(rng, (0.22, 0.48, 0.18), 0.05), rng.uniform(0.7, 1.2)
    pot = [(0.0, 0.0), (0.1, 0.0), (0.14, 0.25), (0.0, 0.25)]
    parts = [
        lathe(pot, tinted(rng, (0.65, 0.35, 0.22)), sides=8),
        cylinder(0.02, (0.25, 0.7 * height), wood(rng)),
    ]
    for i in range(4):
        angle, reach = i * math.pi / 2 + rng.uniform(0, 1), rng.uniform(0.06, 0.12)
        width, low = rng.uniform(0.16, 0.26), height * rng.uniform(0.4, 0.7)
        center = (reach * math.cos(angle), reach * math.sin(angle), low)
        parts.append(blob((width, width, height - low), tinted(rng, green, 0.03), center))
    return join(parts)


def floor_lamp(rng: Rng) -> QuadMesh:
    """A lamp on a tall post."""
    height, metal = rng.uniform(1.4, 1.7), (0.25, 0.25, 0.27)
    shade = tinted(rng, (0.93, 0.88, 0.75), 0.03)
    outline = [(0.0, height - 0.26), (0.2, height - 0.26), (0.13, height), (0.0, height)]
    return join([
        cylinder(0.14, (0, 0.03), metal),
        cylinder(0.02, (0.03, height - 0.2), metal),
        lathe(outline, shade, sides=8),
    ])  # fmt: skip


def rug(rng: Rng) -> QuadMesh:
    """A flat rug with a border."""
    x, y = rng.uniform(0.6, 1.0), rng.uniform(0.45, 0.7)
    return join([
        block((-x, x), (-y, y), (0.0, 0.008), fabric(rng)),
        block((-x + 0.12, x - 0.12), (-y + 0.12, y - 0.12), (0.008, 0.012), fabric(rng)),
    ])  # fmt: skip


ON_TOP = (books, books, vase, lamp)
ON_FLOOR = (carton, plant, floor_lamp)
