"""Every kind of file gives the same scan; damaged ones give one clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from sr3d.data.scans import ScanOptions, read_scan
from sr3d.errors import InputError, Kind
from tests.data.scans.making import room, write_any, write_las, write_pcd, write_ply
from tests.refusals import refuses

CLOUDS = (".ply", ".pcd", ".npy", ".npz", ".bin", ".obj", ".glb", ".gltf", ".las", ".laz")


@pytest.mark.parametrize("kind", CLOUDS)
def test_every_kind_gives_the_same_scan(tmp_path: Path, kind: str) -> None:
    points, colors = room()
    write_any(tmp_path / f"scan{kind}", points, colors)
    scan = read_scan(tmp_path / f"scan{kind}")
    assert scan.points.dtype == np.float32
    assert np.abs(scan.points - points).max() < 1e-4
    assert scan.colors is not None
    assert np.abs(scan.colors - colors / 255).max() < 1e-3
    assert (scan.frame.up, scan.frame.unit) == ("y" if kind.startswith(".gl") else "z", "m")


def read_or_told(path: Path) -> tuple[str | None, int]:
    """The error or None, and the number of points."""
    try:
        return None, len(read_scan(path).points)
    except InputError as error:
        return str(error), 0


@pytest.mark.parametrize("kind", CLOUDS)
def test_a_cut_off_file_gives_a_scan_or_one_error(tmp_path: Path, kind: str) -> None:
    points, colors = room(points=300)
    whole = tmp_path / f"scan{kind}"
    write_any(whole, points, colors)
    content = whole.read_bytes()
    refused = 0
    for share in (0.0, 0.01, 0.1, 0.3, 0.5, 0.9, 0.99):
        whole.write_bytes(content[: int(share * len(content))])
        said, count = read_or_told(whole)
        refused += said is not None
        # A text or BIN that ends with a line is a smaller scan.
        assert 0 < count < len(points) if said is None else said.startswith(f"{whole}: ")
    assert refused >= 1 if kind in (".bin", ".obj") else refused >= 5


@pytest.mark.parametrize(
    ("text", "order", "kind"), [(True, "=", "f4"), (False, "<", "f8"), (False, ">", "f4")]
)
def test_ply_in_every_encoding(tmp_path: Path, text: bool, order: str, kind: str) -> None:
    points, colors = room(points=300)
    write_ply(tmp_path / "a.ply", points, colors, text=text, byte_order=order, kind=kind)
    scan = read_scan(tmp_path / "a.ply", ScanOptions(up="z"))
    assert np.allclose(scan.points, points)
    assert np.allclose(scan.painted(), colors / 255)


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
def test_pcd_in_every_encoding(tmp_path: Path, data: str) -> None:
    points, colors = room(points=300)
    points = points.copy()
    points[7] = np.nan  # as organised clouds have them
    write_pcd(tmp_path / "a.pcd", points, colors, data)
    scan = read_scan(tmp_path / "a.pcd", ScanOptions(up="z"))
    kept = np.delete(np.arange(300), 7)
    assert np.allclose(scan.points, points[kept])
    assert np.allclose(scan.painted(), colors[kept] / 255)
    assert ("left out", "1 of 300 points") in [(fact.name, fact.value) for fact in scan.facts]


def test_pcd_with_padding_and_repeated_fields(tmp_path: Path) -> None:
    points, colors = room(points=100)
    dtype = np.dtype([("n", "<f4", (3,)), ("x", "<f8"), ("_0", "u1", (4,)), ("y", "<f8"),
                      ("z", "<f8"), ("_1", "u1", (2,)), ("rgba", "<u4")])  # fmt: skip
    rows = np.zeros(100, dtype=dtype)
    for i, name in enumerate("xyz"):
        rows[name] = points[:, i]
    rows["rgba"] = colors.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    header = (
        "FIELDS n x _ y z _ rgba\nSIZE 4 8 1 8 8 1 4\nTYPE F F U F F U U\nCOUNT 3 1 4 1 1 2 1\n"
        "WIDTH 20\nHEIGHT 5\nDATA binary\n"
    )
    (tmp_path / "a.pcd").write_bytes(header.encode() + rows.tobytes())
    scan = read_scan(tmp_path / "a.pcd", ScanOptions(up="z", unit="m"))
    assert np.allclose(scan.points, points)
    assert np.allclose(scan.painted(), colors / 255)


@pytest.mark.parametrize("kind", [".ply", ".pcd", ".npy", ".npz", ".bin", ".las"])
def test_a_scan_without_colours_is_grey_and_says_so(tmp_path: Path, kind: str) -> None:
    points, _ = room()
    path = tmp_path / f"scan{kind}"
    match kind:
        case ".ply":
            write_ply(path, points)
        case ".pcd":
            write_pcd(path, points, None, "binary")
        case ".npy":
            np.save(path, points)
        case ".npz":
            np.savez(path, points=points)
        case ".bin":
            points.tofile(path)
        case ".las":
            write_las(path, points, None)
    scan = read_scan(path)
    assert scan.colors is None
    assert np.array_equal(scan.painted(), np.full_like(points, 0.5))
    assert np.allclose(scan.points, points, atol=1e-4)
    assert "none" in [fact.value for fact in scan.facts if fact.name == "colours"]


@pytest.mark.parametrize("kind", [".obj", ".gltf", ".glb"])
def test_a_mesh_has_its_texture(tmp_path: Path, kind: str) -> None:
    """The left half of the picture is red and the right one blue; so is the wall."""
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    picture[:, :4, 0], picture[:, 4:, 2] = 255, 255
    corners = np.array([[0, 0, 0], [4, 0, 0], [4, 0, 3], [0, 0, 3]], dtype=float)
    places = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float) * 0.98 + 0.01
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(picture))
    visual = trimesh.visual.TextureVisuals(uv=places, material=material)
    wall = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)
    wall.export(tmp_path / f"wall{kind}")
    scan = read_scan(tmp_path / f"wall{kind}", ScanOptions(up="z"))
    assert len(scan.points) == 500 * 12
    left = scan.points[:, 0] < 2
    off = np.abs(scan.points[:, 0] - 2) > 0.1
    assert np.array_equal(scan.painted()[left & off][:, 0], np.ones((left & off).sum()))
    assert np.array_equal(scan.painted()[~left & off][:, 2], np.ones((~left & off).sum()))


def test_meshes_of_a_scene_stand_where_it_puts_them(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    for x in (0.0, 10.0):
        move = np.eye(4)
        move[0, 3] = x
        scene.add_geometry(trimesh.creation.box((1, 1, 1)), transform=move)
    scene.export(tmp_path / "two.glb")
    found = read_scan(tmp_path / "two.glb", ScanOptions(up="y", unit="m")).points[:, 0]
    assert np.allclose([found.min(), found.max()], [-0.5, 10.5], atol=1e-3)
    assert not ((found > 0.51) & (found < 9.49)).any()


@pytest.mark.parametrize("columns", [3, 4, 6])
@pytest.mark.parametrize("bright", [1, 255])
def test_the_columns_of_bare_floats_are_found(tmp_path: Path, columns: int, bright: int) -> None:
    for seed in range(4):
        points, colors = room(seed, points=4000 - 4000 % 12)
        rows = np.concatenate([points, colors / 255 * bright], axis=1).astype("<f4")[:, :columns]
        rows.tofile(tmp_path / "scan.bin")
        scan = read_scan(tmp_path / "scan.bin")
        told = [fact.value for fact in scan.facts if fact.name == "columns"]
        assert told == ["x y z r g b" if columns == 6 else "x y z" + " _" * (columns - 3)]
        assert np.allclose(scan.points, points)
        assert (scan.colors is None) == (columns < 6)


def test_columns_can_be_overruled(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((120, 5)).astype("<f4")
    rows.tofile(tmp_path / "scan.bin")
    scan = read_scan(tmp_path / "scan.bin", ScanOptions(columns="5", up="z", unit="m"))
    assert np.array_equal(scan.points, rows[:, :3])
    with refuses(mentions=["2400", "7"]):
        read_scan(tmp_path / "scan.bin", ScanOptions(columns="7"))


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", points=np.array([{"a": 1}], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(InputError, match=r"not a readable NP. file"):
            read_scan(tmp_path / name)


def test_bad_content_is_told(tmp_path: Path) -> None:
    points, colors = room(points=300)
    bad = points.copy()
    bad[3, 1] = np.inf
    np.save(tmp_path / "a.npy", bad)
    assert len(read_scan(tmp_path / "a.npy").points) == 299
    write_ply(tmp_path / "a.ply", points, faces=[[0, 1, 300]])
    with refuses(mentions=[f"{tmp_path / 'a.ply'}: ", "300"]):
        read_scan(tmp_path / "a.ply")
    np.savez(tmp_path / "a.npz", one=points, other=points)
    with refuses(Kind.MISSING, file="a.npz", field="points", mentions=["one", "other"]):
        read_scan(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", points=points, colors=colors[:5])
    with refuses(Kind.CONFLICT, file="b.npz"):
        read_scan(tmp_path / "b.npz")
    with refuses(Kind.UNREADABLE, file="test_kinds.py"):
        read_scan(Path(__file__))
    with refuses(Kind.MISSING, file="none.ply"):
        read_scan(tmp_path / "none.ply")
