"""SUN RGB-D without Matlab: what VoteNet's Matlab scripts give, and every way to be bad."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from sr3d.data.datasets import SUNRGBD
from sr3d.data.prepared import MANIFEST, PreparedDataset, verify
from sr3d.data.readers.conversion import ConversionOptions
from sr3d.data.readers.rgbd import read_intrinsics, read_tilt, unproject
from sr3d.data.readers.sunrgbd import (
    LABEL_FILES,
    SPLIT_FILE,
    SunRgbdFrame,
    prepare_sunrgbd,
    read_frame,
    read_frames,
    read_split,
)
from sr3d.data.scene import Scene
from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes
from tests.data.readers.frame_files import (
    COLOR,
    DEPTH,
    FOLDERS,
    FRAME,
    META,
    box,
    frame,
    write_frame,
    write_meta,
    write_official,
)
from tests.data.readers.mat_files import write_mat
from tests.refusals import refuses
from tests.shared_data import shared

CHAIR, BED = SUNRGBD.classes.index("chair"), SUNRGBD.classes.index("bed")
OFFICIAL = "real/sunrgbd/OFFICIAL_SUNRGBD"


def usable(path: Path, folder: str) -> SunRgbdFrame:
    frame = read_frames(path)[folder]
    assert isinstance(frame, SunRgbdFrame), frame
    return frame


# ---------------------------------------------------------------- the real frames


def test_the_real_frame_gives_the_points_of_votenets_matlab_extraction() -> None:
    root = shared(OFFICIAL)
    expected = scipy.io.loadmat(shared("real/sunrgbd/votenet_extract/depth/000001.mat"))["instance"]
    folder = read_split(root / SPLIT_FILE)["val"]["000001"]
    scene = read_frame(root, usable(root / META, folder), "000001", points=0)
    assert len(scene) == len(expected) == 280_961
    assert np.abs(scene.points.numpy() - expected[:, :3]).max() < 1e-4
    assert np.abs(scene.colors.numpy() - expected[:, 3:]).max() <= 1 / 255


def test_the_real_frame_has_the_boxes_of_votenets_labels() -> None:
    root = shared(OFFICIAL)
    lines = shared("real/sunrgbd/votenet_extract/label/000001.txt").read_text().splitlines()
    rows = []
    for line in lines:  # class, 2-D box, centre, three half sizes, heading
        name, *numbers = line.split()
        if name in SUNRGBD.classes:
            x, y, z, c1, c2, c3, ox, oy = map(float, numbers[4:])
            size = [2 * c2, 2 * c1, 2 * c3]
            rows.append([SUNRGBD.classes.index(name), x, y, z, *size, math.atan2(oy, ox)])
    frame = usable(root / META, read_split(root / SPLIT_FILE)["val"]["000001"])
    assert frame.labels.tolist() == [row[0] for row in rows] == [0, 7, 6]
    np.testing.assert_allclose(frame.boxes, np.array(rows)[:, 1:], atol=2e-6)


def test_a_real_frame_agrees_with_the_published_v1_boxes() -> None:
    # The cut-down file of this frame holds boxes of version 1.
    root = shared(OFFICIAL)
    truth = np.load(shared("real/sunrgbd/v1_val_gt.npz"))
    mine = truth["image_id"] == 1712
    frame = usable(root / META, read_split(root / SPLIT_FILE)["val"]["001712"])
    assert [SUNRGBD.classes[i] for i in frame.labels] == truth["cls"][mine].tolist()
    np.testing.assert_allclose(frame.boxes, truth["box"][mine], atol=1e-5)


def test_real_boxes_hold_points_and_the_floor_is_flat() -> None:
    root = shared(OFFICIAL)
    folder = read_split(root / SPLIT_FILE)["val"]["001712"]
    scene = read_frame(root, usable(root / META, folder), "001712", points=0)
    counts = scene.boxes.contains(scene.points).sum(dim=0)
    assert int(counts.min()) > 5000
    low = scene.points[:, 2].quantile(0.01) if len(scene) < 10**6 else 0
    assert float(low) == pytest.approx(-1.31, abs=0.02)


def test_real_text_files_say_what_the_matlab_file_says() -> None:
    root = shared(OFFICIAL)
    frames = read_frames(root / META)
    assert len(frames) == 3
    for folder in frames:
        known = usable(root / META, folder)
        assert known.intrinsics is not None
        assert known.tilt is not None
        np.testing.assert_allclose(read_intrinsics(root / folder), known.intrinsics)
        np.testing.assert_allclose(read_tilt(root / folder), known.tilt, atol=1e-6)


def test_the_real_frames_prepare_into_the_official_split(tmp_path: Path) -> None:
    ids = ["007770", "000001", "001712"]
    manifest = prepare_sunrgbd(
        shared(OFFICIAL), tmp_path, scenes=ids, how=ConversionOptions(workers=2)
    )
    assert manifest.splits == {"train": ["007770"], "val": ["000001", "001712"]}
    assert {s: (f["points"], f["boxes"]) for s, f in manifest.scenes.items()} == {
        "007770": (50_000, 0),
        "000001": (50_000, 3),
        "001712": (50_000, 5),
    }
    assert manifest.labels == "v2"
    verify(tmp_path)


def test_the_official_split_is_whole() -> None:
    split = read_split(shared(f"{OFFICIAL}/{SPLIT_FILE}"))
    assert {name: len(ids) for name, ids in split.items()} == {"train": 5285, "val": 5050}
    assert (next(iter(split["val"])), next(iter(split["train"]))) == ("000001", "005051")


# ---------------------------------------------------------------- a set of our own


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_official(tmp_path / "raw")


def prepared(raw: Path, scene: str = "000001", **options: Any) -> Scene:
    out = raw.parent / "out"
    prepare_sunrgbd(raw, out, scenes=[scene], **{"points": 0, **options})
    split = "val" if scene < "000003" else "train"
    return PreparedDataset(out, split)[0]


def test_pixels_become_points_column_by_column_counted_from_one(raw: Path) -> None:
    scene = prepared(raw)
    # Depths by column, invalid ones dropped, farther ones put at 8 m.
    metres = [1.0, 1.5, 0.7, 1.5, 0.8, 2.0, 0.9, 8.0, 0.5, 8.0]
    assert scene.points[:, 1].tolist() == pytest.approx(metres)
    places = [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 1), (3, 3), (4, 1), (4, 2), (4, 3)]
    for point, (u, v), d in zip(scene.points.tolist(), places, metres, strict=True):
        assert point == pytest.approx([(u - 2.5) * d / 2, d, -(v - 1.5) * d / 4], abs=1e-6)
    at = [COLOR[v - 1, u - 1] for u, v in places]
    assert torch.equal(scene.colors, torch.tensor(np.array(at)).float() / 255)


def test_boxes_are_mmdet3ds(raw: Path) -> None:
    scene = prepared(raw)
    assert scene.labels.tolist() == [CHAIR]
    expected = [0.5, 2.0, -0.25, 1.0, 0.6, 0.8, math.atan2(0.8, 0.6)]
    assert scene.boxes.tensor[0].tolist() == pytest.approx(expected)


def test_the_tilt_turns_the_points(raw: Path) -> None:
    plain = prepared(raw).points
    c, s = math.cos(0.3), math.sin(0.3)
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    write_meta(raw, [frame(FOLDERS[0], Rtilt=tilt)])
    turned = prepared(raw).points
    expected = plain.double() @ torch.tensor(tilt).T
    assert torch.allclose(turned.double(), expected, atol=1e-6)


def test_classes_that_are_not_ours_fall_out_and_no_box_is_a_scene_too(raw: Path) -> None:
    boxes = [box("lamp"), box("bed"), box("ottoman", coeffs=np.zeros(3))]
    write_meta(raw, [frame(FOLDERS[0], boxes), frame(FOLDERS[1], [])])
    assert prepared(raw).labels.tolist() == [BED]
    assert len(prepared(raw, "000002").boxes) == 0


@pytest.mark.parametrize("version", ["v5", "v7.3"])
def test_both_matlab_formats_read_alike(tmp_path: Path, version: str) -> None:
    frames = [
        frame(FOLDERS[0], [box("bed"), box("chair"), box("lamp")]),
        frame(FOLDERS[1], [box("sofa")]),  # one box: a struct without an array around it
        frame(FOLDERS[2], []),
    ]
    raw = write_official(tmp_path / "raw", frames, version)
    found = {folder: usable(raw / META, folder) for folder in FOLDERS}
    names = {f: [SUNRGBD.classes[i] for i in found[f].labels] for f in FOLDERS}
    assert names == {FOLDERS[0]: ["bed", "chair"], FOLDERS[1]: ["sofa"], FOLDERS[2]: []}
    expected = [0.5, 2.0, -0.25, 1.0, 0.6, 0.8, math.atan2(0.8, 0.6)]
    assert found[FOLDERS[1]].boxes[0].tolist() == pytest.approx(expected)
    camera = found[FOLDERS[0]].intrinsics
    assert camera is not None
    assert camera[0].tolist() == [2, 0, 2.5]  # not transposed
    assert read_split(raw / SPLIT_FILE) == {
        "train": {"000003": FOLDERS[2]},
        "val": {"000001": FOLDERS[0], "000002": FOLDERS[1]},
    }
    assert prepared(raw, "000002").labels.tolist() == [SUNRGBD.classes.index("sofa")]


@pytest.mark.parametrize(
    "prefix", ["/n/fs/sun3d/data/", "/data1/OFFICIAL_SUNRGBD/", "", "C:\\data\\", "/Räume/"]
)
def test_whatever_stands_before_sunrgbd_in_the_matlab_files(tmp_path: Path, prefix: str) -> None:
    frames = [frame(folder, prefix=prefix) for folder in FOLDERS]
    raw = write_official(tmp_path / "Räume" / "raw", frames, prefix=prefix)
    assert len(prepared(raw, "000002")) == 10


def test_the_parent_of_the_official_folder_will_do(tmp_path: Path) -> None:
    write_official(tmp_path / "data" / "OFFICIAL_SUNRGBD")
    assert len(prepared(tmp_path / "data")) == 10


def test_version_1_of_the_labels(raw: Path) -> None:
    moved = box("bed", centroid=np.array([9.0, 9, 9]))
    write_meta(raw, [frame(folder, [moved]) for folder in FOLDERS], labels="v1")
    scene = prepared(raw, labels="v1")
    assert scene.labels.tolist() == [BED]
    assert scene.boxes.centers[0].tolist() == [9, 9, 9]
    assert prepared(raw, labels="v2").labels.tolist() == [CHAIR]


def test_without_camera_in_the_matlab_file_the_frames_own_text_files_serve(raw: Path) -> None:
    expected = prepared(raw).points
    bare = frame(FRAME, K=np.zeros((0, 0)), Rtilt=np.zeros((0, 0)))
    write_meta(raw, [bare])
    (raw / FRAME / "intrinsics.txt").write_text("2 0 2.5\n0 4 1.5\n0 0 1\n")
    (raw / FRAME / "extrinsics").mkdir()
    (raw / FRAME / "extrinsics" / "0.txt").write_text("9 9 9 9\n" * 3)  # an older one
    (raw / FRAME / "extrinsics" / "1.txt").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n")
    assert torch.allclose(prepared(raw).points, expected, atol=1e-6)
    (raw / FRAME / "extrinsics" / "1.txt").write_text("1 0 0 0\n0 2 0 0\n0 0 1 0\n")
    with refuses(Kind.VALUE, file="1.txt"):
        prepared(raw)


# ---------------------------------------------------------------- sampling


def test_a_frame_draws_the_same_points_every_time_and_others_draw_others() -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 3, (30, 40)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = 0
    color = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    camera = np.array([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]]), np.eye(3)
    everything, _ = unproject(depth, color, *camera, count=0, seed=0)
    known = {tuple(p) for p in everything.tolist()}
    one, one_color = unproject(depth, color, *camera, count=500, seed=7)
    again, _ = unproject(depth, color, *camera, count=500, seed=7)
    other, _ = unproject(depth, color, *camera, count=500, seed=8)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert len({tuple(p) for p in one.tolist()}) == 500
    assert {tuple(p) for p in one.tolist()} <= known
    # Every colour still belongs to its point.
    order = {tuple(p): i for i, p in enumerate(everything.tolist())}
    _, every_color = unproject(depth, color, *camera, count=0, seed=0)
    rows = [order[tuple(p)] for p in one.tolist()]
    assert np.array_equal(one_color, every_color[rows])
    many, _ = unproject(depth, color, *camera, count=5000, seed=7)  # more than there are
    assert len(many) == 5000
    assert {tuple(p) for p in many.tolist()} <= known


# ---------------------------------------------------------------- bad input


def meta(*frames: Any) -> Callable[[Path], None]:
    return lambda root: write_meta(root, list(frames))


def with_box(**fields: Any) -> Callable[[Path], None]:
    return meta(frame(FRAME, [box(**fields)]))


def cut(name: str, keep: int) -> Callable[[Path], Any]:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:keep])


def save(name: str, image: np.ndarray) -> Callable[[Path], Any]:
    return lambda root: Image.fromarray(image).save(root / name)


def split(**lists: list[str]) -> Callable[[Path], None]:
    names = {"alltest": list(FOLDERS[:2]), "alltrain": list(FOLDERS[2:])}
    return lambda root: write_mat(root / SPLIT_FILE, "v5", **{**names, **lists})


def cut_meta_of_v73(root: Path) -> None:
    write_meta(root, [frame(FRAME)], "v7.3")
    cut(META, 1500)(root)


DEPTH_FILE, COLOR_FILE = f"{FRAME}/depth/d_abs.png", f"{FRAME}/image/c.png"
EIGHT = np.full((3, 4), 100, np.uint8)
BAD: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "depth absent": (lambda r: (r / DEPTH_FILE).unlink(), DEPTH_FILE, "1 of 1"),
    "depth truncated": (cut(DEPTH_FILE, 60), DEPTH_FILE, "image"),
    "depth of nothing": (cut(DEPTH_FILE, 0), DEPTH_FILE, "image"),
    "depth that is a web page": (
        lambda r: (r / DEPTH_FILE).write_text("<html>"), DEPTH_FILE, "image",
    ),
    "depth of 8 bits": (save(DEPTH_FILE, EIGHT), DEPTH_FILE, "16 bits"),
    "depth in colours": (save(DEPTH_FILE, COLOR), DEPTH_FILE, "16 bits"),
    "depth of another size": (
        lambda r: write_frame(r / FRAME, depth=DEPTH[:2]), FRAME, "size",
    ),
    "no depth at all": (
        lambda r: write_frame(r / FRAME, depth=DEPTH * 0), DEPTH_FILE, "depth",
    ),
    "image absent": (lambda r: (r / COLOR_FILE).unlink(), COLOR_FILE, "1 of 1"),
    "image truncated": (cut(COLOR_FILE, 60), COLOR_FILE, "image"),
    "image in grey": (save(COLOR_FILE, EIGHT), COLOR_FILE, "three bytes"),
    "meta absent": (lambda r: (r / META).unlink(), META, ""),
    "meta truncated": (cut(META, 700), META, "MATLAB"),
    "meta of nothing": (cut(META, 0), META, "MATLAB"),
    "meta that is a web page": (
        lambda r: (r / META).write_text("<html>not here</html>" * 20), META, "MATLAB",
    ),
    "meta of another kind": (
        lambda r: write_mat(r / META, "v5", SUNRGBDMeta2DBB=[frame(FRAME)]), META, "SUNRGBDMeta",
    ),
    "meta of v7.3 truncated": (
        cut_meta_of_v73, META, "MATLAB",
    ),
    "meta with numbers": (
        lambda r: write_mat(r / META, "v5", SUNRGBDMeta=np.arange(3)), META, "structs",
    ),
    "meta without the frame": (meta(frame(FOLDERS[1])), META, FRAME),
    "meta with the frame twice": (meta(frame(FRAME), frame(FRAME)), META, "twice"),
    "frame without a path": (
        lambda r: write_mat(r / META, "v5", SUNRGBDMeta=[{"K": np.eye(3)}]), META, "depthpath",
    ),
    "path elsewhere": (meta(frame(FRAME, depthpath="/x/depth/d.png")), META, "SUNRGBD"),
    "path upwards": (
        meta(frame(FRAME, depthpath="SUNRGBD/../../x/depth/d.png")), META, "SUNRGBD",
    ),
    "paths of two frames": (
        meta(frame(FRAME, rgbpath=f"{FOLDERS[1]}/image/c.png")), META, "frame",
    ),
    "K of four": (meta(frame(FRAME, K=np.eye(2))), META, "K"),
    "K with NaN": (meta(frame(FRAME, K=np.full((3, 3), np.nan))), META, "K"),
    "tilt that scales": (meta(frame(FRAME, Rtilt=2 * np.eye(3))), META, "rotation"),
    "tilt that mirrors": (
        meta(frame(FRAME, Rtilt=np.diag([1.0, 1, -1]))), META, "rotation",
    ),
    "flat box": (with_box(coeffs=np.array([0.3, 0, 0.3])), META, "extent"),
    "box with NaN": (with_box(centroid=np.array([np.nan, 0, 0])), META, "centroid"),
    "box of two sizes": (with_box(coeffs=np.array([0.3, 0.4])), META, "coeffs"),
    "box without heading": (with_box(orientation=np.zeros(3)), META, "direction"),
    "box without centre": (
        meta(frame(FRAME, [{"classname": "bed", "coeffs": np.ones(3)}])), META, "centroid",
    ),
    "split absent": (lambda r: (r / SPLIT_FILE).unlink(), SPLIT_FILE, ""),
    "split without a list": (
        lambda r: write_mat(r / SPLIT_FILE, "v5", alltrain=["a", "b"]), SPLIT_FILE, "alltest",
    ),
    "frame twice in the split": (split(alltrain=[FRAME, FOLDERS[2]]), SPLIT_FILE, "twice"),
    "split of other data": (split(alltest=["/kitti/1", "/kitti/2"]), SPLIT_FILE, "SUNRGBD/"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_by_name_and_leave_no_manifest(raw: Path, case: str) -> None:
    spoil, name, named = BAD[case]
    spoil(raw)
    with refuses(mentions=[name, named]) as caught:
        prepared(raw)
    assert caught.value.kind
    assert caught.value.remedy or ";" in str(caught.value), "no remedy"
    out = raw.parent / "out"
    assert not (out / MANIFEST).exists()
    assert not list(out.glob("points/*"))


def test_the_number_of_frames_is_asserted(raw: Path, tmp_path: Path) -> None:
    with refuses(Kind.VALUE, file="out", mentions=["5285", "5050"]):
        prepare_sunrgbd(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    manifest = prepare_sunrgbd(raw, tmp_path / "out", how=ConversionOptions(keep_going=True))
    assert {"train", "1", "5285"} <= set(manifest.deviations[0].split())


def test_keep_going_leaves_out_what_cannot_be_read_and_says_so(
    raw: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut(DEPTH_FILE, 60)(raw)
    (raw / FOLDERS[2] / "image" / "c.png").unlink()
    how = ConversionOptions(workers=2, keep_going=True)
    manifest = prepare_sunrgbd(raw, tmp_path / "out", how=how)
    assert manifest.splits == {"val": ["000002"]}
    assert sorted(manifest.left_out) == ["000001", "000003"]
    assert DEPTH_FILE in manifest.left_out["000001"]
    assert str(raw / FOLDERS[2] / "image" / "c.png") in manifest.left_out["000003"]
    assert any("000003, 000001" in text for text in manifest.deviations)
    for reason in manifest.left_out.values():
        assert reason in caplog.text
    verify(tmp_path / "out")


def test_one_bad_entry_of_the_matlab_file_costs_its_own_frame_alone(
    raw: Path, tmp_path: Path
) -> None:
    flat = frame(FRAME, [box(), box("bed", coeffs=np.array([0.3, 0.0, 0.3]))])
    write_meta(raw, [flat, frame(FOLDERS[1])])
    assert prepared(raw, "000002").labels.tolist() == [CHAIR]  # a frame that was not asked for
    manifest = prepare_sunrgbd(raw, tmp_path / "all", how=ConversionOptions(keep_going=True))
    assert manifest.splits == {"val": ["000002"]}
    assert "groundtruth3DBB(2): a bed " in manifest.left_out["000001"]
    assert FOLDERS[2] in manifest.left_out["000003"]


@pytest.mark.parametrize("points", [-1])
def test_a_negative_number_of_points(raw: Path, points: int) -> None:
    with pytest.raises(InputError, match="--points -1"):
        prepared(raw, points=points)


def test_a_missing_folder(tmp_path: Path) -> None:
    with refuses(Kind.MISSING, file="nowhere", mentions=["--raw"]):
        prepare_sunrgbd(tmp_path / "nowhere", tmp_path / "out")


def test_labels_of_a_version_that_is_not_there(raw: Path) -> None:
    with refuses(Kind.MISSING, file="SUNRGBDMeta.mat", mentions=["Metadata/SUNRGBDMeta.mat"]):
        prepared(raw, labels="v1")
    assert LABEL_FILES.keys() == {"v1", "v2"}


def test_boxes_are_written_as_they_are_read(raw: Path) -> None:
    assert torch.equal(
        prepared(raw).boxes.tensor, Boxes.from_array(usable(raw / META, FRAME).boxes).tensor
    )
