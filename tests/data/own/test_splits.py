"""Which of one's own scans are trained on, which classes there are, and on which levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sr3d.data.datasets import coarse_classes
from sr3d.data.own.labels import FilePlace, Label, classes_of, parse_classes
from sr3d.data.own.splits import split_scans
from sr3d.data.scene import Scene
from sr3d.errors import Kind
from sr3d.geometry.boxes import Boxes
from tests.refusals import refuses

SCANS = {f"scan{i}": Path(f"scan{i}.ply") for i in range(200)}
NOWHERE = Path("no such folder")


def some(count: int) -> dict[str, Path]:
    return dict(list(SCANS.items())[:count])


@given(st.integers(3, 199), st.floats(0.1, 0.9))
def test_a_scan_that_is_added_moves_no_other(count: int, share: float) -> None:
    before, _ = split_scans(NOWHERE, some(count), share)
    after, _ = split_scans(NOWHERE, SCANS, share)
    # But that no split is ever empty.
    moved = [s for split in ("train", "val") for s in before[split] if s not in after[split]]
    assert len(moved) <= 1
    assert not moved or min(map(len, before.values())) == 1


def test_the_share_is_about_what_is_asked_and_the_order_stays() -> None:
    for share in (0.1, 0.2, 0.5):
        found, _ = split_scans(NOWHERE, SCANS, share)
        assert abs(len(found["val"]) - 200 * share) < 20
        assert sorted(found["train"] + found["val"]) == sorted(SCANS)
        assert found["val"] == [scan for scan in SCANS if scan in found["val"]]


def test_no_split_is_empty_unless_no_val_is_asked() -> None:
    for count in range(2, 12):
        for share in (0.01, 0.99):
            assert set(split_scans(NOWHERE, some(count), share)[0]) == {"train", "val"}
    assert split_scans(NOWHERE, SCANS, 0)[0] == {"train": list(SCANS)}


def test_lists_say_what_the_splits_are(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("# mine\nscan2.ply\n\nscan0\n")
    (tmp_path / "val.txt").write_text("scan1\n")
    found, decided = split_scans(tmp_path, some(5), None)
    assert found == {"train": ["scan2", "scan0"], "val": ["scan1"]}
    assert all(name in decided for name in ("train.txt", "val.txt", "2 scans"))


@pytest.mark.parametrize(
    ("train", "val", "share", "kind", "named"),
    [
        ("scan0", "scan0", None, Kind.CONFLICT, ["'scan0'", "train.txt", "val.txt"]),
        ("scan0", None, None, Kind.MISSING, ["val.txt: ", "train.txt"]),
        ("scan0", "scan1", 0.2, Kind.CONFLICT, ["--val 0.2: ", "train.txt"]),
        ("scan0", "scan9", None, Kind.VALUE, ["val.txt: ", "'scan9'"]),
        (None, None, 1.0, Kind.VALUE, ["--val 1: ", "0", "1"]),
    ],
)
def test_splits_that_make_no_sense_are_refused(
    tmp_path: Path,
    train: str | None,
    val: str | None,
    share: float | None,
    kind: Kind,
    named: list[str],
) -> None:
    for name, text in (("train", train), ("val", val)):
        if text is not None:
            (tmp_path / f"{name}.txt").write_text(text)
    with refuses(kind, mentions=named):
        split_scans(tmp_path, some(3), share)


# ---------------------------------------------------------------- classes


def label(name: str) -> Label:
    return Label(name, np.zeros(3), np.ones(3), 0.0, FilePlace(Path("a.json"), "detections[2]"))


def test_classes_are_sorted_or_as_told(tmp_path: Path) -> None:
    labels = [label("table"), label("chair"), label("table")]
    assert classes_of(labels, (), False) == ("chair", "table")
    assert classes_of(labels, ("table", "lamp", "chair"), False) == ("table", "lamp", "chair")
    assert parse_classes("table, night stand ,chair") == ("table", "night stand", "chair")
    (tmp_path / "names.txt").write_text("table\n\nchair\n")
    assert parse_classes(str(tmp_path / "names.txt")) == ("table", "chair")


def test_unknown_classes_are_refused_or_passed_over() -> None:
    named = ["'chairs'", "'chair'", "--ignore-unknown"]
    with refuses(Kind.UNKNOWN, file="a.json", field="detections[2]", mentions=named):
        classes_of([label("chairs")], ("chair", "table"), False)
    assert classes_of([label("chairs")], ("chair",), True) == ("chair",)
    with refuses(Kind.EMPTY) as error:
        classes_of([], (), False)
    assert "--classes" in str(error.value.remedy)


@pytest.mark.parametrize(
    ("text", "kind", "named"),
    [
        (" , ", Kind.EMPTY, "--classes  , "),
        ("a,b,a", Kind.CONFLICT, "'a'"),
        ("x.txt", Kind.MISSING, "--classes x.txt"),
    ],
)
def test_classes_that_make_no_sense_are_refused(text: str, kind: Kind, named: str) -> None:
    with refuses(kind, mentions=[named]):
        parse_classes(text)


# ---------------------------------------------------------------- levels


def test_the_larger_half_by_mean_volume_is_coarse() -> None:
    sizes: dict[int, list[tuple[float, ...]]] = {
        0: [(1, 1, 1), (3, 1, 1)],
        1: [(1, 1, 0.5)],
        2: [(2, 1, 1.5)],
        3: [],
        4: [(1, 1, 1)],
    }
    rows = [([0.0, 0.0, 0.0, *size], name) for name, some in sizes.items() for size in some]
    none = torch.zeros(0, 3)
    scenes = [
        Scene(str(i), none, none, Boxes.from_array([box]), torch.tensor([label]))
        for i, (box, label) in enumerate(rows)
    ]
    assert coarse_classes(scenes, 5) == (1, 0, 1, 0, 0)
    assert coarse_classes(scenes[:2], 5) == (1, 0, 0, 0, 0)  # no box, no level
