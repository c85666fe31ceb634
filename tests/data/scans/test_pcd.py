"""PCD files that are compressed, damaged, or whose headers promise what is not there."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import lzf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr3d.data.scans.content import Cloud
from sr3d.data.scans.pcd import read_pcd
from sr3d.errors import InputError, Kind
from tests.data.scans.making import room, write_pcd
from tests.refusals import refuses


def header(points: int, data: str) -> bytes:
    return (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        f"WIDTH {points}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA {data}\n"
    ).encode()


@pytest.mark.parametrize("kind", ["binary", "binary_compressed", "ascii"])
@pytest.mark.parametrize("points", [10**12, 350_000_000, -1])
def test_a_header_that_promises_too_much_takes_no_memory(
    kind: str, points: int, tmp_path: Path
) -> None:
    """350 million points are 4.2 GB, the most that the lengths of compressed data can say."""
    path, rows = tmp_path / "a.pcd", np.ones((10, 3), "<f4")
    if kind == "ascii":
        body = b"1 2 3\n" * 10
    elif kind == "binary":
        body = rows.tobytes()
    else:
        packed = lzf.compress(rows.tobytes())
        body = struct.pack("<II", len(packed), 12 * points % 2**32) + packed
    path.write_bytes(header(points, kind) + body)
    tracemalloc.start()
    with pytest.raises(InputError):
        read_pcd(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**6


@pytest.mark.parametrize(
    ("packed", "points"),
    [
        (b"\x0bab", 1),  # ends within literals
        (b"\x0baaaabbbbcccc", 2),  # gives less than it should
        (b"\x0baaaabbbbcccc\x00d", 1),  # gives more
        (b"\x00a\x20\x05" + bytes(12), 1),  # copies from before the beginning
        (b"", 1),
    ],
)
def test_damage_within_compressed_data_is_an_error(
    packed: bytes, points: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.pcd"
    lengths = struct.pack("<II", len(packed), 12 * points)
    path.write_bytes(header(points, "binary_compressed") + lengths + packed)
    with refuses(Kind.UNREADABLE, file="a.pcd", field="DATA") as error:
        read_pcd(path)
    assert error.value.remedy


@given(st.binary(max_size=60), st.integers(0, 3))
def test_any_compressed_data_give_a_cloud_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, packed: bytes, points: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pcd"
    lengths = struct.pack("<II", len(packed), 12 * points)
    path.write_bytes(header(points, "binary_compressed") + lengths + packed)
    try:
        (cloud,) = read_pcd(path).parts
    except InputError:
        return
    assert isinstance(cloud, Cloud)
    assert cloud.points.shape == (points, 3)


def test_every_encoding_gives_the_same_points(tmp_path: Path) -> None:
    points, colors = room(points=2000)
    found = []
    for kind in ("ascii", "binary", "binary_compressed"):
        write_pcd(tmp_path / "a.pcd", points, colors, kind)
        (cloud,) = read_pcd(tmp_path / "a.pcd").parts
        assert isinstance(cloud, Cloud)
        found.append(cloud.points.astype(np.float32))
    assert np.array_equal(found[0], points)
    assert np.array_equal(found[1], points)
    assert np.array_equal(found[2], points)
