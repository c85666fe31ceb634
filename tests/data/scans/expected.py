"""What is right for an odd file: a scan, or a refusal that names the remedy."""

from __future__ import annotations

from dataclasses import dataclass

from sr3d.data.scans import ScanOptions
from sr3d.errors import Kind
from tests.data.scans.odd_files import COLORS

FOUND = ScanOptions()


@dataclass(frozen=True)
class Read:
    """colors: whether the room's colours are found. dropped: rows that are left out. told: the
    options. places: metres that a point may be off; from 1 on, places are not compared.
    """

    colors: bool = True
    dropped: tuple[int, ...] = ()
    told: ScanOptions = FOUND
    places: float = 1e-4


@dataclass(frozen=True)
class Refused:
    """Names and numbers of the message, besides the file. kind: None leaves it open."""

    words: tuple[str, ...]
    kind: Kind | None

    def __init__(self, *words: str, kind: Kind | None = None) -> None:
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "kind", kind)


Case = tuple[str, bytes, Read | Refused]
NONE = Read(colors=False)
SOME = tuple(range(0, 600, 2))  # rows that are not measured
FEW = (7, 70)
BRIGHT = (COLORS / 255).astype("f4")
