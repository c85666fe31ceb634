"""A labelled box as in its file, its place in an upright scene, and the classes of a set."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from sr3d.data.scans.frame import UNITS, Frame, turn_upright
from sr3d.errors import InputError, Kind
from sr3d.runs.files import read_text
from sr3d.validation import did_you_mean, validate
from sr3d.value_types import Foreign, Rule

Array = npt.NDArray[Any]
T = TypeVar("T")

_LEAN = math.radians(1.0)  # maximum angle of an upright box to the vertical
_TURN = 2 * math.pi + 1e-3
_EVEN = 1e-3  # maximum angle in radians between an edge and an axis that are parallel
_FLAT = 0.01  # maximum cosine of perpendicular edges, and error of a corner relative to the size


@dataclass(frozen=True)
class FilePlace:
    """A label file, and a field in it such as "scans.kitchen.ply[0]". Empty for the whole file."""

    file: Path
    field: str = ""

    def at(self, inside: str) -> FilePlace:
        """A field or an item inside this place."""
        joined = self.field + (inside if inside.startswith("[") else f".{inside}")
        return FilePlace(self.file, joined.lstrip("."))

    def error(self, problem: str, kind: Kind, remedy: str | None = None) -> InputError:
        """An error that names this place."""
        return InputError(
            problem, file=self.file, field=self.field or None, kind=kind, remedy=remedy
        )


@dataclass(frozen=True)
class FileValue:
    """A value from a label file in JSON or text, and its place."""

    value: Any
    place: FilePlace

    def read(self, kind: type[T], value: Any) -> T:
        """Typed values from `value`, which may be a part of the value at this place.

        Raises:
            InputError: names the file and the field.
        """
        return validate(kind, value, self.place.file, self.place.field)


@dataclass(frozen=True)
class Label:
    """A box in the coordinates and the unit of its scan.

    name: its class. center: (3,). size: (3,), full lengths along its own axes. turn: these axes as
    the columns of (3, 3), or a yaw in radians about the scan's up axis, counter-clockwise seen from
    above. place: of the box in its file. written: its class with the file's spelling and spaces.
    """

    name: str
    center: Array
    size: Array
    turn: Array | float
    place: FilePlace
    written: str = ""

    def placed(self, frame: Frame, *, upright: bool = False, aligned: bool = False) -> Array:
        """(7,) centre, size and yaw in upright metres. A quarter turn swaps sizes and has yaw 0.

        upright: a tilted box becomes the smallest upright box of its heading around it.
        aligned: a box with a yaw becomes the smallest axis-aligned box around it.

        Raises:
            InputError: the box is tilted, and `upright` is not set.
        """
        axes = yaw_axes(self.turn) if isinstance(self.turn, float) else frame.rotation @ self.turn
        size, yaw, lean = _heading(axes, self.size)
        if lean > _LEAN and not upright:
            raise self.place.error(
                f"leans by {math.degrees(lean):.1f}°, but detectors need upright boxes",
                Kind.VALUE,
                "If the scan is not upright, give its --up. Otherwise correct the box, or give "
                "--upright to use upright boxes around tilted ones.",
            )
        if aligned and yaw:
            size, yaw = np.abs(yaw_axes(yaw)) @ size, 0.0
        center = frame.scale * frame.rotation @ (self.center - frame.origin)
        return np.concatenate([center, frame.scale * size, [yaw]])

    def is_turned(self, up: str | None) -> bool:
        """Whether the box has a yaw. If `up` is unknown, whether it is parallel to no axis."""
        if isinstance(self.turn, float):
            return _heading(yaw_axes(self.turn), self.size)[1] != 0
        if up is not None:
            return _heading(turn_upright(up) @ self.turn, self.size)[1] != 0
        return bool((np.sort(np.abs(self.turn), axis=0)[:2] > _EVEN).any())


def _heading(axes: Array, size: Array) -> tuple[Array, float, float]:
    """The size (3,) along heading, side and height, yaw and lean (radians) of a box with `axes`."""
    up = int(np.abs(axes[2]).argmax())
    first, second = (up + 1) % 3, (up + 2) % 3
    yaw = math.atan2(axes[1, first], axes[0, first])
    lean = math.acos(min(1.0, abs(float(axes[2, up]))))
    upright = size[[first, second, up]]
    if lean > _LEAN:
        upright = np.abs(yaw_axes(yaw).T @ axes) @ size
    quarters = round(yaw / (math.pi / 2))
    if abs(yaw - quarters * math.pi / 2) < _EVEN:
        return (upright[[1, 0, 2]] if quarters % 2 else upright), 0.0, lean
    return upright, yaw, lean


def yaw_axes(yaw: float) -> Array:
    """(3, 3), the rotation by `yaw` about z."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def euler_axes(angles: Array, order: str) -> Array:
    """(3, 3), the product of the rotations about x, y and z by `angles` (radians), in `order` from
    left to right: "xyz" is Rx · Ry · Rz.
    """
    product = np.eye(3)
    for name in order:
        i = "xyz".index(name)
        cos, sin = math.cos(angles[i]), math.sin(angles[i])
        turn, (j, k) = np.eye(3), ((i + 1) % 3, (i + 2) % 3)
        turn[j, j], turn[j, k], turn[k, j], turn[k, k] = cos, -sin, sin, cos
        product = product @ turn
    return product


def label_of(
    name: str, center: Array, size: Array, turn: Array | float, place: FilePlace, named: FilePlace
) -> Label:
    """A label with a class and a positive size. named: the place of the class.

    A type cannot check this, because COCO's class names and the sizes from corners are not fields
    of the box.

    Raises:
        InputError: no class, or a size that is not positive.
    """
    text = " ".join(name.split())
    if not text:
        raise named.error("is empty", Kind.EMPTY, "Name the class of the box.")
    if not (size > 0).all():
        shown = " × ".join(f"{edge:g}" for edge in size)
        problem = f"the box has no extent ({shown})"
        raise place.error(problem, Kind.EMPTY, "Remove the box or correct its size.")
    return Label(text, center, size, turn, place, name)


def label_of_corners(
    name: str, corners: Array, along: tuple[int, int, int, int], place: FilePlace, named: FilePlace
) -> Label:
    """A label from its corners (8, 3). along: a corner, and its neighbours along the three axes.

    Raises:
        InputError: the corners do not form a cuboid.
    """
    origin, *ends = (corners[i] for i in along)
    edges = np.stack(ends, axis=1) - origin[:, None]
    size = np.linalg.norm(edges, axis=0)
    axes = edges / np.maximum(size, 1e-12)
    center = origin + edges.sum(axis=1) / 2
    off = float(np.abs(corners.mean(axis=0) - center).max())
    if np.abs(axes.T @ axes - np.diag(np.diag(axes.T @ axes))).max() > _FLAT or off > _FLAT * max(
        size
    ):
        problem = "its corners do not form a cuboid in the documented order"
        raise place.error(problem, Kind.VALUE, "Correct the corners.")
    return label_of(name, center, size, axes, place, named)


def in_radians(angle: float) -> float:
    """The angle unchanged, after a check that it is in radians.

    Raises:
        InputError: it is more than a full turn, so it is probably in degrees.
    """
    if abs(angle) > _TURN:
        raise InputError(
            f"{abs(angle):g} radians are more than a full turn, so the unit is probably degrees",
            kind=Kind.VALUE,
            remedy="Write radians (degrees times 0.0174533).",
        )
    return angle


def _eight(corners: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(corners) != 8:
        raise ValueError(f"expected 8 corners, got {len(corners)}")
    return corners


def _perpendicular(rows: tuple[Any, ...]) -> tuple[Any, ...]:
    found = np.array(rows)
    if np.abs(found.T @ found - np.eye(3)).max() > _EVEN:
        raise ValueError(f"expected a 3 × 3 rotation, got '{found.tolist()}'")
    return rows


def _known_unit(name: str) -> str:
    if name not in UNITS:
        raise InputError(f"unknown '{name}'{did_you_mean(name, list(UNITS))}", kind=Kind.UNKNOWN)
    return name


@dataclass(frozen=True)
class Vector(Foreign):
    """Three numbers, as annotation tools write them."""

    x: float
    y: float
    z: float

    def array(self) -> Array:
        """(3,) float64."""
        return np.array([self.x, self.y, self.z])


def _vector_in_radians(angles: Vector) -> Vector:
    in_radians(max(angles.x, angles.y, angles.z, key=abs))
    return angles


Triple = tuple[float, float, float]
Corners = Annotated[tuple[Triple, ...], Rule(_eight)]
Rotation = Annotated[tuple[Triple, Triple, Triple], Rule(_perpendicular)]
Radians = Annotated[float, Rule(in_radians)]
VectorOfRadians = Annotated[Vector, Rule(_vector_in_radians)]
Unit = Annotated[str, Rule(_known_unit)]
Skipped = Literal["skipped"]
"""Replaces an item that is not read, so that the other items keep their indices."""


def skip_unless(wanted: Callable[[dict[str, Any]], bool], items: Any) -> Any:
    """The items of a list. `Skipped` replaces unwanted mappings. Other items are left for the type
    to check.
    """
    if not isinstance(items, list):
        return items
    return ["skipped" if isinstance(x, dict) and not wanted(x) else x for x in items]


def given(value: T | None, place: FilePlace) -> T:
    """The value of a field that one form of a box requires and another does not have.

    Raises:
        InputError: it is None.
    """
    if value is None:
        raise place.error("is missing", Kind.MISSING)
    return value


def parse_classes(text: str) -> tuple[str, ...]:
    """The classes of `--classes`: a file with one name per line, or names separated by commas.

    Raises:
        InputError: no class, or one class twice.
    """
    path = Path(text)
    if path.is_file():
        parts = read_text(path).splitlines()
    elif text.endswith(".txt"):
        raise InputError(
            "no such file",
            field=f"--classes {text}",
            kind=Kind.MISSING,
            remedy="Write the file, or give the classes as a,b,c.",
        )
    else:
        parts = text.split(",")
    names = tuple(" ".join(part.split()) for part in parts if part.strip())
    if not names:
        raise InputError(
            "names no class",
            field=f"--classes {text}",
            kind=Kind.EMPTY,
            remedy="Give a,b,c or a file with one class per line.",
        )
    if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise InputError(
            f"'{twice}' is named twice",
            field="--classes",
            kind=Kind.CONFLICT,
            remedy="Name it once.",
        )
    return names


def classes_of(labels: Iterable[Label], classes: Sequence[str], ignore: bool) -> tuple[str, ...]:
    """The given classes, or else the sorted classes of the labels. ignore: whether to skip labels
    of other classes.

    Raises:
        InputError: a label of another class, or no label at all.
    """
    found = {label.name: label for label in reversed(list(labels))}
    if not classes:
        if not found:
            raise InputError(
                "no scan has a box",
                kind=Kind.EMPTY,
                remedy="Label some, or name the classes with --classes.",
            )
        return tuple(sorted(found))
    for name, label in found.items():
        if name not in classes and not ignore:
            raise label.place.error(
                f"unknown class '{name}'{did_you_mean(name, list(classes))}",
                Kind.UNKNOWN,
                "To skip such boxes, give --ignore-unknown.",
            )
    return tuple(classes)


def similar_names(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ only by case, spaces, hyphens, underscores or a plural s."""
    groups: dict[str, set[str]] = {}
    for name in names:
        bare = re.sub(r"[\s_-]+", "", name).casefold()
        groups.setdefault(bare.removesuffix("s"), set()).add(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]
