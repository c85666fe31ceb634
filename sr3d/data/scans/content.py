"""What the reader of each kind of file returns, before any interpretation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Mark(StrEnum):
    """The reason for a fact as a code, for code and tests that must not depend on wording."""

    GIVEN = "given"  # the user set the value
    FLAT = "flat"  # all points lie in one plane
    BLACK = "black"  # many points are black
    ONE_COLOR = "one colour"  # all points have the same colour
    DISTORTED = "distorted"  # the lens has distortion, which is not corrected


class Fact(NamedTuple):
    """One property of a scan, found in its file or given by the user, and the reason for it."""

    name: str
    value: str
    why: str
    marks: tuple[Mark, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.value}: {self.why}"


@dataclass(frozen=True)
class Cloud:
    """points: (N, 3). colors: (N, 3) as in the file, in any range. None if there are none."""

    points: Array
    colors: Array | None = None


# Maps faces (n,) and barycentric weights (n, 3) to the colours (n, 3) of these places.
Paint = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Mesh:
    """vertices: (V, 3). faces: (F, 3) triangles. paint: None without colours.

    vertex_colors: (V, 3) if each vertex has a colour.
    """

    vertices: Array
    faces: Array
    paint: Paint | None = None
    vertex_colors: Array | None = None


def vertex_paint(faces: Array, colors: Array) -> Paint:
    """Interpolates the colours (V, 3) of vertices."""
    return lambda index, weights: np.einsum(
        "nk,nkc->nc", weights, colors[faces[index]].astype(np.float64)
    )


@dataclass(frozen=True)
class Content:
    """Everything in one file. up: the axis that its format prescribes, or the usual axis.

    sure: whether the format fixes `up`, for the reason `why_up`. unit: the unit if the format or
    the file fixes it, for the reason `why_unit`. color_range: the range that the data type of the
    colours implies, such as `0-255`. None if the values must decide. color_source: the fields or
    columns of the colours. Without colours, what the file has instead.
    """

    parts: list[Cloud | Mesh]
    up: str = "z"
    sure: bool = False
    unit: str | None = None
    color_range: str | None = None
    color_source: str = ""
    facts: list[Fact] = field(default_factory=list)
    why_up: str = "of a level camera. For a tilted camera, set --up"
    why_unit: str = "fixed by this file format"

    def colored(self) -> bool:
        """Whether a part has colours."""
        return any(
            (part.colors if isinstance(part, Cloud) else part.paint) is not None
            for part in self.parts
        )


def bounds(rows: Array) -> tuple[Array, Array]:
    """The minima and maxima (C,) of the columns of (N, C), NaN for a column with NaN.

    numpy takes a tenth of the time column by column, compared with `rows.min(axis=0)`.
    """
    columns = range(rows.shape[1])
    low = np.array([rows[:, i].min() for i in columns])
    return low, np.array([rows[:, i].max() for i in columns])


def range_of_type(dtype: np.dtype) -> str | None:
    """The range of colours of this data type: bytes end at 255. None if the values must decide."""
    return "0-255" if dtype == np.uint8 else None
