"""Markers recognise the results that they were written for, and no others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sr3d.runs.markers import marker_holds, write_marker


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    (folder / "model").write_bytes(b"weights")
    write_marker(folder / "done.json", [folder / "run.json"], [folder / "model"])
    return folder / "done.json"


def test_a_marker_holds_and_moves_with_its_results(marker: Path, tmp_path: Path) -> None:
    assert marker_holds(marker)
    moved = shutil.copytree(marker.parent, tmp_path / "elsewhere")
    assert marker_holds(moved / "done.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "run.json").write_text("{ }"),
        lambda folder: (folder / "run.json").unlink(),
        lambda folder: (folder / "model").write_bytes(b"weight"),
        lambda folder: (folder / "model").unlink(),
        lambda folder: (folder / "done.json").unlink(),
        lambda folder: (folder / "done.json").write_text('{"files": {"run.js'),
        lambda folder: (folder / "done.json").write_text("[]"),
    ],
)
def test_a_marker_of_other_results_does_not_hold(
    marker: Path, change: Callable[[Path], object]
) -> None:
    change(marker.parent)
    assert not marker_holds(marker)
