"""What `inspect` counts is what is there, and `describe` tells it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sr3d.data.inspection import BoxPlace, ClassFacts, describe, facts, inspect
from sr3d.data.prepared import read_manifest
from sr3d.errors import Kind
from sr3d.geometry.boxes import Boxes
from tests.data.inspection.making import (
    CLASSES,
    STANDING,
    made,
    write,
)
from tests.refusals import refuses


def test_every_number_of_a_small_set(small: Path) -> None:
    found = inspect(small)
    manifest = read_manifest(small)
    assert (found.dataset, found.rotated, found.source) == ("scannet", False, "a test")
    assert found.digest == manifest.digest()
    train, val = found.splits
    counts = [manifest.scenes[s]["points"] for s in ("a", "b", "empty")]
    assert len(set(counts)) == 3
    assert (train.name, train.scenes, train.points) == ("train", 3, sum(counts))
    assert train.points_a_scene == (min(counts), sorted(counts)[1], max(counts))
    assert train.boxes == 6
    assert train.without_boxes == ("empty",)
    assert train.not_finite == ()
    assert train.without_points == (BoxPlace("b", "table", 1),)
    assert train.outside == ()
    chair, table, bed = train.classes
    assert (chair.name, chair.boxes, chair.without_points) == ("chair", 3, 0)
    assert (table.name, table.boxes, table.without_points) == ("table", 3, 1)
    assert chair.median_size == pytest.approx((0.5, 0.6, 0.8))
    assert chair.edges == pytest.approx((0.4, 0.9))
    assert table.median_size == pytest.approx((1.5, 0.8, 0.7))
    assert table.edges == pytest.approx((0.4, 1.5))
    assert bed == ClassFacts("bed", 0, 0, None, None)
    assert (val.scenes, val.boxes, [c.boxes for c in val.classes]) == (1, 4, [3, 1, 0])
    assert val.extents == pytest.approx((4.0, 5.0, 2.1), abs=0.35)


def test_colours_are_weighed_by_points(tmp_path: Path) -> None:
    shades = torch.tensor([0.2, 0.4, 0.6])
    a, b = made("a", STANDING, [0, 0, 0]), made("b", STANDING, [0, 0, 0])
    b = replace(b, points=b.points[::3], colors=b.colors[::3] * shades)
    write(tmp_path, {"train": [a, b]})
    least, mean, most = inspect(tmp_path).splits[0].colors
    every = torch.cat([a.colors, b.colors])
    assert least == pytest.approx(every.amin(0).tolist())
    assert mean == pytest.approx(every.mean(0).tolist(), rel=1e-5)
    assert most == pytest.approx(every.amax(0).tolist())


@pytest.mark.parametrize("points", [1, 40, 3000])
def test_boxes_without_points_whatever_the_pieces(points: int) -> None:
    draw = torch.Generator().manual_seed(points)
    boxes = torch.rand(300, 7, generator=draw) * torch.tensor([4, 4, 2, 0.6, 0.6, 0.6, 6.0])
    cloud = torch.rand(points, 3, generator=draw) * torch.tensor([4, 4, 2.0])
    expected = ~Boxes(boxes).contains(cloud).any(dim=0)
    assert 0 < expected.sum() < 300
    found = facts.without_points(cloud, Boxes(boxes))
    assert found.tolist() == expected.tolist()
    assert facts.without_points(cloud[:0], Boxes(boxes)).all()
    assert facts.without_points(cloud, Boxes.empty()).shape == (0,)


def test_some_splits_and_scenes(small: Path) -> None:
    calls: list[tuple[int, int]] = []
    found = inspect(small, progress=lambda *done: calls.append(done))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert inspect(small, splits=["val"]).splits == found.splits[1:]
    some = inspect(small, scenes=["c", "b"]).splits
    assert [(s.name, s.scenes, s.boxes) for s in some] == [("train", 1, 3), ("val", 1, 4)]
    assert [s.name for s in inspect(small, scenes=["a"]).splits] == ["train"]


@pytest.mark.parametrize(
    ("splits", "scenes", "named"),
    [
        (["vall"], None, ["'vall'", "'val'"]),
        (None, ["emty"], ["'emty'", "'empty'", "train", "val"]),
        (["val"], ["a"], ["'a'", " c"]),
    ],
)
def test_unknown_names(
    small: Path, splits: list[str] | None, scenes: list[str] | None, named: list[str]
) -> None:
    with refuses(Kind.UNKNOWN, file=small, mentions=named):
        inspect(small, splits, scenes)


def test_json_and_no_plotting_library(small: Path) -> None:
    value = inspect(small).to_dict()
    assert json.loads(json.dumps(value, allow_nan=False))["splits"][0]["scenes"] == 3
    assert len(value["suspicions"]) == 1
    code = "import sr3d.data.inspection, sys; print({'matplotlib', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# ---------------------------------------------------------------- as text


def test_the_text_holds_the_numbers(small: Path) -> None:
    found = inspect(small)
    text = describe(found)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert found.digest in text
    row = {line.split("  ")[0].strip(): line.split() for line in lines if line}
    assert row["scenes"] == ["scenes", "3", "1"]
    assert row["boxes"] == ["boxes", "6", "4"]
    assert row["points"][1] == f"{found.splits[0].points:,}"
    cells = {name: " ".join(row[name]) for name in CLASSES}
    assert cells["chair"] == "chair 3 0 0.50 × 0.60 × 0.80 3 0 0.50 × 0.40 × 0.90"
    assert cells["table"] == "table 3 1 1.50 × 0.80 × 0.70 1 0 1.50 × 0.80 × 0.70"
    assert cells["bed"] == "bed 0 0 – 0 0 –"
    assert "Suspicious:" in lines
    assert lines[-2].startswith("- train: 1 of 6 boxes ")
    assert " in 1 of 3 scenes (b)" in lines[-2]


def test_what_the_manifest_tells_is_passed_on(small: Path) -> None:
    found = replace(
        inspect(small),
        labels="version 2",
        left_out={f"scene{i}": "no alignment" for i in range(5)},
        deviations=["fewer scenes", "coarser points"],
        source="x" * 300,
    )
    text = describe(found)
    assert "labels      version 2" in text
    (left_out,) = (line for line in text.splitlines() if "scene0" in line)
    assert left_out.split("scene0")[0].split()[-1] == "5:"
    assert found.left_out["scene0"] in left_out
    assert "scene4" not in text
    assert "; ".join(found.deviations) in text
    assert max(map(len, text.splitlines())) <= 100


def test_many_splits_and_long_names_fit(small: Path) -> None:
    found = inspect(small)
    splits = tuple(replace(found.splits[0], name=f"{i}-{'n' * 60}") for i in range(5))
    text = describe(replace(found, splits=splits))
    assert max(map(len, text.splitlines())) <= 100
    assert all(f"{i}-nnn" in text for i in range(5))
