"""What is wrong is told, and what is right is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sr3d.data.inspection import BoxPlace, Sign, SplitFacts, describe, inspect
from sr3d.data.inspection.suspicions import repeated
from sr3d.data.prepared import PreparedDataset, PreparedWriter, read_manifest
from sr3d.data.prepared.manifest import write_manifest
from sr3d.data.scene import Scene
from sr3d.geometry.boxes import Boxes
from sr3d.runs.files import sha256
from tests.data.inspection.making import (
    STANDING,
    in_degrees,
    made,
    overturned,
    rewritten,
    scaled,
    shifted,
    swapped,
    write,
)

# ---------------------------------------------------------------- what is right


def test_nothing_is_suspicious_in_rooms(rooms: Path, rotated_rooms: Path) -> None:
    for folder in (rooms, rotated_rooms):
        found = inspect(folder)
        assert found.suspicions == []
        assert all(split.up == (0, 0, split.scenes) for split in found.splits)
        assert "Suspicious:" not in describe(found)


def test_nothing_is_suspicious_in_one_room_alone(rooms: Path) -> None:
    for scene in read_manifest(rooms).scenes:
        assert inspect(rooms, scenes=[scene]).suspicions == []


# ---------------------------------------------------------------- what is wrong


def at_the_bottom(scene: Scene) -> Scene:
    boxes = scene.boxes.tensor.clone()
    boxes[:, 2] -= boxes[:, 5] / 2
    return replace(scene, boxes=Boxes(boxes))


def with_sizes(box: int, size: float) -> Callable[[Scene], Scene]:
    def change(scene: Scene) -> Scene:
        boxes = scene.boxes.tensor.clone()
        boxes[box, 3:6] = size
        return replace(scene, boxes=Boxes(boxes))

    return change


def with_place(box: int, x: float) -> Callable[[Scene], Scene]:
    def change(scene: Scene) -> Scene:
        boxes = scene.boxes.tensor.clone()
        boxes[box, 0] = x
        return replace(scene, boxes=Boxes(boxes))

    return change


NEARLY = torch.tensor([1e-4] * 6 + [0.0])
SPOILED: dict[str, tuple[Callable[[Scene], Scene], Sign]] = {
    "x up": (swapped((2, 1, 0)), Sign.X_UP),
    "y up": (swapped((0, 2, 1)), Sign.Y_UP),
    "millimetres": (scaled(1000), Sign.LARGE_SCENE),
    "centimetres": (scaled(100), Sign.LARGE_SCENE),
    "unit size": (scaled(0.2), Sign.SMALL_SCENE),
    "divided twice": (lambda s: replace(s, colors=s.colors / 255), Sign.DARK),
    "one colour": (lambda s: replace(s, colors=s.colors * 0 + 0.5), Sign.ONE_COLOR),
    "grey": (lambda s: replace(s, colors=s.colors[:, [1, 1, 1]]), Sign.GREY),
}  # fmt: skip
ALIGNED: dict[str, tuple[Callable[[Scene], Scene], Sign]] = {
    "no boxes": (
        lambda s: replace(s, boxes=s.boxes[:0], labels=s.labels[:0], instance=None), Sign.NO_BOX
    ),
    "other frame": (shifted(9.0, 0.0), Sign.OUTSIDE),
    "twice": (lambda s: replace(
        s, boxes=Boxes(torch.cat([s.boxes.tensor, s.boxes.tensor[:1] + NEARLY])),
        labels=torch.cat([s.labels, 1 - s.labels[:1].clamp(max=1)])), Sign.REPEATED_BOX),
    "almost twice": (lambda s: replace(
        s, boxes=Boxes(torch.cat([s.boxes.tensor, s.boxes.tensor[:1] + 50 * NEARLY])),
        labels=torch.cat([s.labels, s.labels[:1]])), Sign.NEARLY_REPEATED_BOX),
    "far away": (with_place(0, 2000.0), Sign.FAR_BOX),
    "a kilometre": (with_sizes(0, 1000.0), Sign.LARGE_BOX),
    "a millimetre": (with_sizes(0, 0.001), Sign.SMALL_BOX),
    "centres of bottoms": (at_the_bottom, Sign.SUNK),
    "a little off": (shifted(0.0, 0.9), Sign.EMPTY_BOX),
}  # fmt: skip
ROTATED: dict[str, tuple[Callable[[Scene], Scene], Sign]] = {
    "no yaw": (lambda s: replace(s, boxes=s.boxes.enclosing()), Sign.NO_YAW),
    "degrees": (in_degrees, Sign.DEGREES),
}  # fmt: skip


OF_BOXES = {
    Sign.OUTSIDE, Sign.EMPTY_BOX, Sign.SUNK, Sign.FAR_BOX, Sign.LARGE_BOX, Sign.SMALL_BOX,
}  # fmt: skip


@pytest.mark.parametrize("case", [*SPOILED, *ALIGNED])
def test_spoiled_rooms(rooms: Path, tmp_path: Path, case: str) -> None:
    change, expected = (SPOILED | ALIGNED)[case]
    _check_spoiled(rooms, tmp_path, change, expected)


@pytest.mark.parametrize("case", [*SPOILED, *ROTATED])
def test_spoiled_rotated_rooms(rotated_rooms: Path, tmp_path: Path, case: str) -> None:
    change, expected = (SPOILED | ROTATED)[case]
    _check_spoiled(rotated_rooms, tmp_path, change, expected)


def _check_spoiled(
    source: Path, folder: Path, change: Callable[[Scene], Scene], expected: Sign
) -> None:
    found = inspect(rewritten(source, folder, change))
    for split in found.splits:
        signs = signs_of(split)
        assert signs.count(expected) == 1
        (one,) = (s for s in split.suspicions if s.sign is expected)
        assert (one.split, one.among) == (split.name, split.scenes)
        assert one.remedy
        # Where boxes move or change, their places look odd too, but nothing else.
        assert set(signs) <= {expected, *OF_BOXES}


def signs_of(split: SplitFacts) -> list[Sign]:
    return [one.sign for one in split.suspicions]


def test_rooms_on_their_head(rooms: Path, rotated_rooms: Path, tmp_path: Path) -> None:
    for folder in (rooms, rotated_rooms):
        found = inspect(rewritten(folder, tmp_path / folder.name, overturned))
        (one,) = found.splits[0].suspicions
        assert (one.sign, one.split) == (Sign.UPSIDE_DOWN, "train")
        assert len(one.scenes) == one.among == found.splits[0].scenes


def test_a_suspicion_counts_the_scenes_and_names_three(rooms: Path, tmp_path: Path) -> None:
    grey = {"room_000001", "room_000002", "room_000003", "room_000005"}
    folder = rewritten(
        rooms,
        tmp_path,
        lambda s: replace(s, colors=s.colors[:, [0, 0, 0]]) if s.id in grey else s,
    )
    found = inspect(folder)
    (one,) = found.splits[0].suspicions
    assert (one.sign, one.split, set(one.scenes), one.among) == (Sign.GREY, "train", grey, 6)
    assert found.suspicions == [str(one)]
    assert str(one).startswith("train: ")
    for part in ("4 of 6", "(room_000001, room_000002, room_000003, …)", one.problem, one.remedy):
        assert part in str(one)


def test_a_few_turned_scenes_are_not_the_split(rooms: Path, tmp_path: Path) -> None:
    turned = {"room_000001", "room_000002"}
    turn = swapped((2, 1, 0))
    found = inspect(rewritten(rooms, tmp_path, lambda s: turn(s) if s.id in turned else s))
    assert found.splits[0].up == (2, 0, 4)
    assert found.suspicions == []


def test_few_boxes_may_lack_points_but_not_most_of_a_scene(tmp_path: Path) -> None:
    good = [made(f"s{i:02}", STANDING, [0, 1, 2]) for i in range(16)]
    one = made("one", STANDING, [0, 1, 2], hollow=(1,))
    write(tmp_path / "one", {"train": [*good, one]})
    assert inspect(tmp_path / "one").splits[0].suspicions == ()
    two = made("two", STANDING, [0, 1, 2], hollow=(0, 2))
    write(tmp_path / "two", {"train": [*good, two]})  # 2 of 51 are few
    (one_scene,) = inspect(tmp_path / "two").splits[0].suspicions
    assert (one_scene.sign, one_scene.scenes, one_scene.among) == (Sign.EMPTY_BOX, ("two",), 17)
    write(tmp_path / "many", {"train": [*good[:10], one, two]})  # 3 of 36 are not
    (many,) = inspect(tmp_path / "many").splits[0].suspicions
    assert (many.sign, many.scenes, many.among) == (Sign.EMPTY_BOX, ("one", "two"), 12)
    assert "3 of 36" in many.problem


def scenes_of(split: SplitFacts, sign: Sign) -> tuple[str, ...]:
    """The scenes of the one suspicion with this sign."""
    (scenes,) = (one.scenes for one in split.suspicions if one.sign is sign)
    return scenes


def vouch(folder: Path) -> None:
    """Let the manifest have the checksums of the files as they are, as another program may."""
    manifest = read_manifest(folder)
    for scene, facts in manifest.scenes.items():
        facts["sha256"] = sha256(folder / "points" / f"{scene}.npy")
    for split in manifest.splits:
        manifest.ground_truth[split] = sha256(folder / f"{split}.npz")
    write_manifest(folder, manifest)


def test_nan_and_colours_of_a_file_from_elsewhere(small: Path, tmp_path: Path) -> None:
    folder = rewritten(small, tmp_path, lambda s: s)
    path = folder / "points" / "a.npy"
    rows = np.load(path)
    bright = rows * np.float32(255)
    rows[5, 1], rows[7, 4], rows[8, 0] = np.nan, np.inf, -np.inf
    np.save(path, rows)
    vouch(folder)
    found = inspect(folder)
    assert found.splits[0].not_finite == ("a",)
    assert scenes_of(found.splits[0], Sign.NOT_FINITE) == ("a",)
    json.dumps(found.to_dict(), allow_nan=False)
    np.save(path, np.full_like(rows, np.nan))
    vouch(folder)
    lost = inspect(folder)
    assert lost.splits[0].not_finite == ("a",)
    assert [p for p in lost.splits[0].without_points if p.scene == "a"] == [
        BoxPlace("a", name, k) for k, name in enumerate(("chair", "chair", "table"))
    ]
    json.dumps(lost.to_dict(), allow_nan=False)
    describe(lost)
    np.save(path, bright)
    vouch(folder)
    assert scenes_of(inspect(folder).splits[0], Sign.COLOR_RANGE) == ("a",)


def test_boxes_that_the_writer_would_refuse(small: Path, tmp_path: Path) -> None:
    folder = rewritten(small, tmp_path, lambda s: s)
    with np.load(folder / "val.npz") as file:
        truth = dict(file)
    truth["box"][0, 2] = np.nan
    truth["box"][1, 6] = 0.3
    np.savez(folder / "val.npz", **truth)
    vouch(folder)
    val = inspect(folder).splits[1]
    assert val.not_finite == ("c",)
    assert [c.boxes for c in val.classes] == [3, 1, 0]
    assert val.classes[0].median_size == pytest.approx(
        (0.55, 0.4, 0.95)
    )  # of the two that are whole
    assert val.without_points == ()
    for sign in (Sign.NOT_FINITE, Sign.YAW):
        assert scenes_of(val, sign) == ("c",)


def test_classes_that_differ_by_case_are_suspicious(rooms: Path, tmp_path: Path) -> None:
    old = read_manifest(rooms)
    names = [*old.classes[:-2], "Night Stand", "night_stand"]
    writer = PreparedWriter(tmp_path, "own", names, old.rotated, old.source)
    for split in old.splits:
        for scene in PreparedDataset(rooms, split):
            writer.add(split, scene)
    writer.finish()
    found = inspect(tmp_path)
    assert found.like_classes == (("Night Stand", "night_stand"),)
    assert len(found.suspicions) == 1
    assert inspect(rooms).like_classes == ()


def test_a_scan_under_two_names_is_suspicious(rooms: Path, tmp_path: Path) -> None:
    old = read_manifest(rooms)
    writer = PreparedWriter(tmp_path, "own", list(old.classes), old.rotated, old.source)
    train = list(PreparedDataset(rooms, "train"))
    for scene in train:
        writer.add("train", scene)
    writer.add("val", replace(train[0], id="again"))
    writer.finish()
    found = inspect(tmp_path)
    assert found.twins == ((train[0].id, "again"),)
    assert any(f"'{train[0].id}' and 'again'" in sentence for sentence in found.suspicions)


def test_repeated_boxes_by_brute_force() -> None:
    draw = np.random.default_rng(0)
    for _ in range(200):
        # On a grid, so that some differ in one number alone.
        boxes = draw.integers(0, 3, (draw.integers(0, 30), 7)).astype(float)
        boxes += draw.uniform(-2e-4, 2e-4, boxes.shape)
        slow = any((abs(a - b) < 1e-3).all() for i, a in enumerate(boxes) for b in boxes[i + 1 :])
        assert repeated(boxes) == slow
