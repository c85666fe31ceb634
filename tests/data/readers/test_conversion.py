"""The loop that all readers share: resumable, loud, counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from sr3d.data.parallel import threaded_map
from sr3d.data.prepared import MANIFEST, PreparedDataset, PreparedWriter, verify
from sr3d.data.prepared.writing import JOURNAL
from sr3d.data.readers.conversion import ConversionOptions, Source, convert
from sr3d.data.readers.published import PublishedCounts, compare, compare_scenes, scannet
from sr3d.data.scene import Scene
from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes
from tests.refusals import refuses

CLASSES = ("chair", "table")


def scene(name: str, boxes: int = 1, label: int = 0) -> Scene:
    draw = torch.Generator().manual_seed(sum(name.encode()))
    box = torch.rand(boxes, 7, generator=draw) + 0.1
    box[:, 6] = 0
    labels = torch.full((boxes,), label)
    points = torch.rand(5, 6, generator=draw)
    return Scene(name, points[:, :3], points[:, 3:], Boxes(box), labels)


class Reader:
    """Makes scenes of files that hold their number of boxes, and remembers what it read."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.read = folder, list[str]()
        for name in names:
            (folder / name).write_text("1")
        self.sources = [self.source(name) for name in names]

    def source(self, name: str, split: str = "train") -> Source:
        return Source(split, name, (self.folder / name,), lambda: self._read(name))

    def _read(self, name: str) -> Scene:
        self.read.append(name)
        text = (self.folder / name).read_text()
        if text == "bad":
            raise InputError("is bad", file=self.folder / name, kind=Kind.VALUE)
        return scene(name, int(text))


def writer(out: Path, **options: Any) -> PreparedWriter:
    plain = {"dataset": "scannet", "classes": CLASSES, "rotated": False, "source": "a test"}
    return PreparedWriter(out, **{**plain, **options})


def converted(
    reader: Reader, out: Path, how: ConversionOptions = ConversionOptions(), **options: Any
) -> Any:
    published = options.pop("published", PublishedCounts())
    return convert(reader.sources, writer(out, **options), published, "fetch them", how)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "raw", "abcdef")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


# ---------------------------------------------------------------- going on


def test_what_was_read_before_a_failure_is_not_read_again(reader: Reader, out: Path) -> None:
    (reader.folder / "d").write_text("bad")
    with refuses(Kind.VALUE, file="raw/d"):
        converted(reader, out)
    assert not (out / MANIFEST).exists()
    assert (out / JOURNAL).exists()
    (reader.folder / "d").write_text("2")
    reader.read.clear()
    manifest = converted(reader, out)
    assert reader.read == ["d", "e", "f"]
    assert manifest.splits == {"train": list("abcdef")}
    verify(out)
    at_once = converted(Reader(reader.folder, "abcefd"), out.with_name("at once"))
    assert [s.id for s in PreparedDataset(out, "train")] == list("abcdef")
    assert at_once.scenes["a"] == manifest.scenes["a"]


def test_a_manifest_that_a_workflow_deleted_costs_no_reading(reader: Reader, out: Path) -> None:
    converted(reader, out)
    before = (out / MANIFEST).read_bytes()
    (out / MANIFEST).unlink()
    reader.read.clear()
    converted(reader, out)
    assert reader.read == []
    assert (out / MANIFEST).read_bytes() == before
    verify(out)


def test_a_finished_set_is_brought_up_to_date_by_reading_what_changed(
    reader: Reader, out: Path
) -> None:
    converted(reader, out)
    (reader.folder / "c").write_text("3")
    (reader.folder / "g").write_text("2")
    reader.sources = [*reader.sources[1:], reader.source("g")]  # without a
    reader.read.clear()
    manifest = converted(reader, out)
    assert reader.read == ["c", "g"]
    assert manifest.splits == {"train": list("bcdefg")}
    assert not (out / "points" / "a.npy").exists()
    verify(out)
    assert converted(reader, out.with_name("fresh")).digest() == manifest.digest()


def test_the_result_is_that_of_an_uninterrupted_preparation(reader: Reader, out: Path) -> None:
    for name, count in zip("abcdef", (3, 0, 1, 2, 0, 4), strict=True):
        (reader.folder / name).write_text(str(count))
    whole = converted(reader, out / "whole")
    text = (reader.folder / "e").read_text()
    (reader.folder / "e").write_text("bad")
    with pytest.raises(InputError):
        converted(reader, out / "parts")
    (reader.folder / "e").write_text(text)
    parts = converted(reader, out / "parts")
    assert parts.digest() == whole.digest()
    for name in ("train.npz", *(f"points/{s}.npy" for s in "abcdef")):
        assert (out / "parts" / name).read_bytes() == (out / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda r, o: (r.folder / "b").write_text("3"), ["b"]),  # a changed original
        (lambda r, o: (o / "points" / "b.npy").unlink(), ["b"]),
        (lambda r, o: (o / "points" / "b.npy").write_bytes(b"short"), ["b"]),
        (lambda r, o: _edit(o, lambda text: text[:-30]), ["c"]),  # cut off while written
        (lambda r, o: _edit(o, lambda text: text.replace("a test", "other")), list("abc")),
        (lambda r, o: _edit(o, lambda text: "{" + text), list("abc")),
        (lambda r, o: (o / JOURNAL).unlink(), list("abc")),
    ],
)
def test_what_is_in_doubt_is_read_again(
    reader: Reader, out: Path, change: Callable[[Reader, Path], Any], again: list[str]
) -> None:
    (reader.folder / "d").write_text("bad")
    with pytest.raises(InputError):
        converted(reader, out)
    (reader.folder / "d").write_text("1")
    change(reader, out)
    reader.read.clear()
    converted(reader, out)
    assert [name for name in reader.read if name in "abc"] == again
    verify(out)
    assert converted(reader, out.with_name("fresh")).digest() == converted(reader, out).digest()


def _edit(out: Path, change: Callable[[str], str]) -> None:
    text = (out / JOURNAL).read_text()
    (out / JOURNAL).write_text(change(text))


@pytest.mark.parametrize("options", [{"source": "another"}, {"labels": "v1"}])
def test_another_preparation_does_not_go_on_with_this_one(
    reader: Reader, out: Path, options: dict[str, Any]
) -> None:
    (reader.folder / "d").write_text("bad")
    with pytest.raises(InputError):
        converted(reader, out)
    (reader.folder / "d").write_text("1")
    reader.read.clear()
    converted(reader, out, **options)
    assert reader.read == list("abcdef")


def test_a_killed_process_is_gone_on_with(tmp_path: Path) -> None:
    reader, out = Reader(tmp_path / "raw", "abcdef"), tmp_path / "out"
    code = """
import os, signal, sys, time
from pathlib import Path
from tests.data.readers.test_conversion import Reader, converted
reader = Reader(Path(sys.argv[1]), "abcdef")
real = reader._read
def read(name):
    if name == "d":
        os.kill(os.getpid(), signal.SIGKILL)
    return real(name)
reader._read = read
converted(reader, Path(sys.argv[2]))
"""
    os.utime(reader.folder / "a", (1, 1))
    done = subprocess.run([sys.executable, "-c", code, str(reader.folder), str(out)])
    assert done.returncode == -signal.SIGKILL
    assert not (out / MANIFEST).exists()
    assert all(path.suffix == ".npy" for path in (out / "points").iterdir())
    manifest = converted(reader, out)
    assert manifest.splits == {"train": list("abcdef")}
    verify(out)


def test_append_goes_on_too(reader: Reader, out: Path) -> None:
    old = Reader(reader.folder.with_name("old"), "xy")
    converted(old, out)
    (reader.folder / "c").write_text("bad")
    with pytest.raises(InputError):
        converted(reader, out, append=True)
    assert PreparedDataset(out, "train").ids == ["x", "y"]  # the old manifest still holds
    (reader.folder / "c").write_text("1")
    reader.read.clear()
    manifest = converted(reader, out, append=True)
    assert reader.read == list("cdef")
    assert manifest.splits == {"train": list("xyabcdef")}
    verify(out)


def test_files_of_an_older_larger_set_go(reader: Reader, out: Path) -> None:
    first = [*reader.sources, reader.source("a", split="val")]
    reader.sources = [*first[1:6], Source("val", "g", first[0].files, lambda: scene("g"))]
    converted(reader, out)
    stranger = out / "points" / "mine.npy"
    stranger.write_bytes(b"not of the old set")
    reader.sources = first[:2]
    converted(reader, out)
    assert sorted(p.name for p in (out / "points").iterdir()) == ["a.npy", "b.npy", "mine.npy"]
    assert not (out / "val.npz").exists()
    verify(out)


# ---------------------------------------------------------------- loud, or left out


@pytest.mark.parametrize("workers", [1, 3])
def test_keep_going_leaves_out_and_says_why(reader: Reader, out: Path, workers: int) -> None:
    (reader.folder / "b").write_text("bad")
    (reader.folder / "e").unlink()
    with refuses(Kind.MISSING, mentions=["1 of 6"]):
        converted(reader, out, ConversionOptions(workers))
    assert not out.exists()
    manifest = converted(reader, out, ConversionOptions(workers, keep_going=True))
    assert manifest.splits == {"train": list("acdf")}
    assert manifest.left_out.keys() == {"b", "e"}
    assert str(reader.folder / "b") in manifest.left_out["b"]
    assert manifest.deviations == ["scenes left out: e, b"]


def test_nothing_readable_at_all(reader: Reader, out: Path) -> None:
    for name in "abcdef":
        (reader.folder / name).write_text("bad")
    with refuses(Kind.EMPTY, file="out"):
        converted(reader, out, ConversionOptions(keep_going=True))
    assert not (out / MANIFEST).exists()


def test_a_scene_that_the_format_refuses_is_left_out_too(reader: Reader, out: Path) -> None:
    bad = scene("b", boxes=2)
    bad.boxes.tensor[1, 4] = 0
    reader.sources[1] = Source("train", "b", (reader.folder / "b",), lambda: bad)
    with refuses(Kind.EMPTY, file="b") as error:
        converted(reader, out)
    manifest = converted(reader, out, ConversionOptions(keep_going=True))
    assert manifest.splits == {"train": list("acdef")}
    assert manifest.left_out["b"] == str(error.value)


def test_progress_is_told(reader: Reader, out: Path) -> None:
    seen: list[tuple[int, int]] = []
    converted(reader, out, ConversionOptions(2, progress=lambda *at: seen.append(at)))
    assert seen == [(i, 6) for i in range(1, 7)]


# ---------------------------------------------------------------- counted


def splits(**scenes: list[Scene]) -> dict[str, list[Scene]]:
    return scenes


PUBLISHED = PublishedCounts(
    scenes={"train": 2, "val": 1},
    boxes={"train": (3, 0), "val": (0, 1)},
    with_boxes={"train": 2, "val": 1},
    scene_boxes={"a": 1, "b": 2, "c": 1},
)
GOOD = splits(train=[scene("a"), scene("b", 2)], val=[scene("c", label=1)])


def test_the_published_set_deviates_in_nothing() -> None:
    assert compare(GOOD, CLASSES, PUBLISHED) == []


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (splits(train=GOOD["train"]), ["val has 0 scenes instead of 1", "are missing: c"]),
        (splits(train=[*GOOD["train"], scene("d")], val=GOOD["val"]), ["train has 3 scenes"]),
        (
            splits(train=[scene("a", 0), scene("b", 2)], val=GOOD["val"]),
            [
                "train has 1 scenes with boxes instead of 2",
                "train has 2 boxes instead of 3 (chair 2 instead of 3)",
                "scenes that differ: a (0 boxes instead of 1)",
            ],
        ),
        (
            splits(train=GOOD["train"], val=[scene("c")]),
            ["val has 1 boxes instead of 1 (chair 1 instead of 0, table 0 instead of 1)"],
        ),
        (splits(train=[scene("x"), scene("b", 2)], val=GOOD["val"]), ["are missing: a"]),
    ],
)
def test_deviations_name_numbers_and_scenes(found: dict[str, list[Scene]], told: list[str]) -> None:
    sentences = compare(found, CLASSES, PUBLISHED)
    for part in told:
        assert any(part in sentence for sentence in sentences), sentences


def test_of_some_scenes_only_their_own_boxes_are_compared() -> None:
    some = PUBLISHED.of_some_scenes()
    assert compare(splits(train=[scene("b", 2)]), CLASSES, some) == []
    assert compare(splits(train=[scene("b", 1)]), CLASSES, some) == [
        "scenes that differ: b (1 boxes instead of 2)"
    ]


def test_another_number_of_scenes_is_told_before_any_is_read(reader: Reader, out: Path) -> None:
    with refuses(Kind.VALUE, file="out", mentions=["--keep-going"]):
        converted(reader, out, published=PublishedCounts(scenes={"train": 7}))
    assert reader.read == []
    manifest = converted(
        reader,
        out,
        ConversionOptions(keep_going=True),
        published=PublishedCounts(scenes={"train": 7}),
    )
    assert manifest.deviations == ["train has 6 scenes instead of 7"]


def test_other_boxes_are_told_before_the_manifest_is_written(reader: Reader, out: Path) -> None:
    published = PublishedCounts(scene_boxes={"b": 4})
    with refuses(Kind.VALUE, file="out"):
        converted(reader, out, published=published)
    assert not (out / MANIFEST).exists()


def test_the_published_numbers_of_scannet_agree_with_each_other() -> None:
    numbers = scannet()
    assert {split: sum(boxes) for split, boxes in numbers.boxes.items()} == {
        "train": 15_733,
        "val": 4_364,
    }
    assert sum(numbers.scene_boxes.values()) == 15_733 + 4_364
    assert len(numbers.scene_boxes) == sum(numbers.scenes.values()) == 1513
    empty = {scene for scene, count in numbers.scene_boxes.items() if not count}
    assert empty == {"scene0154_00", "scene0636_00"}
    found = compare_scenes({"train": [], "val": []}, numbers)[0]
    assert {"train", "0", f"{numbers.scenes['train']}"} <= set(found.split())


# ---------------------------------------------------------------- threads


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_threads_keep_the_order_and_wait_for_the_taker(workers: int) -> None:
    begun: list[int] = []
    lock = threading.Lock()

    def work(number: int) -> int:
        with lock:
            begun.append(number)
        return number * number

    for taken, result in enumerate(threaded_map(work, range(50), workers), start=1):
        assert result == (taken - 1) ** 2
        assert max(begun) < taken + 2 * workers
    assert sorted(begun) == list(range(50))


def test_threads_pass_errors_on_and_stop() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return 1 // (3 - number)

    with pytest.raises(ZeroDivisionError):
        list(threaded_map(work, range(1000), 2))
    assert len(begun) < 20
