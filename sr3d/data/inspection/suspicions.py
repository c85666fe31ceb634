"""Signs of mistakes in the scenes of a split."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from sr3d.data.inspection.facts import OUTSIDE, Array, SceneFacts, Sign, Suspicion

FEW = 0.05  # a larger share of odd boxes in a split is reported
LARGE, SMALL = 100.0, 1.2  # metres, limits of a room's largest extent. A unit cube is too small
LONGER = 1.5  # no box is longer than this multiple of its scene's extent, plus a metre
TINY = 0.01  # metres, minimum of the longest edge of a box
SAME = 1e-3  # metres and radians, maximum difference of two equal boxes
NEAR = 0.1  # maximum difference of two boxes of one object, as a share of the size
DARK = 1.01 / 255  # if no colour is above this, colours were divided by 255 twice


def _one_color(seen: SceneFacts) -> bool:
    return seen.known > 0 and bool((seen.colors[0] == seen.colors[2]).all())


_LOOK = "Look at a picture of one, and rotate the data on reading so that"


def repeated(boxes: Array) -> bool:
    """Whether two of (K, 7) boxes are equal. Classes do not matter."""
    order = boxes[np.argsort(boxes[:, 0], kind="stable")]
    for step in range(1, len(order)):
        near = np.abs(order[step:, 0] - order[:-step, 0]) <= SAME
        if not near.any():  # neighbours along x are farther apart, so all others are too
            return False
        if (np.abs(order[step:][near] - order[:-step][near]) <= SAME).all(axis=1).any():
            return True
    return False


def nearly_repeated(boxes: Array, labels: Array) -> bool:
    """Whether two different boxes (K, 7) of one class overlap almost wholly.

    Compares their places, sizes and yaws.
    """
    for label in np.unique(labels):
        some = boxes[(labels == label) & np.isfinite(boxes).all(axis=1)]
        apart = np.abs(some[:, None, :3] - some[None, :, :3])
        size = np.minimum(some[:, None, 3:6], some[None, :, 3:6])
        other = np.abs(some[:, None, 3:6] - some[None, :, 3:6])
        near = ((apart < NEAR * size) & (other < NEAR * size)).all(axis=2)
        near &= np.abs(some[:, None, 6] - some[None, :, 6]) < NEAR
        one = (np.abs(some[:, None] - some[None]) <= SAME).all(axis=2)
        if (near & ~one).any():
            return True
    return False


# A sign, its test of a scene, the share of odd scenes above which it is reported, the problem and
# the remedy.
_RULES: tuple[tuple[Sign, Callable[[SceneFacts], bool], float, str, str], ...] = (
    (
        Sign.NOT_FINITE,
        lambda s: not s.finite,
        0,
        "NaN or infinite points or boxes",
        "Correct or remove these scenes",
    ),
    (Sign.X_UP, lambda s: s.up == 0, 0.5, "x looks like the up axis", f"{_LOOK} z is up"),
    (Sign.Y_UP, lambda s: s.up == 1, 0.5, "y looks like the up axis", f"{_LOOK} z is up"),
    (
        Sign.LARGE_SCENE,
        lambda s: bool(s.extents.max() > LARGE),
        0.5,
        f"points span more than {LARGE:g} m (millimetres or centimetres?)",
        "Scale points and boxes to metres",
    ),
    (
        Sign.SMALL_SCENE,
        lambda s: s.known > 0 and bool(s.extents.max() < SMALL),
        0.5,
        f"points span less than {SMALL:g} m (scaled to a unit size?)",
        "Scale points and boxes to metres",
    ),
    (
        Sign.DEGREES,
        lambda s: bool((np.abs(s.boxes[:, 6]) > 2 * math.pi + 1e-4).any()),
        0,
        "a yaw beyond a whole turn (degrees?)",
        "Give yaw in radians from −π to π",
    ),
    (
        Sign.LARGE_BOX,
        lambda s: bool((s.boxes[:, 3:6] > LONGER * s.extents.max() + 1).any()),
        0,
        "a box much longer than the scene (another unit than the points'?)",
        "Correct the box, or scale all boxes to metres",
    ),
    (
        Sign.FAR_BOX,
        lambda s: bool(s.lost.any()),
        0,
        "boxes farther from the points than the scene is long",
        "Remove or correct them",
    ),
    (
        Sign.SMALL_BOX,
        lambda s: bool((s.boxes[:, 3:6].max(axis=1, initial=0) < TINY).any()),
        0,
        f"a box smaller than {100 * TINY:g} cm (another unit than the points'?)",
        "Remove or correct the box, or scale all boxes to metres",
    ),
    (
        Sign.REPEATED_BOX,
        lambda s: repeated(s.boxes),
        0,
        "the same box twice",
        "Remove one of the two, because a detector can find only one",
    ),
    (
        Sign.NEARLY_REPEATED_BOX,
        lambda s: nearly_repeated(s.boxes, s.labels),
        0,
        "boxes of a class in almost the same place",
        "Remove one of the two if they are one object",
    ),
    (
        Sign.DARK,
        lambda s: s.known > 0 and bool(s.colors[2].max() <= DARK) and not _one_color(s),
        0,
        "no colour is above 1/255 (divided by 255 twice?)",
        "Scale the colours to 0 to 1 once",
    ),
    (
        Sign.ONE_COLOR,
        _one_color,
        0,
        "all points have the same colour",
        "Read the scans' colours, or leave these scenes out",
    ),
    (
        Sign.GREY,
        lambda s: s.grey and not _one_color(s),
        0,
        "all points are grey",
        "Check that the three colour channels are read, or leave these scenes out",
    ),
    (
        Sign.COLOR_RANGE,
        lambda s: bool(s.colors[0].min() < 0 or s.colors[2].max() > 1),
        0,
        "colours lie beyond 0 to 1",
        "Scale the colours to 0 to 1",
    ),
    (
        Sign.NO_BOX,
        lambda s: not len(s.boxes),
        0.5,
        "no box",
        "Check that the boxes are read and classes match",
    ),
)


def suspicions(split: str, seen: list[SceneFacts], rotated: bool) -> list[Suspicion]:
    """The signs of mistakes in the scenes of a split. rotated: whether its boxes may have a yaw."""
    found: list[Suspicion] = []

    def add(sign: Sign, odd: Sequence[SceneFacts], problem: str, remedy: str) -> None:
        scenes = tuple(scene.id for scene in odd)
        found.append(Suspicion(sign, split, scenes, len(seen), problem, remedy))

    for sign, test, share, problem, remedy in _RULES:
        odd = [s for s in seen if test(s)]
        if len(odd) > share * len(seen):
            add(sign, odd, problem, remedy)
    boxes = sum(len(s.boxes) for s in seen)
    for sign, mask, problem, remedy in (
        (
            Sign.OUTSIDE,
            "outside",
            f"with their centre more than {OUTSIDE:g} m outside the points",
            "Check that points and boxes are in the same frame and unit",
        ),
        (
            Sign.EMPTY_BOX,
            "empty",
            "without a point inside",
            "Check in a picture that points and boxes match",
        ),
    ):
        counts = [int(getattr(s, mask).sum()) for s in seen]
        # A few may be odd, but not two or more that are most of a scene's.
        most = [s for s, n in zip(seen, counts, strict=True) if n >= 2 and n > len(s.boxes) / 2]
        if sum(counts) > FEW * boxes:
            odd = [s for s, n in zip(seen, counts, strict=True) if n]
            add(sign, odd, f"{sum(counts)} of {boxes} boxes {problem}", remedy)
        elif most:
            add(sign, most, f"most boxes {problem}", remedy)
    sunk = [s for s in seen if len(s.boxes) >= 2 and s.sunk.sum() > len(s.boxes) / 2]
    if len(sunk) > len(seen) / 2:
        problem = "most boxes reach far below the points (centres of their bottom faces?)"
        add(Sign.SUNK, sunk, problem, "Give each box its geometric centre")
    # One real scene in ten looks so, because windows or cabinets share their upper edge.
    overturned = [s for s in seen if s.overturned]
    if len(overturned) > max(2, len(seen) / 2):
        add(Sign.UPSIDE_DOWN, overturned, "the floor seems to lie above", f"{_LOOK} z points up")
    turned = [s for s in seen if (np.abs(s.boxes[:, 6]) > 0).any()]
    if rotated and boxes >= 3 and not turned:
        odd = [s for s in seen if len(s.boxes)]
        add(Sign.NO_YAW, odd, "every yaw is 0 though boxes may turn", "Check that yaw is read")
    if turned and not rotated:
        add(
            Sign.YAW,
            turned,
            "boxes with a yaw though the data set has none",
            "Use the axis-aligned boxes around them",
        )
    return found
