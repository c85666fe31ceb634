"""The prepared format: what goes in comes out, and nothing half-written passes for whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr3d.data.box_files import read_ground_truth
from sr3d.data.prepared import (
    MANIFEST,
    Manifest,
    PreparedDataset,
    PreparedWriter,
    read_manifest,
    verify,
    writing,
)
from sr3d.data.scene import Scene
from sr3d.errors import DamagedFile, InputError, Kind
from sr3d.geometry.boxes import Boxes
from sr3d.runs.files import with_checksum, without_checksum
from tests.refusals import refuses

CLASSES = ("chair", "table", "bed")


def make_scene(name: str, boxes: int = 2, points: int = 7, seed: int = 0) -> Scene:
    draw = torch.Generator().manual_seed(seed)
    box = torch.rand(boxes, 7, generator=draw) + 0.1
    box[:, 6] = 0
    return Scene(
        id=name,
        points=torch.randn(points, 3, generator=draw),
        colors=torch.rand(points, 3, generator=draw),
        boxes=Boxes(box),
        labels=torch.randint(0, len(CLASSES), (boxes,), generator=draw),
    )


def writer(folder: Path, *, source: str = "a test", **options: Any) -> PreparedWriter:
    settings = {"dataset": "scannet", "classes": CLASSES, "rotated": False, **options}
    return PreparedWriter(folder, source=source, **settings)


def write(folder: Path, scenes: dict[str, list[Scene]], **options: Any) -> Manifest:
    target = writer(folder, **options)
    for split, members in scenes.items():
        for scene in members:
            target.add(split, scene)
    return target.finish()


def same(one: Scene, other: Scene) -> bool:
    return one.id == other.id and all(
        torch.equal(a, b)
        for a, b in (
            (one.points, other.points),
            (one.colors, other.colors),
            (one.boxes.tensor, other.boxes.tensor),
            (one.labels, other.labels),
        )
    )


A, B, C = (make_scene(name, seed=i) for i, name in enumerate("abc"))

# ---------------------------------------------------------------- what goes in comes out


def test_scenes_come_back_bit_for_bit_in_order(tmp_path: Path) -> None:
    manifest = write(tmp_path, {"train": [B, A], "val": [C]})
    train, val = PreparedDataset(tmp_path, "train"), PreparedDataset(tmp_path, "val")
    assert train.ids == ["b", "a"]
    assert all(same(x, y) for x, y in zip(train, [B, A], strict=True))
    assert same(val[0], C)
    assert len(train) == 2
    assert read_manifest(tmp_path) == manifest
    verify(tmp_path)
    scene = train[0]
    assert scene.points.dtype == scene.colors.dtype == scene.boxes.tensor.dtype == torch.float32
    assert scene.labels.dtype == torch.int64


@pytest.mark.parametrize("counts", [[0], [0, 0], [0, 3, 0], [1, 0, 2, 5, 0]])
def test_scenes_without_boxes_keep_their_place(tmp_path: Path, counts: list[int]) -> None:
    scenes = [make_scene(f"s{i}", boxes=n, seed=i) for i, n in enumerate(counts)]
    write(tmp_path, {"train": scenes})
    back = list(PreparedDataset(tmp_path, "train"))
    assert all(same(x, y) for x, y in zip(back, scenes, strict=True))
    assert back[0].boxes.tensor.shape == (counts[0], 7)


def test_the_ground_truth_file_is_one_that_evaluate_reads(tmp_path: Path) -> None:
    long = make_scene("a-name-longer-than-the-others", boxes=3, seed=5)
    empty = make_scene("empty", boxes=0)
    write(tmp_path, {"val": [A, empty, long]})
    truth = read_ground_truth(tmp_path / "val.npz", CLASSES)
    assert truth.scene.tolist() == ["a"] * 2 + [long.id] * 3
    assert truth.scenes == ("a", "empty", long.id)
    assert np.array_equal(truth.box, torch.cat([A.boxes.tensor, long.boxes.tensor]).numpy())
    assert truth.label.tolist() == A.labels.tolist() + long.labels.tolist()


def test_a_scene_may_be_changed_in_place_without_touching_the_file(tmp_path: Path) -> None:
    write(tmp_path, {"train": [A]})
    data = PreparedDataset(tmp_path, "train")
    scene = data[0]
    for tensor in (scene.points, scene.colors, scene.boxes.tensor, scene.labels):
        tensor += 1
    assert same(data[0], A)
    verify(tmp_path)


def test_rotated_data_sets_keep_the_yaw(tmp_path: Path) -> None:
    A_turned = Scene("a", A.points, A.colors, A.boxes.rotated(0.5), A.labels)
    write(tmp_path / "r", {"train": [A_turned]}, dataset="sunrgbd", rotated=True)
    assert same(PreparedDataset(tmp_path / "r", "train")[0], A_turned)
    with refuses(Kind.CONFLICT, field="a", mentions=["yaw", "'scannet'"]):
        write(tmp_path / "s", {"train": [A_turned]})


@pytest.mark.parametrize("name", ["scene0000_00", "Küche-1", "房間", "a.b+c", "1", "x" * 200])
def test_names_and_folders_in_any_script(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "Räume 部屋"
    scene = make_scene(name)
    write(folder, {"train": [scene]})
    assert same(PreparedDataset(folder, "train")[0], scene)
    assert same(PreparedDataset(str(folder), "train")[0], scene)
    verify(folder)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/b", "a\\b", "/a", ".a", "a b", "a\n", "a\0", "-a", "x" * 201]
)
def test_names_that_make_no_file_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    with refuses(Kind.VALUE, field=repr(name)):
        write(folder, {"train": [make_scene(name)]})
    with refuses(Kind.VALUE, field=repr(name)):
        write(folder, {name: [A]})
    assert not folder.exists()


def test_the_digest_depends_on_the_data_alone(tmp_path: Path) -> None:
    one = write(tmp_path / "1", {"train": [A, B]})
    two = write(tmp_path / "2", {"train": [A, B]}, source="elsewhere")
    assert one.digest() == two.digest()
    moved = Scene("b", B.points, B.colors, B.boxes.translated(torch.ones(3)), B.labels)
    brighter = Scene("b", B.points, B.colors.clamp(min=0.5), B.boxes, B.labels)
    others = [
        write(tmp_path / "3", {"train": [B, A]}),
        write(tmp_path / "4", {"train": [A], "val": [B]}),
        write(tmp_path / "5", {"train": [A, moved]}),
        write(tmp_path / "6", {"train": [A, brighter]}),
    ]
    assert len({m.digest() for m in [one, *others]}) == 5


# ---------------------------------------------------------------- bad scenes


@pytest.mark.parametrize(
    ("spoil", "kind", "named"),
    [
        (lambda s: s.points.fill_(torch.nan), Kind.VALUE, ["points", "NaN"]),
        (lambda s: s.colors.mul_(255), Kind.VALUE, ["colours"]),
        (lambda s: s.boxes.tensor[0, 4].zero_(), Kind.EMPTY, ["box"]),
        (lambda s: s.boxes.tensor[1, 0].fill_(torch.inf), Kind.VALUE, ["boxes", "NaN"]),
        (lambda s: s.labels.fill_(3), Kind.VALUE, ["labels", "0 to 2"]),
    ],
)
def test_unusable_scenes(
    tmp_path: Path, spoil: Callable[[Scene], Any], kind: Kind, named: list[str]
) -> None:
    scene = make_scene("a")
    spoil(scene)
    with refuses(kind, file="a", mentions=named):
        write(tmp_path, {"train": [scene]})
    assert not (tmp_path / MANIFEST).exists()


def test_no_points_wrong_columns_no_scenes_and_a_scene_twice(tmp_path: Path) -> None:
    with refuses(Kind.EMPTY, file="a"):
        write(tmp_path, {"train": [make_scene("a", points=0)]})
    four = Scene("a", torch.rand(5, 4), torch.rand(5, 4), A.boxes, A.labels)
    with refuses(Kind.VALUE, field="a"):
        write(tmp_path, {"train": [four]})
    with refuses(Kind.EMPTY, file=tmp_path):
        write(tmp_path, {})
    with refuses(Kind.CONFLICT, field="a"):
        write(tmp_path, {"train": [A], "val": [A]})
    assert not (tmp_path / MANIFEST).exists()


# ---------------------------------------------------------------- whole or absent


def test_there_is_no_manifest_before_finish(tmp_path: Path) -> None:
    target = writer(tmp_path)
    target.add("train", A)
    with refuses(mentions=["manifest.json"]):
        PreparedDataset(tmp_path, "train")
    target.finish()
    assert same(PreparedDataset(tmp_path, "train")[0], A)


def test_preparing_the_same_again_writes_nothing_but_the_manifest(tmp_path: Path) -> None:
    write(tmp_path, {"train": [A], "val": [B]})
    files = [tmp_path / name for name in ("points/a.npy", "points/b.npy", "train.npz", "val.npz")]
    before = [f.stat().st_ino for f in files]
    again = writer(tmp_path)
    again.add("train", A)
    verify(tmp_path)  # the standing manifest holds, for nothing has changed
    again.add("val", B)
    again.finish()
    assert [f.stat().st_ino for f in files] == before


def test_the_manifest_goes_before_what_it_vouches_for_changes(tmp_path: Path) -> None:
    write(tmp_path, {"train": [A]})
    again = writer(tmp_path)
    assert (tmp_path / MANIFEST).exists()
    again.add("train", make_scene("a", seed=9))
    assert not (tmp_path / MANIFEST).exists()


def test_a_preparation_stopped_at_its_end_leaves_no_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    write(tmp_path, {"train": [A]})
    again = writer(tmp_path, append=True)
    again.add("train", B)
    monkeypatch.setattr(writing, "write_manifest", stop)
    with pytest.raises(KeyboardInterrupt):
        again.finish()
    assert not (tmp_path / MANIFEST).exists()
    monkeypatch.undo()
    write(tmp_path, {"train": [A, B]})
    verify(tmp_path)


# ---------------------------------------------------------------- append


def test_append_adds_scenes_and_splits(tmp_path: Path) -> None:
    write(tmp_path, {"train": [A]}, source="first")
    manifest = write(tmp_path, {"train": [B], "val": [C]}, source="second", append=True)
    verify(tmp_path)
    assert manifest.splits == {"train": ["a", "b"], "val": ["c"]}
    assert manifest.source.split("; ") == ["first", "second"]
    assert all(same(x, y) for x, y in zip(PreparedDataset(tmp_path, "train"), [A, B], strict=True))
    assert same(PreparedDataset(tmp_path, "val")[0], C)
    at_once = write(tmp_path / "at once", {"train": [A, B], "val": [C]})
    assert manifest.digest() == at_once.digest()


def test_append_to_nothing_begins(tmp_path: Path) -> None:
    write(tmp_path / "new", {"train": [A]}, append=True)
    assert PreparedDataset(tmp_path / "new", "train").ids == ["a"]


def test_append_keeps_a_scene_that_is_the_same(tmp_path: Path) -> None:
    first = write(tmp_path, {"train": [A, B]})
    again = write(tmp_path, {"train": [B]}, append=True)
    assert again == first
    verify(tmp_path)


@pytest.mark.parametrize(
    ("split", "scene"),
    [
        ("train", make_scene("a", seed=7)),
        ("train", Scene("a", A.points, A.colors, A.boxes.translated(torch.ones(3)), A.labels)),
        ("train", Scene("a", A.points, A.colors, A.boxes, (A.labels + 1) % 3)),
        ("val", A),
    ],
    ids=["points", "boxes", "labels", "split"],
)
def test_append_refuses_another_scene_of_the_same_name(
    tmp_path: Path, split: str, scene: Scene
) -> None:
    write(tmp_path, {"train": [A], "val": [B]})
    with refuses(mentions=[str(tmp_path), "'a'"]):
        write(tmp_path, {split: [scene]}, append=True)
    verify(tmp_path)
    assert same(PreparedDataset(tmp_path, "train")[0], A)


@pytest.mark.parametrize(
    "other", [{"dataset": "synthetic"}, {"classes": CLASSES[::-1]}, {"rotated": True}]
)
def test_append_refuses_another_data_set(tmp_path: Path, other: dict[str, Any]) -> None:
    write(tmp_path, {"train": [A]})
    with refuses(Kind.CONFLICT, file=tmp_path):
        write(tmp_path, {"train": [B]}, append=True, **other)
    verify(tmp_path)


def test_the_old_manifest_holds_until_append_finishes(tmp_path: Path) -> None:
    first = write(tmp_path, {"train": [A]})
    target = writer(tmp_path, append=True)
    target.add("train", B)
    with pytest.raises(InputError):
        target.add("train", make_scene("c", points=0))
    del target
    verify(tmp_path)
    assert read_manifest(tmp_path) == first
    assert same(PreparedDataset(tmp_path, "train")[0], A)


def test_append_refuses_a_damaged_ground_truth_and_mends_a_damaged_cloud(tmp_path: Path) -> None:
    write(tmp_path, {"train": [A]})
    (tmp_path / "points" / "a.npy").write_bytes(b"")
    write(tmp_path, {"train": [A, B]}, append=True)
    verify(tmp_path)
    (tmp_path / "train.npz").write_bytes(b"")
    with pytest.raises(DamagedFile, match=r"train\.npz"):
        writer(tmp_path, append=True)


# ---------------------------------------------------------------- damaged folders


def save(path: Path, array: np.ndarray) -> None:
    np.save(path, array, allow_pickle=True)


DAMAGED_POINTS: dict[str, Callable[[Path], Any]] = {
    "absent": lambda p: p.unlink(),
    "empty": lambda p: p.write_bytes(b""),
    "truncated header": lambda p: p.write_bytes(p.read_bytes()[:40]),
    "truncated rows": lambda p: p.write_bytes(p.read_bytes()[:-9]),
    "no array": lambda p: p.write_bytes(b"<html>not found</html>"),
    "another shape": lambda p: save(p, np.zeros((7, 3), np.float32)),
    "another length": lambda p: save(p, np.zeros((8, 6), np.float32)),
    "another type": lambda p: save(p, np.zeros((7, 6))),
    "objects": lambda p: save(p, np.array([{}, 1], dtype=object)),
}


@pytest.mark.parametrize("case", DAMAGED_POINTS)
def test_damaged_points_are_named(tmp_path: Path, case: str) -> None:
    write(tmp_path, {"train": [A, B]})
    DAMAGED_POINTS[case](tmp_path / "points" / "b.npy")
    data = PreparedDataset(tmp_path, "train")
    assert same(data[0], A)
    for read in (lambda: data[1], lambda: verify(tmp_path)):
        with refuses(Kind.UNREADABLE, file="b.npy", mentions=["sr3d prepare"], error=DamagedFile):
            read()


def test_changed_values_are_found_at_the_first_use(tmp_path: Path) -> None:
    write(tmp_path, {"train": [A]})
    data = PreparedDataset(tmp_path, "train")
    assert same(data[0], A)
    path = tmp_path / "points" / "a.npy"
    save(path, np.load(path) + np.float32(1e-3))
    for read in (lambda: PreparedDataset(tmp_path, "train")[0], lambda: verify(tmp_path)):
        with refuses(Kind.UNREADABLE, file="a.npy", mentions=["sr3d prepare"], error=DamagedFile):
            read()
    write(tmp_path, {"train": [A]})  # as the message says
    assert same(PreparedDataset(tmp_path, "train")[0], A)


def test_a_damaged_line_of_the_journal_costs_its_scene_alone(tmp_path: Path) -> None:
    first = writer(tmp_path)
    for scene in (A, B, C):
        first.add("train", scene, stamp="s")
    first.close()
    path = tmp_path / writing.JOURNAL
    lines = path.read_text().splitlines(keepends=True)
    place = lines[2].index('"boxes": [[0.') + len('"boxes": [[0.')
    digit = "3" if lines[2][place] != "3" else "4"
    lines[2] = lines[2][:place] + digit + lines[2][place + 1 :]
    path.write_text("".join(lines))
    again = writer(tmp_path)
    assert [again.journaled("train", name, "s") for name in "abc"] == [True, False, True]


@pytest.mark.parametrize("spoil", [lambda p: p.unlink(), lambda p: p.write_bytes(b"PK\3\4")])
def test_damaged_ground_truth_is_named(tmp_path: Path, spoil: Callable[[Path], Any]) -> None:
    write(tmp_path, {"train": [A]})
    spoil(tmp_path / "train.npz")
    for read in (lambda: PreparedDataset(tmp_path, "train"), lambda: verify(tmp_path)):
        with refuses(
            Kind.UNREADABLE, file="train.npz", mentions=["sr3d prepare"], error=DamagedFile
        ):
            read()


def edited(**entries: Any) -> Callable[[Path], Any]:
    """As another version writes it, with a checksum that is right."""

    def edit(path: Path) -> None:
        value = without_checksum(json.loads(path.read_text()), path, "")
        path.write_text(json.dumps(with_checksum({**value, **entries})))

    return edit


def without(name: str) -> Callable[[Path], Any]:
    """Without an entry, and without a checksum."""

    def edit(path: Path) -> None:
        value = without_checksum(json.loads(path.read_text()), path, "")
        path.write_text(json.dumps({k: v for k, v in value.items() if k != name}))

    return edit


def test_a_manifest_of_an_earlier_version_has_no_checksum(tmp_path: Path) -> None:
    manifest = write(tmp_path, {"train": [A]})
    without("")(tmp_path / MANIFEST)
    assert read_manifest(tmp_path) == manifest


def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"train": [A]})
    path = tmp_path / MANIFEST
    path.write_text(path.read_text().replace('"source": "a test"', '"source": "the lab"'))
    with refuses(mentions=["manifest.json", "sr3d prepare"], error=DamagedFile):
        read_manifest(tmp_path)


BAD_MANIFESTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "absent": (lambda p: p.unlink(), "no such file"),
    "no JSON": (lambda p: p.write_text("{"), "JSON"),
    "a list": (lambda p: p.write_text("[]"), "not a manifest"),
    "nothing in it": (lambda p: p.write_text("{}"), "None"),
    "the first version": (edited(version=1), "version 1"),
    "a later version": (edited(version=99), "version 99"),
    "another format": (edited(format="coco"), "format coco"),
    "one entry more": (edited(extra=1), "extra"),
    "another order of classes": (edited(classes=list(CLASSES[::-1])), "digest"),
}


@pytest.mark.parametrize("case", BAD_MANIFESTS)
def test_bad_manifests(tmp_path: Path, case: str) -> None:
    write(tmp_path, {"train": [A]})
    spoil, reason = BAD_MANIFESTS[case]
    spoil(tmp_path / MANIFEST)
    with pytest.raises(InputError, match=rf"manifest\.json: .*{reason}"):
        read_manifest(tmp_path)


def test_an_unknown_split(tmp_path: Path) -> None:
    write(tmp_path, {"train": [A]})
    with refuses(Kind.UNKNOWN, mentions=["trian", "train"]):
        PreparedDataset(tmp_path, "trian")
