"""OBJ and PLY meshes as many programs write them: their surface, textures and colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from sr3d.data.scans import Scan, ScanOptions, read_scan
from sr3d.data.scans.surfaces import fan, fans, strip
from sr3d.errors import InputError
from tests.refusals import refuses

WALL = "v 0 0 0\nv 4 0 0\nv 4 0 3\nv 0 0 3\n"
PLACES = "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
FACE = "f 1/1 2/2 3/3 4/4\n"
FLAT = ScanOptions(up="z", unit="m")
# The left half is red and the right one blue; the lower half is darker.
PIXELS = np.array([[[200, 0, 0], [0, 0, 200]], [[100, 0, 0], [0, 0, 100]]], dtype=np.uint8)


def image(path: Path, pixels: Any = PIXELS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)
    return path


def why(scan: Scan, name: str = "colours") -> str:
    return next(fact.why for fact in scan.facts if fact.name == name)


def assert_painted(scan: Scan) -> None:
    """As PIXELS, whose first row is the upper one, on a wall of 4 m x 3 m."""
    x, z = scan.points[:, 0], scan.points[:, 2]
    sure = (np.abs(x - 2) > 0.01) & (np.abs(z - 1.5) > 0.01)
    shades = PIXELS[(z < 1.5).astype(int), (x > 2).astype(int)] / 255
    assert np.allclose(scan.painted()[sure], shades[sure], atol=1e-3)


def write_obj(folder: Path, text: str, material: str | None = "") -> Path:
    """material: what `newmtl wall` is followed by; None for no file."""
    (folder / "wall.obj").write_text(text)
    if material is not None:
        (folder / "wall.mtl").write_text(f"newmtl other\nKd 1 0 0\nnewmtl wall\n{material}\n")
    return folder / "wall.obj"


TEXTURED = f"mtllib wall.mtl\n{WALL}{PLACES}usemtl wall\n{FACE}"


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("map_Kd wall.png", "wall.png"),
        ("map_Kd textures/wall.png", "textures/wall.png"),
        ("map_Kd C:\\scans\\export\\wall.png", "wall.png"),
        ("map_Kd /home/me/export/wall.png", "textures/wall.png"),
        ("map_Kd Wall.PNG", "wall.png"),
        ("map_Kd my wall.png", "my wall.png"),
        ("map_Kd -s 1 1 1 -o 0 0 -clamp on my wall.png", "my wall.png"),
        ("\tmap_Kd\twall.png", "wall.png"),
        ("Kd 0.8 0.8 0.8\nmap_Ka wall.png\nmap_Kd wall.png", "wall.png"),
    ],
)
def test_the_texture_of_an_obj_is_found(tmp_path: Path, line: str, place: str) -> None:
    image(tmp_path / place)
    scan = read_scan(write_obj(tmp_path, TEXTURED, line), FLAT)
    assert len(scan.points) == 6000
    assert_painted(scan)


@pytest.mark.parametrize("name", ["my wall.mtl", "C:\\a\\wall.mtl", "none.mtl wall.mtl"])
def test_the_material_file_is_found(tmp_path: Path, name: str) -> None:
    image(tmp_path / "wall.png")
    path = write_obj(tmp_path, TEXTURED.replace("wall.mtl", name), "map_Kd wall.png")
    if name.startswith("my"):
        (tmp_path / "wall.mtl").rename(tmp_path / "my wall.mtl")
    assert_painted(read_scan(path, FLAT))


@pytest.mark.parametrize(
    ("material", "told"),
    [
        (None, "wall.mtl"),
        ("map_Kd wall.png", "wall.png"),
        ("Kd 0.8 0.8 0.8", ""),
        ("Kd 0.9 0.1 0.1", ""),
    ],
)
def test_what_has_no_texture_is_not_painted(
    tmp_path: Path, material: str | None, told: str
) -> None:
    scan = read_scan(write_obj(tmp_path, TEXTURED, material), FLAT)
    assert len(scan.points) == 6000
    assert scan.colors is None
    assert told in why(scan)


def test_a_grey_texture_of_16_bits_keeps_its_shades(tmp_path: Path) -> None:
    """Blender and others save grey images so."""
    grey = np.array([[100, 50]], dtype=np.uint16)
    Image.fromarray(grey * 257).save(tmp_path / "wall.png")
    scan = read_scan(write_obj(tmp_path, TEXTURED, "map_Kd wall.png"), FLAT)
    sure = np.abs(scan.points[:, 0] - 2) > 0.01
    shades = grey[0][(scan.points[:, 0] > 2).astype(int)] / 255
    assert np.allclose(scan.painted()[sure], shades[sure, None])


def test_a_damaged_texture_is_told(tmp_path: Path) -> None:
    content = image(tmp_path / "wall.png").read_bytes()
    (tmp_path / "wall.png").write_bytes(content[: len(content) // 2])
    scan = read_scan(write_obj(tmp_path, TEXTURED, "map_Kd wall.png"), FLAT)
    assert scan.colors is None
    assert "wall.png" in why(scan)


@pytest.mark.parametrize("most", [1, 255])
def test_vertex_colours_of_both_ranges(tmp_path: Path, most: int) -> None:
    shade = np.array([0.8, 0.2, 0.4])
    row = " ".join(f"{value * most:g}" for value in shade)
    text = WALL.replace("\n", f" {row}\n") + "f 1 2 3 4\n"
    scan = read_scan(write_obj(tmp_path, text, None), FLAT)
    assert np.allclose(scan.painted(), shade, atol=1e-3)
    alpha = read_scan(write_obj(tmp_path, text.replace(row, f"{row} {most}"), None), FLAT)
    assert np.allclose(alpha.painted(), shade, atol=1e-3)


def test_vertex_colours_stand_in_for_a_missing_texture(tmp_path: Path) -> None:
    text = TEXTURED.replace("0\nv ", "0 1 0 0\nv ").replace("3\nv ", "3 1 0 0\nv ")
    text = text.replace("v 0 0 3\n", "v 0 0 3 1 0 0\n")
    scan = read_scan(write_obj(tmp_path, text, "map_Kd wall.png"), FLAT)
    assert np.allclose(scan.painted(), [1, 0, 0])
    image(tmp_path / "wall.png")
    assert_painted(read_scan(tmp_path / "wall.obj", FLAT))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("v 0 0 0\n", "v 0 0 0 255 0 0\n", "1 of 4"),
        ("\nv", " 0 0 0\nv", "black"),
        ("\nv", " 255 255 255\nv", "white"),
    ],
)
def test_vertex_colours_that_are_none(tmp_path: Path, old: str, new: str, told: str) -> None:
    text = (WALL + "f 1 2 3 4\n").replace(old, new)
    last = {"black": "0 0 0", "white": "255 255 255"}.get(told)
    text = text.replace("v 0 0 3\n", f"v 0 0 3 {last}\n") if last else text
    scan = read_scan(write_obj(tmp_path, text, None), FLAT)
    assert scan.colors is None
    assert told in why(scan)


def test_a_part_of_each_material(tmp_path: Path) -> None:
    """The vertices of a part are its own: those of the others would count twice."""
    image(tmp_path / "wall.png")
    text = TEXTURED + "usemtl other\n" + WALL.replace("v ", "v 9") + "f 5 6 7 8\n"
    scan = read_scan(write_obj(tmp_path, text, "map_Kd wall.png"), FLAT)
    assert "1 of 2 parts" in why(scan, "colour source")
    wall = scan.points[:, 0] < 5
    assert wall.sum() == 6000
    assert np.allclose(scan.painted()[~wall], 0.5, atol=0.01)


@pytest.mark.parametrize(
    "faces",
    [
        "f 1 2 3 4",
        "f -4 -3 -2 -1",
        "f 1//1 2//1 3//1 4//1",
        "f 1 2 3 \\\n4",
        "  f\t1 2 3\nf 1 3 4",
        "f 1 2 3 4 # a wall",
    ],
)
def test_every_way_to_write_a_face(tmp_path: Path, faces: str) -> None:
    path = write_obj(tmp_path, f"{WALL}vn 0 1 0\n{faces}\n", None)
    scan = read_scan(path, FLAT)
    assert len(scan.points) == 6000
    content = path.read_bytes().replace(b"\n", b"\r\n")
    path.write_bytes(b"\xef\xbb\xbf# made by somebody\r\n" + content)
    assert np.array_equal(read_scan(path, FLAT).points, scan.points)


def test_an_obj_has_the_surface_that_trimesh_finds(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    boxes = [trimesh.creation.box(draw.uniform(1, 2, 3)) for _ in range(3)]
    for box in boxes:
        box.apply_transform(trimesh.transformations.random_rotation_matrix(draw.random(3)))
        box.apply_translation(draw.uniform(-2, 2, 3))
    scene = trimesh.Scene(boxes)
    scene.export(tmp_path / "a.obj")
    found = read_scan(tmp_path / "a.obj", FLAT).points
    reference: Any = scene.to_geometry()
    assert abs(len(found) - 500 * reference.area) < 3
    nearest = trimesh.proximity.closest_point_naive(reference, found[::50].astype(float))[1]
    assert nearest.max() < 1e-5


@pytest.mark.parametrize("face", ["f 1 2 9", "f 1/1 2/1 3/9", "f 1 2 -9"])
def test_a_face_beyond_its_vertices_is_refused(tmp_path: Path, face: str) -> None:
    with pytest.raises(InputError, match="beyond"):
        read_scan(write_obj(tmp_path, f"{WALL}vt 0 0\n{face}\n", None), FLAT)


def write_ply_mesh(path: Path, vertex: str, face: str, rows: str, *comments: str) -> Path:
    """An ASCII file of 4 vertices; vertex, face: more properties than x, y, z and none."""
    head = "".join(f"comment {line}\n" for line in comments)
    count = rows.count("\n") - 4
    path.write_text(
        f"ply\nformat ascii 1.0\n{head}element vertex 4\nproperty float x\nproperty float y\n"
        f"property float z\n{vertex}element face {count}\n"
        f"property list uchar int vertex_indices\n{face}end_header\n{rows}"
    )
    return path


BARE = "0 0 0\n4 0 0\n4 0 3\n0 0 3\n"
WEDGES = "property list uchar float texcoord\n"


def test_a_ply_has_its_texture_by_wedge(tmp_path: Path) -> None:
    """As MeshLab writes it."""
    image(tmp_path / "wall.png")
    rows = BARE + "3 0 1 2 6 0 0 1 0 1 1\n3 0 2 3 6 0 0 1 1 0 1\n"
    path = write_ply_mesh(tmp_path / "a.ply", "", WEDGES, rows, "TextureFile wall.png")
    assert_painted(read_scan(path, FLAT))
    polygon = BARE + "4 0 1 2 3 8 0 0 1 0 1 1 0 1\n"
    path = write_ply_mesh(tmp_path / "b.ply", "", WEDGES, polygon, "TextureFile wall.png")
    assert_painted(read_scan(path, FLAT))


@pytest.mark.parametrize("names", [("s", "t"), ("u", "v"), ("texture_u", "texture_v")])
def test_a_ply_has_its_texture_by_vertex(tmp_path: Path, names: tuple[str, str]) -> None:
    """As Blender and others write it."""
    image(tmp_path / "wall.png")
    rows = "0 0 0 0 0\n4 0 0 1 0\n4 0 3 1 1\n0 0 3 0 1\n4 0 1 2 3\n"
    vertex = "".join(f"property float {name}\n" for name in names)
    path = write_ply_mesh(tmp_path / "a.ply", vertex, "", rows, "TextureFile wall.png")
    assert_painted(read_scan(path, FLAT))
    path = write_ply_mesh(tmp_path / "b.ply", vertex, "", rows)
    scan = read_scan(path, FLAT)
    assert scan.colors is None
    assert "image" in why(scan)


def test_a_ply_of_two_textures(tmp_path: Path) -> None:
    image(tmp_path / "a.png", [[[255, 0, 0]]])
    image(tmp_path / "b.png", [[[0, 0, 255]]])
    face = WEDGES + "property int texnumber\n"
    rows = BARE + "3 0 1 2 6 0 0 1 0 1 1 0\n3 0 2 3 6 0 0 1 1 0 1 1\n"
    names = "TextureFile a.png", "TextureFile b.png"
    path = write_ply_mesh(tmp_path / "a.ply", "", face, rows, *names)
    scan = read_scan(path, FLAT)
    below = scan.points[:, 2] < scan.points[:, 0] * 3 / 4
    assert np.allclose(scan.painted()[below], [1, 0, 0])
    assert np.allclose(scan.painted()[~below], [0, 0, 1])
    (tmp_path / "b.png").unlink()
    assert "b.png" in why(read_scan(path, FLAT), "colour source")


def test_a_ply_without_its_texture_takes_other_colours(tmp_path: Path) -> None:
    shades = "property uchar red\nproperty uchar green\nproperty uchar blue\n"
    rows = BARE + "3 0 1 2 6 0 0 1 0 1 1\n3 0 2 3 6 0 0 1 1 0 1\n"
    path = write_ply_mesh(tmp_path / "a.ply", "", WEDGES, rows, "TextureFile wall.png")
    scan = read_scan(path, FLAT)
    assert scan.colors is None
    assert "wall.png" in why(scan)
    faces = BARE + "3 0 1 2 255 0 0\n3 0 2 3 0 0 255\n"
    scan = read_scan(write_ply_mesh(tmp_path / "b.ply", "", shades, faces), FLAT)
    below = scan.points[:, 2] < scan.points[:, 0] * 3 / 4
    assert np.allclose(scan.painted(), np.where(below[:, None], [1, 0, 0], [0, 0, 1]))
    own = BARE.replace("\n", " 0 255 0\n") + rows.removeprefix(BARE)
    path = write_ply_mesh(tmp_path / "c.ply", shades, WEDGES, own, "TextureFile wall.png")
    scan = read_scan(path, FLAT)
    assert np.allclose(scan.painted(), [0, 1, 0])
    assert "wall.png" in why(scan, "texture")


def test_strips_are_the_surface_of_their_triangles(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    path.write_text(
        "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\n"
        "property float z\nelement tristrips 1\nproperty list int int vertex_indices\n"
        f"end_header\n{BARE}8 1 2 0 3 -1 0 1 2\n"
    )
    assert len(read_scan(path, FLAT).points) == 6000 + 3000
    path.write_text(path.read_text().replace("8 1 2 0 3 -1 0 1 2", "3 1 2 7"))
    with refuses(mentions=[f"{path}: "]):
        read_scan(path, FLAT)


def test_strips_and_fans_by_brute_force() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        row = draw.integers(-1, 6, 12)
        found = {tuple(sorted(face)) for face in strip(row).tolist()}
        slow = {
            tuple(sorted(row[i : i + 3].tolist()))
            for i in range(10)
            if (row[i : i + 3] >= 0).all() and len(set(row[i : i + 3].tolist())) == 3
        }
        assert found == slow
    assert fan(np.array([4, 1, 2, 2, 3])).tolist() == [[4, 1, 2], [4, 2, 3]]
    polygons = [[0, 1], [5, 6, 7], [1, 2, 3, 4], [9, 8, 7]]
    triangles, origins = fans(polygons)
    for face, (own, second) in zip(triangles.tolist(), origins.tolist(), strict=True):
        corners = polygons[own]
        assert face == [corners[0], corners[second], corners[second + 1]]
    assert len(triangles) == 4
