"""Odd files are read as what they are, or refused with the remedy; never as something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sr3d.data.scans import ScanOptions, read_scan
from sr3d.errors import InputError, Kind
from tests.data.scans import odd_files as odd
from tests.data.scans.expected import Read, Refused
from tests.data.scans.making import write_ply
from tests.data.scans.odd_files import COLORS, COUNT, POINTS
from tests.data.scans.odd_named import PCD, PLY
from tests.data.scans.odd_tables import BIN, NPY, NPZ, TABLE, TEXT
from tests.refusals import refuses

TOLD = {"scan.number-that-fits-not": ScanOptions(columns="7")}
UNREAD = [
    "e57", "ptx", "splat", "spz", "ksplat", "usdz", "drc", "fbx", "dae", "zip", "gz", "rcp", "h5",
    "pkl", "vtk",
]  # fmt: skip

EVERY = [
    *((f"{name}.ply", content, expected) for name, content, expected in PLY),
    *((f"{name}.pcd", content, expected) for name, content, expected in PCD),
    *((f"{name}.bin", content, expected) for name, content, expected in BIN),
    *((f"{name}.npy", content, expected) for name, content, expected in NPY),
    *((f"{name}.npz", content, expected) for name, content, expected in NPZ),
    *TEXT,
]


@pytest.mark.parametrize(("name", "content", "expected"), EVERY, ids=[name for name, _, _ in EVERY])
def test_an_odd_file_is_read_or_refused_with_the_remedy(
    tmp_path: Path, name: str, content: bytes, expected: Read | Refused
) -> None:
    path = tmp_path / f"scan.{name}"
    path.write_bytes(content)
    if isinstance(expected, Refused):
        with refuses(expected.kind, file=path, mentions=expected.words):
            read_scan(path, TOLD.get(path.stem, ScanOptions()))
        return
    scan = read_scan(path, expected.told)
    left_out = list(expected.dropped)
    points, colors = np.delete(POINTS, left_out, axis=0), np.delete(COLORS, left_out, axis=0)
    assert scan.points.shape == points.shape
    if expected.places < 1:
        moved = scan.points.astype(np.float64) + scan.frame.origin
        assert np.abs(moved - moved.mean(0) - points + points.mean(0)).max() < expected.places
    facts = {fact.name: fact for fact in scan.facts}
    assert (scan.colors is not None) == expected.colors, facts.get("colours")
    if scan.colors is None:
        assert facts["colours"].value == "none"
    else:
        assert np.abs(scan.colors - colors / 255).max() < 0.003
    assert ("left out" in facts) == bool(left_out)
    if left_out:
        assert facts["left out"].value == f"{len(left_out):,} of {COUNT:,} points"


@pytest.mark.parametrize("kind", UNREAD)
def test_a_kind_that_is_not_read_is_refused_with_the_way_to_one_that_is(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"scan.{kind}"
    path.write_bytes(odd.text(TABLE).encode())
    with pytest.raises(InputError) as caught:
        read_scan(path)
    assert (caught.value.kind, caught.value.file) == (Kind.UNREADABLE, path)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "told",
    [{"columns": "2"}, {"columns": "xy"}, {"columns": "xyzr"}, {"columns": "xxyz"},
     {"columns": ""}, {"dtype": "float16"}],
)  # fmt: skip
def test_columns_and_types_that_make_no_sense_are_refused(told: dict[str, str]) -> None:
    with pytest.raises(InputError, match=f"--{next(iter(told))}"):
        ScanOptions(**told)  # type: ignore[arg-type]


def test_letters_must_fit_the_columns(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", TABLE)
    with refuses(Kind.VALUE, file="a.npy", mentions=["xyz_rgb"]):
        read_scan(tmp_path / "a.npy", ScanOptions(columns="xyz_rgb"))


def test_a_mesh_loses_the_faces_of_vertices_that_are_no_measurements(tmp_path: Path) -> None:
    """A grid of 20 × 20 squares of 0.25 m, one corner of which is NaN and one far away."""
    x, y = np.meshgrid(np.arange(21) * 0.25, np.arange(21) * 0.25, indexing="ij")
    corners = np.stack([x.ravel(), y.ravel(), np.zeros(441)], axis=1).astype("f4")
    squares = [[i * 21 + j, i * 21 + 21 + j, i * 21 + 22 + j, i * 21 + 1 + j]
               for i in range(20) for j in range(20)]  # fmt: skip
    corners[0], corners[440] = np.nan, 1e6
    write_ply(tmp_path / "a.ply", corners, faces=squares)
    scan = read_scan(tmp_path / "a.ply", ScanOptions(up="z", unit="m", density=100))
    assert len(scan.points) == pytest.approx(100 * (25 - 2 * 0.0625), rel=0.01)
    assert np.ptp(scan.points, axis=0).max() <= 5
    assert [fact.value for fact in scan.facts if fact.name == "left out"] == ["1 of 441 points"] * 2


def test_a_unit_that_is_given_overrules_the_check_of_the_size(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", POINTS * np.float32(0.01))
    with pytest.raises(InputError, match="--unit"):
        read_scan(tmp_path / "a.npy")
    scan = read_scan(tmp_path / "a.npy", ScanOptions(unit="m"))
    assert "size" in [fact.name for fact in scan.facts]
