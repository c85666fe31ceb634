"""Raw ScanNet: the official boxes from the real scan, and every way in which a scan can be bad."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr3d.data.datasets import SCANNET
from sr3d.data.mmdet3d.infos import read_infos
from sr3d.data.mmdet3d.masks import read_instances
from sr3d.data.mmdet3d.reader import prepare_mmdet3d
from sr3d.data.point_features import floor_height, height_above_floor
from sr3d.data.prepared import MANIFEST, PreparedDataset, read_manifest, verify
from sr3d.data.readers.conversion import ConversionOptions
from sr3d.data.readers.scannet import (
    LABEL_MAP,
    NYU40_IDS,
    prepare_scannet,
    read_annotated,
    read_label_map,
)
from sr3d.data.safe_pickle import load_pickle
from sr3d.data.scene import Scene
from sr3d.errors import Kind
from tests.data.readers.scan_files import (
    AGGREGATION,
    COLORS,
    ID,
    LABELS,
    NUMBERS,
    OBJECTS,
    PLY,
    SEGMENTS,
    SEGS,
    TXT,
    VERTICES,
    file,
    write_mesh,
    write_meta,
    write_objects,
    write_scan,
    write_segments,
)
from tests.refusals import refuses
from tests.shared_data import shared

CHAIR, TABLE = SCANNET.classes.index("chair"), SCANNET.classes.index("table")

# ---------------------------------------------------------------- the real scan


def real_scan(scan: Path) -> Scene:
    label_map = read_label_map(shared(f"real/scannet/meta/{LABEL_MAP}"))
    return read_annotated(scan, label_map)[0]


def test_the_real_scan_gives_exactly_the_27_official_boxes() -> None:
    scan = shared("real/scannet/scans/scene0000_00")
    scene = real_scan(scan)
    infos = load_pickle(shared("real/scannet/infos/scannet_infos_train.pkl"))["data_list"]
    info = next(i for i in infos if i["lidar_points"]["lidar_path"] == "scene0000_00.bin")
    assert len(info["instances"]) == len(scene.boxes) == 27
    left = list(range(27))
    for instance in info["instances"]:
        gap = (scene.boxes.tensor[left, :6] - torch.tensor(instance["bbox_3d"])).abs().amax(dim=1)
        assert float(gap.min()) < 1e-5
        assert int(scene.labels[left.pop(int(gap.argmin()))]) == instance["bbox_label_3d"]
    assert (scene.boxes.yaw == 0).all()
    assert scene.instance is not None
    for box in range(27):  # whose points its instance is
        own = scene.points[scene.instance == box]
        low, high = own.amin(dim=0), own.amax(dim=0)
        assert torch.equal((low + high) / 2, scene.boxes.centers[box])
        assert torch.equal(high - low, scene.boxes.sizes[box])


def test_instances_and_heights_are_those_of_votenet() -> None:
    """Its own export and its own input of the real scan."""
    scan = shared("real/scannet/scans/scene0000_00")
    scene = real_scan(scan)
    with np.load(shared("golden/votenet_scene0000_00.npz")) as file:
        points, chosen = torch.tensor(file["points"]), torch.tensor(file["choices"]).long()
        theirs, category = file["instance_label"], file["nyu40_label"]
    assert torch.equal(points[:, :3], scene.points[chosen])
    height = height_above_floor(scene.points[chosen], floor_height(scene.points))
    torch.testing.assert_close(points[:, 3:], height, rtol=0, atol=1e-6)
    assert scene.instance is not None
    ours = scene.instance[chosen].numpy()
    first = {i: category[theirs == i][0] for i in np.unique(theirs).tolist()}
    assert ((ours >= 0) == [first[i] in NYU40_IDS for i in theirs.tolist()]).all()
    pairs = {pair for pair in zip(theirs.tolist(), ours.tolist(), strict=True) if pair[1] >= 0}
    assert len(pairs) == 27  # one to one


def test_masks_of_mmdet3d_give_the_instances_of_the_raw_scan(tmp_path: Path) -> None:
    scan = shared("real/scannet/scans/scene0000_00")
    raw = real_scan(scan)
    infos = read_infos(shared("real/scannet/infos/scannet_infos_train.pkl"), SCANNET.classes)
    boxes = next(info.boxes for info in infos if info.id == "scene0000_00")
    assert raw.instance is not None
    (raw.instance + 1).numpy().tofile(tmp_path / "mask.bin")
    found = read_instances(tmp_path / "mask.bin", raw.points.numpy(), boxes)
    assert found is not None
    assert ((found >= 0) == (raw.instance >= 0).numpy()).all()
    gap = torch.tensor(boxes)[found] - raw.boxes.tensor[raw.instance]
    assert float(gap[raw.instance >= 0].abs().max()) < 1e-5


def test_raw_and_mmdet3d_give_the_same_points_and_boxes(tmp_path: Path) -> None:
    root = shared("real/scannet")
    prepare_scannet(root, tmp_path / "raw", scenes=["scene0000_00"])
    prepare_mmdet3d(root, tmp_path / "bin", scenes=["scene0000_00"])
    raw, other = (PreparedDataset(tmp_path / name, "train")[0] for name in ("raw", "bin"))
    assert torch.equal(raw.points, other.points)
    assert torch.equal(raw.colors, other.colors)
    rows = [torch.cat([s.boxes.tensor, s.labels[:, None]], dim=1) for s in (raw, other)]
    assert len(rows[0]) == len(rows[1])
    nearest = (rows[0][:, None] - rows[1]).abs().amax(dim=2).min(dim=1)
    assert float(nearest.values.max()) < 1e-5
    assert len(nearest.indices.unique()) == 27


def test_a_raw_scan_and_an_mmdet3d_cloud_share_a_folder(tmp_path: Path) -> None:
    root = shared("real/scannet")
    seen: list[tuple[int, int]] = []
    how = ConversionOptions(progress=lambda *at: seen.append(at))
    prepare_scannet(root / "scans", tmp_path, scenes=["scene0000_00"], how=how)
    prepare_mmdet3d(root, tmp_path, scenes=["scene0113_00"], append=True)
    verify(tmp_path)
    both = PreparedDataset(tmp_path, "train")
    assert [(s.id, len(s), len(s.boxes)) for s in both] == [
        ("scene0000_00", 81_369, 27),
        ("scene0113_00", 91_598, 4),
    ]
    assert seen == [(1, 1)]


# ---------------------------------------------------------------- a scan of our own


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A ScanNet root with one scan of the train list."""
    write_scan(tmp_path / "raw" / "scans")
    write_meta(tmp_path / "raw")
    return tmp_path / "raw"


def scan_of(raw: Path) -> Scene:
    return read_annotated(raw / "scans" / ID, LABELS)[0]


def test_points_are_aligned_colours_scaled_and_boxes_span_their_objects(raw: Path) -> None:
    scene = scan_of(raw)
    assert scene.id == ID
    # x' = 2 - y, y' = 3 + x, z' = 0.5 + z
    x, y, z = torch.tensor(VERTICES).T
    assert torch.equal(scene.points, torch.stack([2 - y, 3 + x, 0.5 + z], dim=1))
    assert torch.equal(scene.colors, torch.tensor(COLORS).float() / 255)
    assert scene.labels.tolist() == [CHAIR, TABLE]
    # chair: x' in 0..2, y' in 3..4, z' in 0.5..3.5; table: x' -5..-3, y' 8..9, z' 0.5..1.5
    assert scene.boxes.tensor.tolist() == [[1, 3.5, 2, 2, 1, 3, 0], [-4, 8.5, 1, 2, 1, 1, 0]]
    assert scene.instance is not None
    for box, (low, high) in enumerate([((0, 3, 0.5), (2, 4, 3.5)), ((-5, 8, 0.5), (-3, 9, 1.5))]):
        own = scene.points[scene.instance == box]
        assert (own.amin(dim=0).tolist(), own.amax(dim=0).tolist()) == (list(low), list(high))


def test_the_nyu40_ids_are_those_of_the_benchmark() -> None:
    ids = dict(zip(SCANNET.classes, NYU40_IDS, strict=True))
    assert (ids["cabinet"], ids["desk"], ids["curtain"]) == (3, 14, 16)
    assert (ids["showercurtrain"], ids["toilet"], ids["garbagebin"]) == (28, 33, 39)
    table = read_label_map(shared(f"real/scannet/meta/{LABEL_MAP}"))
    own_name = {"showercurtrain": "shower curtain", "garbagebin": "trash can"}
    for name, nyu40 in ids.items():
        assert table[own_name.get(name, name)] == nyu40


def test_the_later_object_has_a_shared_segment(raw: Path) -> None:
    write_objects(
        file(raw, AGGREGATION), [("table", [20, 11]), ("office chair", [10, 11]), ("wall", [30])]
    )
    scene = scan_of(raw)
    assert scene.labels.tolist() == [TABLE, CHAIR]
    assert scene.boxes.tensor[0].tolist() == [-4, 8.5, 1, 2, 1, 1, 0]
    assert scene.boxes.tensor[1].tolist() == [1, 3.5, 2, 2, 1, 3, 0]


def test_objects_listed_twice_count_once(raw: Path) -> None:
    expected = scan_of(raw)
    for ids in (range(6), [0, 1, 2, 0, 1, 2]):  # renumbered, as scene0217_00 has them, or not
        write_objects(file(raw, AGGREGATION), OBJECTS * 2, ids)
        scene = scan_of(raw)
        assert torch.equal(scene.boxes.tensor, expected.boxes.tensor)
        assert torch.equal(scene.labels, expected.labels)


def test_an_object_without_vertices_falls_out(raw: Path) -> None:
    write_objects(file(raw, AGGREGATION), [*OBJECTS, ("table", [])])
    assert scan_of(raw).labels.tolist() == [CHAIR, TABLE]


def test_a_scan_may_have_no_box(raw: Path, tmp_path: Path) -> None:
    write_objects(file(raw, AGGREGATION), [])
    prepare_scannet(raw, tmp_path / "out", scenes=[ID])
    assert len(PreparedDataset(tmp_path / "out", "train")[0].boxes) == 0


def test_objects_of_unknown_category_are_ignored_and_counted(
    raw: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_objects(file(raw, AGGREGATION), [("ufo", [10, 11]), ("table", [20]), ("ufo", [30])])
    with caplog.at_level(logging.WARNING):
        prepare_scannet(raw, tmp_path / "out", scenes=[ID])
    assert "ufo (2)" in caplog.text
    assert PreparedDataset(tmp_path / "out", "train")[0].labels.tolist() == [TABLE]


@pytest.mark.parametrize(
    "mesh",
    [
        {"text": True},
        {"order": ">"},
        {"more": ()},
        {"more": ("alpha", "quality", "label")},
    ],
    ids=["ascii", "big-endian", "no alpha", "extra properties"],
)
def test_meshes_in_other_dress_are_read_alike(raw: Path, mesh: dict[str, Any]) -> None:
    expected = scan_of(raw)
    write_mesh(file(raw, PLY), **mesh)
    scene = scan_of(raw)
    assert torch.equal(scene.points, expected.points)
    assert torch.equal(scene.colors, expected.colors)


def test_paths_in_any_script(tmp_path: Path) -> None:
    raw = tmp_path / "Räume 部屋" / "raw"
    write_scan(raw / "scans")
    write_meta(raw)
    prepare_scannet(raw, tmp_path / "préparé", scenes=[ID])
    verify(tmp_path / "préparé")


@pytest.mark.parametrize(
    "text",
    [
        f"axisAlignment={NUMBERS}",
        f"sceneType = Office = big\n  axisAlignment\t=   {NUMBERS.replace(' ', '   ')}  \r\n\n",
        f"\nno equals sign\naxisAlignment = {NUMBERS} \n",
    ],
)
def test_odd_spacing_in_the_text_file(raw: Path, text: str) -> None:
    expected = scan_of(raw)
    file(raw, TXT).write_bytes(text.encode())
    assert torch.equal(scan_of(raw).points, expected.points)


# ---------------------------------------------------------------- bad input


def truncate(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


def cut_mesh(path: Path, keep: int, **options: Any) -> None:
    write_mesh(path, **options)
    truncate(path, keep)


def nan_vertex() -> np.ndarray:
    vertices = VERTICES.copy()
    vertices[4, 1] = np.nan
    return vertices


SCALED = NUMBERS.replace("-1", "-2")
# What is done to the scan, the file to be named, a word of the reason.
BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "ply truncated in the vertices": (lambda r: truncate(file(r, PLY), 330), PLY, "end-of-file"),
    "ply truncated in the faces": (
        lambda r: truncate(file(r, PLY), file(r, PLY).stat().st_size - 5), PLY, "end-of-file",
    ),
    "ascii ply truncated": (
        lambda r: cut_mesh(file(r, PLY), 420, text=True), PLY,
        "not a coloured",
    ),
    "big-endian ply truncated": (
        lambda r: cut_mesh(file(r, PLY), 330, order=">"), PLY,
        "end-of-file",
    ),
    "ply without colours": (lambda r: write_mesh(file(r, PLY), without="green"), PLY, "green"),
    "ply without z": (lambda r: write_mesh(file(r, PLY), without="z"), PLY, "z"),
    "ply with float colours": (lambda r: write_mesh(file(r, PLY), color="f4"), PLY, "uchar"),
    "ply with quads": (lambda r: write_mesh(file(r, PLY), face=(0, 1, 2, 3)), PLY, "triangle"),
    "ply with NaN": (lambda r: write_mesh(file(r, PLY), nan_vertex()), PLY, "vertex 4 is NaN"),
    "ply of no vertices": (lambda r: write_mesh(file(r, PLY), VERTICES[:0]), PLY, "no vertices"),
    "ply of nothing": (lambda r: file(r, PLY).write_bytes(b""), PLY, "not a coloured"),
    "ply that is another file": (lambda r: file(r, PLY).write_bytes(b"<html>\xff"), PLY, "not a"),
    "segments of another scan": (
        lambda r: write_segments(file(r, SEGS), SEGMENTS[:-1]), SEGS, "10 ",
    ),
    "segments that are texts": (
        lambda r: write_segments(file(r, SEGS), ["a"] * 10), SEGS, "10 ",
    ),
    "segments absent": (lambda r: file(r, SEGS).write_text('{"a": 1}'), SEGS, "segIndices"),
    "segments truncated": (lambda r: truncate(file(r, SEGS), 40), SEGS, "JSON"),
    "unknown segment": (
        lambda r: write_objects(file(r, AGGREGATION), [("table", [20, 21])]), AGGREGATION,
        "segment 21",
    ),
    "segment beyond the last": (
        lambda r: write_objects(file(r, AGGREGATION), [("table", [31])]), AGGREGATION, "segment 31",
    ),
    "object without label": (
        lambda r: file(r, AGGREGATION).write_text('{"segGroups": [{"objectId": 1}]}'), AGGREGATION,
        "label",
    ),
    "aggregation of nothing": (lambda r: file(r, AGGREGATION).write_text("[]"), AGGREGATION, "seg"),
    "no alignment": (lambda r: file(r, TXT).write_text("a = 1\n"), TXT, "axisAlignment"),
    "15 numbers": (
        lambda r: file(r, TXT).write_text("axisAlignment = " + NUMBERS[:-2]), TXT, "16 numbers",
    ),
    "a word among the numbers": (
        lambda r: file(r, TXT).write_text("axisAlignment = x" + NUMBERS[1:]), TXT, "16 numbers",
    ),
    "a scaling": (
        lambda r: file(r, TXT).write_text("axisAlignment = " + SCALED), TXT, " z",
    ),
    "text that is binary": (lambda r: file(r, TXT).write_bytes(b"\xff\xfe\x00"), TXT, "text"),
    "mesh absent": (lambda r: file(r, PLY).unlink(), PLY, "1 of 1"),
    "segments file absent": (lambda r: file(r, SEGS).unlink(), SEGS, "1 of 1"),
    "aggregation absent": (lambda r: file(r, AGGREGATION).unlink(), AGGREGATION, "1 of 1"),
    "text absent": (lambda r: file(r, TXT).unlink(), TXT, "1 of 1"),
    "a flat object": (
        lambda r: write_segments(file(r, SEGS), [10, 11, 99, 99, *SEGMENTS[4:]]), "", "extent",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_scan_is_refused_by_name_and_leaves_no_manifest(
    raw: Path, tmp_path: Path, case: str
) -> None:
    spoil, suffix, named = BAD[case]
    spoil(raw)
    with refuses(mentions=[ID + suffix, named]) as caught:
        prepare_scannet(raw, tmp_path / "out", scenes=[ID])
    assert caught.value.kind
    assert caught.value.remedy or ";" in str(caught.value), "no remedy"
    assert not (tmp_path / "out" / MANIFEST).exists()


@pytest.mark.parametrize("name", [PLY, SEGS, AGGREGATION, TXT])
def test_read_scan_names_an_absent_file(raw: Path, name: str) -> None:
    file(raw, name).unlink()
    with refuses(Kind.MISSING, file=f"{ID}{name}"):
        scan_of(raw)


def test_all_listed_scans_must_be_there(raw: Path, tmp_path: Path) -> None:
    scenes = [f"scene900{i}_00" for i in range(6)]
    write_meta(raw, train="\n".join(scenes), val="")
    three = [f"scene900{i}_00" for i in (1, 2, 3)]
    with refuses(Kind.MISSING, mentions=["5 of 6", *three]) as caught:
        prepare_scannet(raw, tmp_path / "out", scenes=scenes)
    assert "scene9004_00" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_without_scenes_both_lists_are_prepared(raw: Path, tmp_path: Path) -> None:
    write_scan(raw / "scans", "scene9001_00")
    with refuses(Kind.VALUE, file="out", mentions=["1201", "--keep-going"]):
        prepare_scannet(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    manifest = prepare_scannet(raw, tmp_path / "out", how=ConversionOptions(keep_going=True))
    assert any({"val", "1", "312"} <= set(text.split()) for text in manifest.deviations)
    assert manifest.splits == {"train": [ID], "val": ["scene9001_00"]}
    assert manifest == read_manifest(tmp_path / "out")


@pytest.mark.parametrize(
    ("lists", "scenes", "kind", "field", "named"),
    [
        ({"train": f"{ID}\n{ID}\n"}, None, Kind.CONFLICT, ID, []),
        ({"val": f"{ID}\n"}, None, Kind.CONFLICT, ID, []),
        ({}, [ID, ID], Kind.CONFLICT, ID, []),
        ({}, ["scene9000_01"], Kind.UNKNOWN, "scene9000_01", ["'scene9000_00'"]),
        ({}, ["scene0707_00", ID], Kind.UNKNOWN, "scene0707_00", ["train", "val"]),
        ({}, [], Kind.EMPTY, None, []),
        ({"train": "", "val": "\n"}, None, Kind.EMPTY, None, []),
    ],
)
def test_bad_lists(
    raw: Path,
    tmp_path: Path,
    lists: dict[str, str],
    scenes: list[str] | None,
    kind: Kind,
    field: str | None,
    named: list[str],
) -> None:
    write_meta(raw, **lists)
    with refuses(kind, field=field, mentions=named):
        prepare_scannet(raw, tmp_path / "out", scenes=scenes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["scans", ".", "meta", "elsewhere"])
def test_the_lists_are_found_where_people_keep_them(tmp_path: Path, place: str) -> None:
    root = tmp_path / "raw"
    write_scan(root / "scans")
    write_meta(root / place)
    meta = root / place if place == "elsewhere" else None
    for given in (root, root / "scans"):
        out = tmp_path / given.name / "out"
        assert prepare_scannet(given, out, meta=meta, scenes=[ID]).splits == {"train": [ID]}


@pytest.mark.parametrize("name", [LABEL_MAP, "scannetv2_train.txt", "scannetv2_val.txt"])
def test_an_absent_list_says_where_to_get_it(raw: Path, tmp_path: Path, name: str) -> None:
    (raw / name).unlink()
    with refuses(Kind.MISSING, mentions=[name, str(raw)]) as error:
        prepare_scannet(raw, tmp_path / "out", scenes=[ID])
    assert all(word in str(error.value.remedy) for word in ("github.com/ScanNet", "--meta"))


@pytest.mark.parametrize("text", ["", "id\tcategory\n1\twall\n", "raw_category\tnyu40id\nwall\n"])
def test_a_bad_label_map(raw: Path, tmp_path: Path, text: str) -> None:
    (raw / LABEL_MAP).write_text(text)
    with refuses(Kind.VALUE if text else Kind.EMPTY, file=LABEL_MAP) as error:
        prepare_scannet(raw, tmp_path / "out", scenes=[ID])
    assert error.value.remedy


def test_a_missing_raw_folder(tmp_path: Path) -> None:
    with refuses(Kind.MISSING, file="nowhere", mentions=["--raw"]):
        prepare_scannet(tmp_path / "nowhere", tmp_path / "out")
