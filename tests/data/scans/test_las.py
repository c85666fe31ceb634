"""LAS files carry their unit, and their colours have 8 bits or 16."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
from laspy.vlrs.known import WktCoordinateSystemVlr

from sr3d.data.scans import ScanOptions, read_scan
from sr3d.errors import Kind
from tests.data.scans.making import room
from tests.refusals import refuses

FEET = 0.3048
SURVEY = "0.3048006096012192"
GEOGCS = (
    'GEOGCS["NAD83",DATUM["D",SPHEROID["GRS 1980",6378137,298.257222101]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]]]'
)


def projected(unit: str, name: str = "unit") -> str:
    return f'PROJCS["zone 3",{GEOGCS},PROJECTION["T"],PARAMETER["a",0],UNIT["{name}",{unit}]]'


def write(path: Path, colors: Any = None, scale: float = 1.0, vlr: Any = None) -> Path:
    points, own = room()
    header = laspy.LasHeader(point_format=2, version="1.2")
    header.scales, header.offsets = np.full(3, 1e-4), np.zeros(3)
    if vlr is not None:
        header.vlrs.append(vlr)
    file = laspy.LasData(header)
    file.x, file.y, file.z = (points.astype(np.float64) * scale).T
    shades = own.astype(np.int64) * 257 if colors is None else colors
    file.red, file.green, file.blue = shades.astype(np.uint16).T
    file.write(str(path))
    return path


def wkt(text: str) -> WktCoordinateSystemVlr:
    return WktCoordinateSystemVlr(text)


def keys(*entries: tuple[int, int]) -> laspy.VLR:
    values = [1, 1, 0, len(entries)]
    for key, value in entries:
        values += [key, 0, 1, value]
    return laspy.VLR("LASF_Projection", 34735, "", struct.pack(f"<{len(values)}H", *values))


BOTH = f'COMPD_CS["both",{projected(SURVEY)},VERT_CS["N",VERT_DATUM["N",5],UNIT["f",{SURVEY}]]]'
MIXED = f'COMPD_CS["both",{projected("1")},VERT_CS["N",UNIT["f",{SURVEY}]]]'
ANGLE = 'ANGLEUNIT["degree",0.0174532925199433]'
WKT2 = (
    'PROJCRS["z",BASEGEOGCRS["g",DATUM["d",ELLIPSOID["e",1,2,LENGTHUNIT["metre",1]]],'
    f'PRIMEM["G",0,{ANGLE}]],CONVERSION["c",METHOD["m"],PARAMETER["p",0,{ANGLE}]],'
    'CS[Cartesian,2],AXIS["x",east],LENGTHUNIT["US survey foot",0.304800609601219]]'
)


@pytest.mark.parametrize(
    ("vlr", "unit", "size"),
    [
        (wkt(projected(SURVEY, "US survey foot")), "ft", FEET),
        (wkt(projected("0.3048", "foot")), "ft", FEET),
        (wkt(projected("1", "metre")), "m", 1.0),
        (wkt(BOTH), "ft", FEET),
        (wkt(WKT2), "ft", FEET),
        (wkt('LOCAL_CS["mine",UNIT["millimetre",0.001]]'), "mm", 0.001),
        (keys((1024, 1), (3072, 2227), (3076, 9003)), "ft", FEET),
        (keys((1024, 1), (3076, 9002), (4099, 9002)), "ft", FEET),
        (keys((1024, 1), (3072, 32632), (3076, 9001)), "m", 1.0),
    ],
)
def test_the_unit_is_that_of_the_coordinate_system(
    tmp_path: Path, vlr: Any, unit: str, size: float
) -> None:
    points, _ = room()
    scan = read_scan(write(tmp_path / "a.las", scale=1 / size, vlr=vlr))
    assert scan.frame.unit == unit
    assert np.abs(scan.points - points).max() < 1e-4
    assert read_scan(tmp_path / "a.las", ScanOptions(unit="m")).frame.unit == "m"


@pytest.mark.parametrize(
    ("vlr", "kind", "mentions"),
    [
        (wkt(GEOGCS), Kind.VALUE, []),
        (wkt(f'COMPD_CS["b",{GEOGCS},VERT_CS["N",UNIT["metre",1]]]'), Kind.VALUE, []),
        (wkt(f'GEOGCRS["WGS 84",CS[ellipsoidal,2],{ANGLE}]'), Kind.VALUE, []),
        (keys((1024, 2), (2048, 4326)), Kind.VALUE, []),
        (wkt(MIXED), Kind.CONFLICT, ["1 m", "0.3048"]),
        (keys((1024, 1), (3076, 9001), (4099, 9003)), Kind.CONFLICT, ["1 m", "0.3048"]),
        (wkt(projected("0.9144", "yard")), Kind.UNKNOWN, ["0.9144"]),
    ],
)
def test_coordinates_that_make_no_room_are_refused(
    tmp_path: Path, vlr: Any, kind: Kind, mentions: list[str]
) -> None:
    path = write(tmp_path / "a.las", vlr=vlr)
    with refuses(kind, file="a.las", mentions=mentions, remedy=["--unit"]):
        read_scan(path)
    assert read_scan(path, ScanOptions(unit="m")).frame.unit == "m"


def test_a_system_without_a_unit_is_told(tmp_path: Path) -> None:
    scan = read_scan(write(tmp_path / "a.las", vlr=keys((1024, 1), (3072, 2263))))
    assert "EPSG:2263" in next(f.why for f in scan.facts if f.name == "coordinate system")
    assert scan.frame.unit == "m"


@pytest.mark.parametrize("brightest", [256, 300, 65535])
def test_one_bright_point_makes_no_other_dark(tmp_path: Path, brightest: int) -> None:
    _, own = room()
    colors = own.astype(np.int64)
    colors[7] = brightest
    scan = read_scan(write(tmp_path / "a.las", colors))
    others = np.arange(len(own)) != 7
    assert np.allclose(scan.painted()[others], own[others] / 255, atol=1e-3)
    assert "1" in next(fact.value for fact in scan.facts if fact.name == "cut to 255")


@pytest.mark.parametrize("times", [1, 257])
def test_colours_of_8_bits_and_of_16(tmp_path: Path, times: int) -> None:
    _, own = room()
    scan = read_scan(write(tmp_path / "a.las", own.astype(np.int64) * times))
    assert np.allclose(scan.painted(), own / 255, atol=1e-3)


def test_colours_of_neither_are_asked_about(tmp_path: Path) -> None:
    _, own = room()
    path = write(tmp_path / "a.las", own.astype(np.int64) * 4)  # 10 bits
    with refuses(Kind.VALUE, file="a.las", remedy=["--colors 0-255 or 0-65535"]):
        read_scan(path)
    told = read_scan(path, ScanOptions(colors="0-65535"))
    assert np.allclose(told.painted(), own.astype(float) * 4 / 65535, atol=1e-3)
    cut = read_scan(path, ScanOptions(colors="0-255")).painted()
    assert np.allclose(cut, (own.astype(float) * 4).clip(0, 255) / 255, atol=1e-3)
    assert read_scan(path, ScanOptions(colors="none")).colors is None
