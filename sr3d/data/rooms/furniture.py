"""Furniture, with one builder per class: a function from a random generator to a mesh.

Every piece stands on z = 0, centred at the origin, with its front towards +y and its back to the
wall. Sizes are in metres. Sizes and colours are typical, so that classes can be distinguished.
"""

from __future__ import annotations

import math

import numpy as np

from sr3d.data.rooms.shapes import Color, QuadMesh, blob, block, cylinder, join, lathe

Rng = np.random.Generator

_WOODS = np.array(
    [
        (0.72, 0.53, 0.33),
        (0.58, 0.38, 0.22),
        (0.42, 0.27, 0.16),
        (0.82, 0.67, 0.47),
        (0.6, 0.45, 0.3),
    ]
)
_FABRICS = np.array(
    [(0.3, 0.35, 0.5), (0.55, 0.2, 0.2), (0.35, 0.45, 0.35), (0.5, 0.48, 0.45), (0.25, 0.45, 0.5)]
)
_BRIGHT = np.array(
    [(0.8, 0.2, 0.15), (0.15, 0.35, 0.7), (0.9, 0.7, 0.2), (0.2, 0.55, 0.3), (0.9, 0.9, 0.85),
     (0.5, 0.25, 0.5), (0.15, 0.15, 0.2), (0.85, 0.5, 0.2)]
)  # fmt: skip
_METAL = (0.62, 0.63, 0.65)
_BLACK = (0.1, 0.1, 0.11)


def tinted(rng: Rng, color: Color, spread: float = 0.04) -> np.ndarray:
    """A colour near the given one."""
    return np.clip(np.asarray(color) + rng.normal(0, spread, 3), 0.02, 0.98)


def wood(rng: Rng) -> np.ndarray:
    """The colour of some wood."""
    return tinted(rng, _WOODS[rng.integers(len(_WOODS))], 0.03)


def fabric(rng: Rng) -> np.ndarray:
    """The colour of some upholstery."""
    return tinted(rng, _FABRICS[rng.integers(len(_FABRICS))], 0.05)


def bright(rng: Rng) -> np.ndarray:
    """A book's, a toy's or a picture's colour."""
    return tinted(rng, _BRIGHT[rng.integers(len(_BRIGHT))], 0.05)


def legs(width: float, depth: float, height: float, thick: float, color: Color) -> list[QuadMesh]:
    """Four posts inside the corners of a width x depth rectangle."""
    x, y = width / 2, depth / 2
    sides_x = ((-x, -x + thick), (x - thick, x))
    sides_y = ((-y, -y + thick), (y - thick, y))
    return [block(sx, sy, (0, height), color) for sx in sides_x for sy in sides_y]


def cabinet(rng: Rng) -> QuadMesh:
    """A wardrobe, a sideboard or a nightstand: closed carcass, doors or drawers with handles."""
    kind = rng.choice(3, p=(0.35, 0.45, 0.2))
    width = (rng.uniform(0.8, 1.3), rng.uniform(0.8, 1.5), rng.uniform(0.42, 0.55))[kind]
    depth = (rng.uniform(0.5, 0.6), rng.uniform(0.4, 0.5), rng.uniform(0.38, 0.45))[kind]
    height = (rng.uniform(1.8, 2.1), rng.uniform(0.72, 0.95), rng.uniform(0.48, 0.6))[kind]
    body, front = wood(rng), wood(rng)
    columns, rows = ((2, 1), (int(rng.integers(2, 4)), 1), (1, 2))[kind]
    x, y = width / 2, depth / 2 - 0.03  # doors and handles stand before the carcass
    parts = [
        block((-x + 0.03, x - 0.03), (-y + 0.01, y - 0.05), (0, 0.08), 0.5 * body),
        block((-x, x), (-depth / 2, y - 0.02), (0.06, height), body),
        block((-x - 0.01, x + 0.01), (-depth / 2, y + 0.01), (height, height + 0.03), body * 0.9),
    ]
    step_x, step_z = width / columns, (height - 0.08) / rows
    for i in range(columns):
        for j in range(rows):
            left, low = -x + i * step_x, 0.08 + j * step_z
            leaf = (left + 0.015, left + step_x - 0.015), (y - 0.02, y)
            parts.append(block(*leaf, (low + 0.015, low + step_z - 0.015), front))
            if kind == 2:
                middle, level = left + step_x / 2, low + step_z * 0.6
                grip, span = (middle - 0.07, middle + 0.07), (level, level + 0.03)
            else:
                middle, level = left + step_x * (0.88 if i % 2 == 0 else 0.12), low + step_z * 0.5
                grip, span = (middle - 0.015, middle + 0.015), (level - 0.1, level + 0.1)
            parts.append(block(grip, (y, depth / 2), span, _METAL))
    return join(parts)


def bed(rng: Rng) -> QuadMesh:
    """Frame, mattress, blanket, headboard and pillows."""
    width, length = rng.uniform(0.95, 1.7), rng.uniform(1.95, 2.1)
    frame, sheet, cover = wood(rng), tinted(rng, (0.9, 0.89, 0.86), 0.03), fabric(rng)
    x, y = width / 2, length / 2
    top = rng.uniform(0.46, 0.56)
    fold = y - length * rng.uniform(0.62, 0.75)
    parts = [
        block((-x, x), (-y, -y + 0.06), (0, rng.uniform(0.85, 1.1)), frame),
        block((-x, x), (y - 0.04, y), (0, 0.4), frame),
        block((-x, x), (-y + 0.06, y - 0.04), (0.14, 0.3), frame),
        block((-x + 0.03, x - 0.03), (-y + 0.06, y - 0.05), (0.3, top), sheet),
        block((-x, x), (fold, y - 0.04), (top - 0.16, top + 0.03), cover),
        *legs(width, length - 0.2, 0.16, 0.07, frame),
    ]
    count = 1 if width < 1.25 else 2
    for i in range(count):
        middle = (i + 0.5) * width / count - x
        size = (min(0.62, width / count - 0.1), 0.38, 0.14)
        parts.append(blob(size, tinted(rng, (0.94, 0.94, 0.92), 0.02), (middle, -y + 0.3, top)))
    return join(parts)


def chair(rng: Rng) -> QuadMesh:
    """A dining chair on four legs, or an office chair on a star of wheels. Its back is at -y."""
    width, depth, seat = rng.uniform(0.42, 0.5), rng.uniform(0.42, 0.5), rng.uniform(0.43, 0.48)
    top = rng.uniform(0.88, 1.02)
    x, y = width / 2, depth / 2
    if rng.random() < 0.65:
        color = wood(rng)
        cushion = fabric(rng) if rng.random() < 0.5 else color
        parts = [
            *legs(width, depth, seat - 0.04, 0.045, color),
            block((-x, x), (-y, y), (seat - 0.05, seat), cushion),
        ]
        for side in (-x, x - 0.04):
            parts.append(block((side, side + 0.04), (-y, -y + 0.04), (seat, top), color))
        if rng.random() < 0.5:
            parts.append(block((-x + 0.04, x - 0.04), (-y, -y + 0.035), (seat + 0.1, top), cushion))
        else:
            for level in np.linspace(seat + 0.15, top - 0.07, 3):
                parts.append(block((-x, x), (-y, -y + 0.03), (level, level + 0.07), color))
        return join(parts)
    color = tinted(rng, _BLACK, 0.02) if rng.random() < 0.4 else fabric(rng)
    dark = tinted(rng, (0.16, 0.16, 0.17), 0.02)
    parts = [
        cylinder(0.035, (0.08, seat - 0.06), _METAL),
        block((-x, x), (-0.03, 0.03), (0, 0.08), dark),
        block((-0.03, 0.03), (-y, y), (0, 0.08), dark),
        block((-x, x), (-y + 0.04, y), (seat - 0.07, seat + 0.02), color),
        block((-0.05, 0.05), (-y, -y + 0.03), (seat - 0.04, seat + 0.2), dark),
        block((-x + 0.03, x - 0.03), (-y, -y + 0.06), (seat + 0.12, top), color),
    ]
    if rng.random() < 0.6:
        for side in (-x, x - 0.05):
            parts.append(
                block((side, side + 0.05), (-0.12, 0.12), (seat + 0.18, seat + 0.22), dark)
            )
            parts.append(block((side, side + 0.05), (-0.03, 0.03), (seat, seat + 0.18), dark))
    return join(parts)


def sofa(rng: Rng) -> QuadMesh:
    """Base, arms, back, seat and back cushions, a pillow."""
    seats = int(rng.integers(2, 4))
    width = 0.38 + seats * rng.uniform(0.52, 0.62)
    depth, seat, top = rng.uniform(0.8, 0.95), rng.uniform(0.4, 0.46), rng.uniform(0.76, 0.9)
    color = fabric(rng)
    cushion = np.clip(color * 1.1 + 0.02, 0, 1)
    x, y, arm = width / 2, depth / 2, 0.17
    parts = [
        block((-x, x), (-y, y), (0.06, 0.28), color),
        block((-x, x), (-y, -y + 0.2), (0.28, top), color),
        *legs(width, depth, 0.06, 0.06, _BLACK),
    ]
    arm_top = rng.uniform(0.56, 0.66)
    for side in (-x, x - arm):
        parts.append(block((side, side + arm), (-y, y), (0.28, arm_top), color))
    step = (width - 2 * arm) / seats
    for i in range(seats):
        left = -x + arm + i * step
        span = (left + 0.01, left + step - 0.01)
        parts.append(block(span, (-y + 0.2, y - 0.02), (0.28, seat), cushion))
        parts.append(block(span, (-y + 0.2, -y + 0.34), (seat, top - 0.05), cushion))
    for _ in range(int(rng.integers(0, 3))):
        middle = rng.uniform(-x + arm + 0.22, x - arm - 0.22)
        parts.append(blob((0.4, 0.18, 0.36), bright(rng), (middle, -y + 0.42, seat)))
    return join(parts)


def table(rng: Rng) -> QuadMesh:
    """A rectangular, a round or a low coffee table: a top on legs, nothing below it."""
    color, kind = wood(rng), rng.choice(3, p=(0.5, 0.25, 0.25))
    if kind == 1:
        radius, height = rng.uniform(0.42, 0.55), rng.uniform(0.71, 0.76)
        return join([
            cylinder(radius, (height - 0.04, height), color),
            cylinder(0.05, (0.04, height - 0.04), 0.7 * color),
            cylinder(radius * 0.55, (0.0, 0.04), 0.7 * color),
        ])  # fmt: skip
    if kind == 0:
        width, depth, height = (
            rng.uniform(1.0, 1.5),
            rng.uniform(0.72, 0.9),
            rng.uniform(0.71, 0.76),
        )
    else:
        width, depth, height = (
            rng.uniform(0.8, 1.15),
            rng.uniform(0.5, 0.65),
            rng.uniform(0.38, 0.47),
        )
    x, y, dark, low = width / 2, depth / 2, 0.85 * color, height - 0.04
    return join([
        block((-x, x), (-y, y), (low, height), color),
        block((-x + 0.07, x - 0.07), (-y + 0.07, y - 0.07), (low - 0.06, low), dark),
        *legs(width - 0.06, depth - 0.06, low, 0.065, dark),
    ])  # fmt: skip


def desk(rng: Rng) -> QuadMesh:
    """A light or white top, drawers at one side, a panel at the other and one behind."""
    width, depth, height = rng.uniform(1.1, 1.5), rng.uniform(0.6, 0.72), rng.uniform(0.71, 0.76)
    top = tinted(rng, (0.86, 0.84, 0.8), 0.04) if rng.random() < 0.6 else wood(rng)
    body = tinted(rng, (0.75, 0.75, 0.76), 0.05)
    x, y = width / 2, depth / 2
    side = 1 if rng.random() < 0.5 else -1

    def across(low: float, high: float) -> tuple[float, float]:
        return (low, high) if side > 0 else (-high, -low)

    parts = [
        block((-x, x), (-y, y), (height - 0.04, height), top),
        block(across(x - 0.45, x - 0.02), (-y + 0.03, y - 0.05), (0.04, height - 0.04), body),
        block(across(-x + 0.01, -x + 0.05), (-y + 0.03, y - 0.05), (0, height - 0.04), body),
        block((-x + 0.03, x - 0.03), (-y + 0.03, -y + 0.06), (0.25, height - 0.04), body),
    ]
    for level in (0.06, 0.28, 0.5):
        front = across(x - 0.44, x - 0.03), (y - 0.05, y - 0.03), (level, level + 0.18)
        parts.append(block(*front, 0.9 * body))
        grip = across(x - 0.3, x - 0.17), (y - 0.03, y - 0.005), (level + 0.1, level + 0.13)
        parts.append(block(*grip, (0.3, 0.3, 0.32)))
    return join(parts)


def bookshelf(rng: Rng) -> QuadMesh:
    """Open shelves with sides and a back, filled with books in groups."""
    width, depth, height = rng.uniform(0.7, 1.15), rng.uniform(0.28, 0.36), rng.uniform(1.35, 2.1)
    color = wood(rng) if rng.random() < 0.7 else tinted(rng, (0.9, 0.9, 0.88), 0.02)
    x, y, board = width / 2, depth / 2, 0.025
    count = round(height / 0.36)
    levels = np.linspace(0.05, height - board, count + 1)
    parts = [
        block((-x, -x + board), (-y, y), (0, height), color),
        block((x - board, x), (-y, y), (0, height), color),
        block((-x + board, x - board), (-y, -y + 0.015), (0, height), 0.8 * color),
    ]
    for level in levels:
        parts.append(block((-x + board, x - board), (-y, y), (level, level + board), color))
    for low, high in zip(levels[:-1] + board, levels[1:], strict=True):
        place = -x + board + rng.uniform(0, 0.1)
        while place < x - 0.16:
            thick = rng.uniform(0.04, 0.14)
            if rng.random() < 0.85:
                tall = (high - low) * rng.uniform(0.6, 0.92)
                back, front = -y + 0.02, y - rng.uniform(0.02, 0.1)
                parts.append(
                    block((place, place + thick), (back, front), (low, low + tall), bright(rng))
                )
            place += thick + (rng.uniform(0.03, 0.1) if rng.random() < 0.2 else 0.004)
    return join(parts)


def refrigerator(rng: Rng) -> QuadMesh:
    """A tall white or steel box: two doors with long upright handles."""
    width, depth, height = rng.uniform(0.6, 0.72), rng.uniform(0.62, 0.72), rng.uniform(1.5, 1.85)
    white = rng.random() < 0.75
    color = tinted(rng, (0.93, 0.93, 0.92) if white else (0.7, 0.72, 0.74), 0.015)
    x, y = width / 2, depth / 2 - 0.05
    split = height * rng.uniform(0.6, 0.7)
    handle = x - 0.09 if rng.random() < 0.5 else -x + 0.05
    parts = [
        block((-x, x), (-depth / 2, y - 0.06), (0.03, height), color * 0.97),
        block((-x + 0.03, x - 0.03), (-depth / 2 + 0.03, y - 0.08), (0, 0.03), _BLACK),
        block((-x, x), (y - 0.055, y), (0.06, split - 0.01), color),
        block((-x, x), (y - 0.055, y), (split + 0.01, height), color),
    ]
    for low, high in ((split - 0.5, split - 0.06), (split + 0.06, min(split + 0.4, height - 0.06))):
        parts.append(
            block((handle, handle + 0.04), (y, depth / 2), (low, high), (0.35, 0.35, 0.37))
        )
    return join(parts)


def toilet(rng: Rng) -> QuadMesh:
    """A bowl with its seat, the lid up or down, and a cistern at the wall."""
    white = tinted(rng, (0.97, 0.97, 0.96), 0.01)
    width, length, rim = rng.uniform(0.37, 0.41), rng.uniform(0.68, 0.76), rng.uniform(0.37, 0.4)
    y = length / 2
    bowl = length - 0.22
    center, stretch = (0.0, y - bowl / 2, 0.0), (width / 2, bowl / 2)
    outline = [(0.0, 0.0), (0.75, 0.0), (0.7, 0.15), (0.95, rim - 0.1), (1.0, rim), (0.72, rim)]
    inside = [(0.6, rim - 0.15), (0.0, rim - 0.2)]
    tank, half = rng.uniform(0.68, 0.75), rng.uniform(0.22, 0.25)
    parts = [
        block((-half, half), (-y, -y + 0.2), (rim - 0.03, tank), white),
        block((-half - 0.01, half + 0.01), (-y, -y + 0.21), (tank, tank + 0.03), white * 0.98),
        block((-0.12, 0.12), (-y, -y + 0.3), (0, rim - 0.03), white * 0.98),
        cylinder(0.025, (tank + 0.03, tank + 0.045), _METAL, (0.0, -y + 0.1)),
    ]
    if rng.random() < 0.5:  # lid up
        lid = (-width / 2 + 0.01, width / 2 - 0.01), (-y + 0.215, -y + 0.245)
        parts.append(block(*lid, (rim, rim + 0.33), white * 0.99))
        parts.append(lathe(outline + inside, white, center, stretch))
    else:
        lid_outline = [*outline[:5], (1.0, rim + 0.03), (0.0, rim + 0.035)]
        parts.append(lathe(lid_outline, white, center, stretch))
    return join(parts)


def garbagebin(rng: Rng) -> QuadMesh:
    """An open vessel, round or square, wider at the top."""
    height, radius = rng.uniform(0.36, 0.65), rng.uniform(0.15, 0.2)
    color = tinted(
        rng,
        ((0.2, 0.2, 0.22), (0.2, 0.35, 0.6), (0.25, 0.5, 0.3), (0.5, 0.5, 0.52))[rng.integers(4)],
    )
    foot, wall = radius * rng.uniform(0.75, 0.9), 0.015
    outline = [(0.0, 0.0), (foot, 0.0), (radius, height), (radius - wall, height)]
    inside = [(foot - wall, height * 0.35), (0.0, height * 0.35)]  # so full it is
    if rng.random() < 0.6:
        return lathe(outline + inside, color, sides=12)
    square = [(r * math.sqrt(2), z) for r, z in outline + inside]
    return lathe(square, color, sides=4).moved(math.pi / 4, (0, 0, 0))


BUILDERS = {
    "cabinet": cabinet,
    "bed": bed,
    "chair": chair,
    "sofa": sofa,
    "table": table,
    "bookshelf": bookshelf,
    "desk": desk,
    "refrigerator": refrigerator,
    "toilet": toilet,
    "garbagebin": garbagebin,
}
