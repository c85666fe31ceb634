"""Raw S3DIS: rooms made by hand, the known defects of the download, and every bad file."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sr3d.data.datasets import S3DIS
from sr3d.data.prepared import MANIFEST, PreparedDataset, read_manifest, verify
from sr3d.data.readers.conversion import ConversionOptions
from sr3d.data.readers.s3dis import (
    FOLDER,
    OTHER_CLASSES,
    FileNotes,
    prepare_s3dis,
    read_annotation,
    read_room,
)
from sr3d.data.safe_pickle import load_pickle
from sr3d.errors import InputError, Kind
from tests.refusals import refuses
from tests.shared_data import shared

ID = "Area_1_office_2"
BOARD = "1 1 3 0 0 0\n1.25 3 4 255 255 255\n"
CHAIR = "-1 2 0.5 10 20 30\n0 3 1.5 40 50 60\n-0.5 2.5 1 70 80 90\n"
WALL = "-2 1 0 255 0 0\n3 5 4 0 0 255\n"


def write_room(root: Path, area: str = "Area_1", room: str = "office_2", **files: str) -> Path:
    """A room with a board, a chair and a wall, or with the files that are given."""
    folder = root / area / room / "Annotations"
    folder.mkdir(parents=True)
    for name, text in (files or {"board_1": BOARD, "chair_1": CHAIR, "wall_1": WALL}).items():
        (folder / f"{name}.txt").write_text(text)
    return folder.parent


@pytest.fixture
def room(tmp_path: Path) -> Path:
    return write_room(tmp_path / FOLDER)


def annotation(room: Path, name: str) -> Path:
    return room / "Annotations" / f"{name}.txt"


def prepare(tmp_path: Path, scenes: list[str] | None = None, keep_going: bool = False) -> Path:
    out = tmp_path / "out"
    prepare_s3dis(tmp_path, out, scenes=scenes, how=ConversionOptions(keep_going=keep_going))
    return out


# ---------------------------------------------------------------- rooms as they should be


def test_a_room_is_shifted_to_its_minimum_and_boxes_span_their_objects(room: Path) -> None:
    scene = read_room(room, FileNotes())
    assert scene.id == ID
    board, chair, wall = scene.points.split([2, 3, 2])
    assert board.tolist() == [[3, 0, 3], [3.25, 2, 4]]
    assert chair.tolist() == [[1, 1, 0.5], [2, 2, 1.5], [1.5, 1.5, 1]]
    assert wall.tolist() == [[0, 0, 0], [5, 4, 4]]
    assert scene.points.dtype == scene.colors.dtype == torch.float32
    rgb = [0, 0, 0, 255, 255, 255, 10, 20, 30, 40, 50, 60, 70, 80, 90, 255, 0, 0, 0, 0, 255]
    assert torch.equal(scene.colors, torch.tensor(rgb).reshape(7, 3) / 255)
    assert [S3DIS.classes[label] for label in scene.labels] == ["board", "chair"]
    boxes = [[3.125, 1, 3.5, 0.25, 2, 1, 0], [1.5, 1.5, 1, 1, 1, 1, 0]]
    assert scene.boxes.tensor.tolist() == boxes
    assert scene.instance is not None
    assert scene.instance.tolist() == [0, 0, 1, 1, 1, -1, -1]


def test_furniture_has_its_label_and_its_place_and_other_classes_have_none(tmp_path: Path) -> None:
    names = [f"{name}_7" for name in S3DIS.classes + OTHER_CLASSES] + ["sofa_10", "sofa_1"]
    folder = write_room(tmp_path, **(dict.fromkeys(names, CHAIR) | {"sofa_1": BOARD}))
    scene = read_room(folder, FileNotes())
    assert len(scene) == 3 * len(names) - 1
    assert scene.labels.tolist() == [4, 3, 1, 2, 2, 2, 0]  # board, bookcase, chair, sofas, table
    assert scene.boxes.sizes[3:6, 0].tolist() == [0.25, 1, 1]


def test_area_5_is_val_and_rooms_are_sorted_by_area_and_number(tmp_path: Path) -> None:
    for area, name in [(6, "hall_1"), (5, "office_1"), (1, "office_10"), (1, "office_9")]:
        write_room(tmp_path / FOLDER, f"Area_{area}", name)
    write_room(tmp_path / FOLDER, "Area_1", "büro_1")
    out = prepare(tmp_path, keep_going=True)
    assert read_manifest(out).splits == {
        "train": ["Area_1_büro_1", "Area_1_office_9", "Area_1_office_10", "Area_6_hall_1"],
        "val": ["Area_5_office_1"],
    }
    verify(out)


def test_the_folder_or_its_parent_may_be_named_and_some_rooms_asked_for(
    room: Path, tmp_path: Path
) -> None:
    write_room(tmp_path / FOLDER, "Area_5")
    for raw in (tmp_path, tmp_path / FOLDER):
        manifest = prepare_s3dis(raw, tmp_path / "out", scenes=[ID])
        assert manifest.splits == {"train": [ID]}
        assert (manifest.dataset, manifest.classes) == ("s3dis", list(S3DIS.classes))
        assert (manifest.rotated, manifest.deviations) == (False, [])
    scene = PreparedDataset(tmp_path / "out", "train")[0]
    assert torch.equal(scene.points, read_room(room, FileNotes()).points)
    assert torch.equal(scene.boxes.tensor, read_room(room, FileNotes()).boxes.tensor)
    manifest = prepare_s3dis(tmp_path, tmp_path / "out", scenes=["Area_5_office_2"], append=True)
    assert manifest.splits == {"train": [ID], "val": ["Area_5_office_2"]}


def test_all_rooms_must_have_the_published_numbers(room: Path, tmp_path: Path) -> None:
    with refuses(Kind.VALUE, file="out", mentions=["204", "68"]):
        prepare(tmp_path)
    assert not (tmp_path / "out" / MANIFEST).exists()
    assert len(read_manifest(prepare(tmp_path, keep_going=True)).deviations) == 2


def test_the_real_boxes_bear_out_the_order_of_the_classes() -> None:
    infos = load_pickle(shared("real/s3dis/s3dis_infos.pkl"))["data_list"]
    boxes = [(S3DIS.classes[i["bbox_label_3d"]], i["bbox_3d"][3:]) for i in infos[0]["instances"]]
    assert max(boxes, key=lambda box: box[1][2])[0] == "bookcase"  # 2.15 m high
    assert max(boxes, key=lambda box: max(box[1][:2]))[0] == "sofa"  # 2.10 m long
    chairs = [size for name, size in boxes if name == "chair"]
    assert sorted({name for name, _ in boxes}) == ["bookcase", "chair", "sofa", "table"]
    assert all(0.6 < side < 1 for size in chairs for side in size[:2])


# ---------------------------------------------------------------- defects of the download


@pytest.mark.parametrize(
    ("line", "mended"),
    [
        # Area_5/hallway_6/Annotations/ceiling_1.txt, line 180389: a blank that lost a bit
        (b"22.350 6.692 3.048 185\x00187 182", [22.35, 6.692, 3.048, 185, 187, 182]),
        (b"22.350 6.692 3.048 185\x10187 182", [22.35, 6.692, 3.048, 185, 187, 182]),
        (b"22.350 6.692 3.048 185\xc2\xa0187 182", [22.35, 6.692, 3.048, 185, 187, 182]),
        # Area_5/office_19/Annotations/ceiling_1.txt, line 323474: a zero that lost a bit
        (b"1.5 2.5 3.5 103.0\x100000 9 8", [1.5, 2.5, 3.5, 103, 9, 8]),
        (b"1.5 2.5 3.5 103.0\xef\xbf\xbd0000 9 8", [1.5, 2.5, 3.5, 103, 9, 8]),
        # Area_3/hallway_2/hallway_2.txt: a six, between neighbours at -9.160
        (b"19.302 -9.1\x160 1.785 146 137 106", [19.302, -9.16, 1.785, 146, 137, 106]),
        (b"1 2 3 1\x10 2\x10 30", [1, 2, 3, 10, 20, 30]),
    ],
)
def test_a_stray_character_is_mended_and_counted(
    room: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, line: bytes, mended: list[float]
) -> None:
    path = annotation(room, "ceiling_1")
    path.write_bytes(b"1 2 3 4 5 6\n\n" + line + b"\r\n7 8 9 10 11 12\n")
    rows, repaired = read_annotation(path)
    assert (rows.tolist(), repaired) == ([[1, 2, 3, 4, 5, 6], mended, [7, 8, 9, 10, 11, 12]], 1)
    prepare(tmp_path, [ID])
    assert caplog.messages == [f"repaired lines with a stray character: {path} (1)"]


@pytest.mark.parametrize(
    "text",
    [
        b"1 2 3 4 5 6\r\n-1 -2 -3 0 0 255\r\n",
        b"1.0 2.0 3.0 4.000000 5.0 6.0  \n-1. -2e0 -3 0 0 2.55e2\t\n",
        b"\n  1\t2\t3\t4  5 6\n \n-1 -2 -3 0 0 255",
    ],
    ids=["crlf", "floats and trailing blanks", "tabs and blank lines"],
)
def test_other_spellings_of_the_same_numbers(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(text)
    rows, repaired = read_annotation(tmp_path / "a.txt")
    assert (rows.tolist(), repaired) == ([[1, 2, 3, 4, 5, 6], [-1, -2, -3, 0, 0, 255]], 0)


def test_unknown_classes_and_empty_files_and_copies_are_told_at_the_end(
    room: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = read_room(room, FileNotes())
    for name in ("ufo_1", "ufo_2", "coffee_table_1", "staris_1", "wall_1 (1)"):
        put(name, WALL)(room)
    put("floor_1", " \r\n")(room)
    put("clutter_3", "")(room)
    scene = PreparedDataset(prepare(tmp_path, [ID]), "train")[0]
    assert len(scene) == len(expected) + 4 * 2
    assert torch.equal(scene.labels, expected.labels)
    empty, strays = annotation(room, "clutter_3"), annotation(room, "wall_1 (1)")
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        f"{empty} (1), {annotation(room, 'floor_1')} (1)",
        f"{strays} (1)",
        "coffee_table (1), ufo (2)",
    ]


def test_other_files_and_hidden_ones_are_passed_over(
    room: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = read_room(room, FileNotes())
    for folder in (tmp_path / FOLDER, room.parent, room, room / "Annotations"):
        for name in (".DS_Store", "._chair_2.txt", "Icon\r", "chair_3.txt~", "chair_4.ply"):
            (folder / name).write_bytes(b"\x00\x00\x00\x01Bud1")
    (room / "Annotations" / "chair_5.txt").mkdir()
    (room / "office_2.txt").write_text("not an object")
    (room.parent / "Area_1_alignmentAngle.txt").write_text("not a room")
    (room.parent / ".hidden").mkdir()
    out = prepare(tmp_path, keep_going=True)
    assert read_manifest(out).left_out == {}
    assert torch.equal(PreparedDataset(out, "train")[0].points, expected.points)
    others = [".DS_Store", "._", "Icon", "chair_3", "chair_4", "chair_5", "office_2.txt"]
    assert not any(name in caplog.text for name in [*others, "alignmentAngle", ".hidden"])


# ---------------------------------------------------------------- bad input


def put(name: str, text: str | bytes) -> Callable[[Path], object]:
    data = text.encode() if isinstance(text, str) else text
    return lambda room: annotation(room, name).write_bytes(data)


def chair(text: str | bytes) -> Callable[[Path], object]:
    """The text as the third line of the chair's file."""
    return put("chair_1", b"1 2 3 4 5 6\n \n" + (text.encode() if isinstance(text, str) else text))


def strip(room: Path, keep: str = "", name: str = "Annotations") -> None:
    """Remove all objects but one, which gets a name that counts for nothing."""
    for path in (room / "Annotations").iterdir():
        path.rename(path.with_name("x.txt" if path.stem == keep else "x.old"))
    (room / "Annotations").rename(room / name)


# What is done to the room, the file to be named, a pattern of the numbers and names of the error.
BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "five numbers": (chair("1 2 3 4 5"), "chair_1.txt", "line 3 .*x y z"),
    "seven numbers": (chair("1 2 3 4 5 6 7"), "chair_1.txt", "line 3 .* '1 2 3 4 5 6 7'"),
    "seven columns": (put("wall_1", "1 2 3 4 5 6 7\n" * 2), "wall_1.txt", "line 1"),
    "NaN": (chair("1 2 3 4 5 6\n1 nan 3 4 5 6"), "chair_1.txt", "line 4"),
    "infinity": (chair("1 -inf 3 4 5 6"), "chair_1.txt", "line 3"),
    "a colour of 256": (chair("1 2 3 4 5 256"), "chair_1.txt", "line 3"),
    "a negative colour": (chair("1 2 3 -1 5 6"), "chair_1.txt", "line 3"),
    "grouped digits": (chair("1 2 3 1_0 5 6"), "chair_1.txt", "line 3"),
    "a comment": (chair("# 1 2 3 4 5 6"), "chair_1.txt", "line 3"),
    "nothing to mend": (chair(b"1 2 3 4\x105 6 7 8"), "chair_1.txt", r"line 3.*4\\x105 6"),
    "a mended colour of 999": (chair(b"1 2 3 9\x10\x1099 5 6"), "chair_1.txt", "line 3"),
    "utf-16": (chair("7.5 8 9 1 2 3\n".encode("utf-16")), "chair_1.txt", "line 4"),
    "a page of a web server": (chair("<html>\n"), "chair_1.txt", "line 3"),
    "furniture without points": (put("board_1", "\n"), "board_1.txt", ""),
    "furniture of one point": (put("sofa_1", "1 1 1 0 0 0"), "sofa_1.txt", "0 × 0 × 0 m"),
    "flat furniture": (
        put("board_1", "1 1 1 0 0 0\n1 2 3 0 0 0"), "board_1.txt", "0 × 1 × 2 m",
    ),
    "a copy of furniture": (put("chair_1 (1)", CHAIR), "chair_1 (1).txt", "chair_<number>"),
    "furniture without number": (put("table", CHAIR), "table.txt", "table_<number>"),
    "no file that counts": (lambda r: strip(r, keep="wall_1"), "Annotations", ""),
    "no annotations": (lambda r: strip(r, name="old"), "Annotations", "1 of 1"),
    "empty annotations": (strip, "Annotations/*.txt", "1 of 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_room_is_refused_by_name_and_leaves_no_manifest(
    room: Path, tmp_path: Path, case: str
) -> None:
    spoil, name, pattern = BAD[case]
    spoil(room)
    with refuses(mentions=[str(room), name]) as caught:
        prepare(tmp_path, [ID])
    assert caught.value.kind in (Kind.VALUE, Kind.EMPTY, Kind.MISSING)
    assert re.search(pattern, str(caught.value))
    assert caught.value.remedy
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_a_bad_room_is_left_out_on_request_and_noted(room: Path, tmp_path: Path) -> None:
    write_room(tmp_path / FOLDER, "Area_5", "office_1")
    strip(write_room(tmp_path / FOLDER, "Area_5"), name="old")
    chair("1 2 3")(room)
    manifest = read_manifest(prepare(tmp_path, keep_going=True))
    assert manifest.splits == {"val": ["Area_5_office_1"]}
    assert all(name in manifest.left_out[ID] for name in ("chair_1.txt", "line 3"))
    assert "Annotations" in manifest.left_out["Area_5_office_2"]
    verify(tmp_path / "out")


def test_after_a_failure_only_the_rest_is_read(
    room: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = write_room(tmp_path / FOLDER, "Area_5")
    chair("1 2 3")(bad)
    both = [ID, "Area_5_office_2"]
    with pytest.raises(InputError, match="line 3"):
        prepare(tmp_path, both)
    annotation(bad, "chair_1").write_text(CHAIR)
    with caplog.at_level(logging.INFO):
        out = prepare(tmp_path, both)
    assert (1, 2) in [record.args for record in caplog.records]
    first, second = (PreparedDataset(out, split)[0] for split in ("train", "val"))
    assert torch.equal(first.points, second.points)


def test_a_wrong_folder_or_room(room: Path, tmp_path: Path) -> None:
    with refuses(Kind.MISSING, file="nowhere", mentions=["--raw"]):
        prepare_s3dis(tmp_path / "nowhere", tmp_path / "out")
    with refuses(Kind.EMPTY, file="Area_1", mentions=["--raw"]):
        prepare_s3dis(room.parent, tmp_path / "out")
    with refuses(Kind.UNKNOWN, field="Area_1_office_3", mentions=[f"'{ID}'"]):
        prepare(tmp_path, ["Area_1_office_3"])
    assert not (tmp_path / "out").exists()
