"""Up, unit and colours are found in rooms turned and scaled in every way, and in real scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sr3d.data.scans import Mark, ScanOptions, read_scan
from sr3d.data.scans.frame import UNITS, turn_upright
from sr3d.data.scans.guessing import find_colors, find_unit, find_up
from sr3d.errors import Kind
from tests.data.scans.making import room
from tests.refusals import refuses
from tests.shared_data import shared

AXES = ("x", "y", "z", "-x", "-y", "-z")
ROOMS = [(seed, rotated) for rotated in (False, True) for seed in range(2000, 2015)]


@pytest.mark.parametrize("up", AXES)
def test_up_is_found_in_rooms_turned_every_way(up: str) -> None:
    """Mostly; and where not, the usual axis is taken and the doubt is reported with `--up`."""
    found = []
    for seed, rotated in ROOMS:
        points, _ = room(seed, rotated, points=8000)
        fact = find_up(points.astype(np.float64) @ turn_upright(up), "z")
        found.append(fact.value == up)
        assert fact.value == up or (fact.value == "z" and "--up" in fact.why)
    assert sum(found) >= (len(found) if up == "z" else 0.8 * len(found))


@pytest.mark.parametrize("unit", ["m", "cm", "mm"])
def test_the_unit_is_found_at_any_up(unit: str) -> None:
    for seed, rotated in ROOMS:
        points, _ = room(seed, rotated, points=2000)
        for up in AXES:
            turned = points.astype(np.float64) @ turn_upright(up) / UNITS[unit]
            assert find_unit(turned, up).value == unit


@pytest.mark.parametrize("scale", [0.01, 0.05, 3e5, 120.0])
def test_what_no_unit_makes_a_room_is_taken_as_metres_and_told(scale: float) -> None:
    points = np.random.default_rng(0).random((500, 3)) * [1, 1, 0.01] * scale
    fact = find_unit(points, "z")
    assert (fact.value, "--unit" in fact.why) == ("m", True)


def test_a_cloud_without_a_floor_stays_as_it_is() -> None:
    ball = np.random.default_rng(0).normal(size=(3000, 3))
    for usual in ("z", "y", "-y"):
        fact = find_up(ball, usual)
        assert fact.value == usual
    assert find_up(np.zeros((1, 3)), "z").value == "z"  # a single point


@pytest.mark.parametrize(
    ("name", "colors"),
    [
        ("real/scannet/scans/scene0000_00/scene0000_00_vh_clean_2.ply", "0-255"),
        ("real/scannet/points/scene0000_00.bin", "0-255"),
        ("real/scannet/points/scene0113_00.bin", "0-255"),
        ("real/sunrgbd/points/000017.bin", "0-1"),
        ("real/s3dis/points/Area_1_office_2.bin", "0-255"),
    ],
)
def test_real_scans_are_upright_metres(name: str, colors: str) -> None:
    scan = read_scan(shared(name))
    facts = {fact.name: fact.value for fact in scan.facts}
    assert (facts["up"], facts["unit"], facts["colours"]) == ("z", "m", colors)
    assert facts.get("columns", "x y z r g b") == "x y z r g b"


@pytest.mark.parametrize(
    "name", ["scannet/points/scene0000_00.bin", "scannet/points/scene0113_00.bin",
             "sunrgbd/points/000017.bin"]
)  # fmt: skip
@pytest.mark.parametrize("unit", ["m", "cm", "mm"])
def test_real_scans_turned_and_scaled_come_back_upright(
    name: str, unit: str, tmp_path: Path
) -> None:
    rows = np.fromfile(shared(f"real/{name}"), dtype="<f4").reshape(-1, 6)[::2]
    for up in AXES:
        turned = (rows[:, :3].astype(np.float64) @ turn_upright(up)) / UNITS[unit]
        np.save(tmp_path / "a.npy", np.concatenate([turned, rows[:, 3:]], axis=1))
        scan = read_scan(tmp_path / "a.npy")
        assert (scan.frame.up, scan.frame.unit) == (up, unit)
        assert np.abs(scan.points - rows[:, :3]).max() < 1e-4


def test_what_is_told_overrules_what_would_be_found(tmp_path: Path) -> None:
    points, colors = room()
    np.savez(tmp_path / "a.npz", points=points * 1000, colors=colors)
    told = ScanOptions(up="-x", unit="ft", colors="none")
    scan = read_scan(tmp_path / "a.npz", told)
    assert scan.colors is None
    assert np.allclose(scan.points[:, 2], -points[:, 0] * 304.8, rtol=1e-5, atol=1e-2)
    given = {fact.marks for fact in scan.facts if fact.name in ("up", "unit", "colours")}
    assert given == {(Mark.GIVEN,)}


@pytest.mark.parametrize(
    ("colors", "by_type", "told", "range_", "brightest"),
    [
        ([[0.0, 0.5, 1.0]], None, None, "0-1", 1.0),
        ([[0.0, 2.0, 51.0]], None, None, "0-255", 0.2),
        ([[0.0, 2.0, 13107.0]], None, None, "0-65535", 0.2),
        ([[0, 1, 1]], "0-255", None, "0-255", 1 / 255),
        ([[0.0, 0.5, 1.0]], None, "0-255", "0-255", 1 / 255),
    ],
)
def test_the_range_of_colours(
    colors: list, by_type: str | None, told: str | None, range_: str, brightest: float
) -> None:
    found, fact = find_colors(np.array(colors), by_type, told, "a.ply")
    assert fact.value == range_
    assert found is not None
    assert found.dtype == np.float32
    assert found.max() == pytest.approx(brightest)


@pytest.mark.parametrize(
    ("colors", "told", "named"),
    [
        ([[-0.1, 0, 1]], None, "-0.1 to 1"),
        ([[0, 0, 70000.0]], None, "0 to 7e"),
        ([[0, 0, 2.0]], "0-1", "0 to 2"),
        ([[0, 0, np.nan]], None, "NaN"),
    ],
)
def test_colours_beyond_their_range_are_refused(colors: list, told: str | None, named: str) -> None:
    with refuses(Kind.VALUE, file="a.ply", mentions=[named], remedy=["--colors none"]):
        find_colors(np.array(colors), None, told, "a.ply")


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"up": "w"}, "--up w"),
        ({"up": "0,0,0"}, "--up 0,0,0"),
        ({"unit": "yd"}, "--unit yd"),
        ({"colors": "0-100"}, "--colors 0-100"),
        ({"density": 0.0}, "--density 0"),
    ],
)
def test_what_is_told_is_checked(told: dict, field: str) -> None:
    with refuses(field=field):
        ScanOptions(**told)
