"""Which files are scans, and what they are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sr3d.data.scans import find_scans
from sr3d.data.scans.wireframes import write_wireframes
from sr3d.errors import Kind
from tests.refusals import refuses


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_give_their_scans_in_order_with_relative_names(tmp_path: Path) -> None:
    touch(tmp_path / "b" / "x.PLY", tmp_path / "a.npy", tmp_path / "notes.txt")
    touch(tmp_path / ".hidden.ply", tmp_path / "apart.glb")
    found = find_scans([tmp_path, tmp_path / "apart.glb"])
    assert [str(name) for _, name in found] == ["a.npy", "apart.glb", "b/x.PLY"]
    assert all(path.is_file() for path, _ in found)


@pytest.mark.parametrize("kind", [".ply", ".obj"])
def test_boxes_that_an_earlier_run_wrote_are_passed_over(tmp_path: Path, kind: str) -> None:
    touch(tmp_path / "a.ply")
    write_wireframes(
        tmp_path / f"b{kind}", np.zeros((1, 8, 3)), 0.1, ["chair"], np.zeros((1, 3), np.uint8)
    )
    assert [str(name) for _, name in find_scans([tmp_path])] == ["a.ply"]
    assert len(find_scans([tmp_path / f"b{kind}"])) == 1  # by its name it can be had


def test_absent_empty_and_clashing_places_are_told(tmp_path: Path) -> None:
    with refuses(Kind.MISSING, file="none"):
        find_scans([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with refuses(Kind.EMPTY, file="empty"):
        find_scans([tmp_path / "empty"])
    touch(tmp_path / "a" / "x.ply", tmp_path / "b" / "x.ply")
    with refuses(Kind.CONFLICT, file="x.ply", mentions=["b/x.ply", "a/x.ply"]):
        find_scans([tmp_path / "a", tmp_path / "b"])
