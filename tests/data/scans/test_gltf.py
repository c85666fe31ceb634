"""glTF as many programs write it gives the surface and the colours that its standard says."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from sr3d.data.scans import Scan, ScanOptions, read_scan
from sr3d.errors import InputError, Kind
from tests.data.scans.gltf_making import QUAD, QUAD_FACES, QUAD_PLACES, Gltf, png, quad
from tests.data.scans.making import room
from tests.refusals import refuses

# The upper half is red and the lower one blue; the left half of either is darker.
PIXELS = np.array([[[100, 0, 0], [200, 0, 0]], [[0, 0, 100], [0, 0, 200]]], dtype=np.uint8)


def facts(scan: Scan) -> dict[str, str]:
    return {fact.name: fact.value for fact in scan.facts}


def textured(file: Gltf, places: int, **more: Any) -> Gltf:
    attributes = {"POSITION": file.accessor(QUAD), "TEXCOORD_0": places}
    file.mesh(attributes, file.accessor(QUAD_FACES), material=0, **more)
    return file


def in_file(scan: Scan) -> np.ndarray:
    """Points in the file's own axes."""
    return scan.points.astype(np.float64) @ scan.frame.rotation


def expected(places: np.ndarray) -> np.ndarray:
    """The colours of PIXELS at texture coordinates in [0, 1], the first row at v = 0."""
    row = np.minimum((places[:, 1] * 2).astype(int), 1)
    column = np.minimum((places[:, 0] * 2).astype(int), 1)
    return PIXELS[row, column] / 255


def own_places(scan: Scan) -> np.ndarray:
    """The texture coordinates of the quad's points: u to the right, v down."""
    points = in_file(scan)
    return np.stack([points[:, 0] / 4, 1 - points[:, 1] / 3], axis=1)


def assert_painted(scan: Scan, places: np.ndarray, factor: float = 1.0) -> None:
    # Rounding decides beside the borders between pixels, and nothing on the image's own edge.
    off = np.abs(places * 2 - np.rint(places * 2))
    sure = ((off > 0.002) | (off == 0)).all(axis=1)
    assert sure.mean() > 0.9
    assert np.allclose(scan.painted()[sure], factor * expected(places)[sure], atol=1e-3)


def test_up_is_y_whatever_the_scan_looks_like(tmp_path: Path) -> None:
    """Many programs leave z up, which the standard does not allow; a fact says so."""
    points, colors = room()
    trimesh.PointCloud(points, colors=colors).export(tmp_path / "z_up.glb")
    scan = read_scan(tmp_path / "z_up.glb")
    assert scan.frame.up == "y"
    assert "z" in next(fact.why for fact in scan.facts if fact.name == "up")
    told = read_scan(tmp_path / "z_up.glb", ScanOptions(up="z"))
    assert np.allclose(told.points, points, atol=1e-5)


def test_nodes_place_their_meshes_as_trimesh_has_it(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    scene = trimesh.Scene()
    for i in range(4):
        matrix = trimesh.transformations.random_rotation_matrix(draw.random(3))
        matrix[:3, :3] *= draw.uniform(0.5, 2)
        matrix[:3, 3] = draw.uniform(-3, 3, 3)
        box = trimesh.creation.box(draw.uniform(0.5, 2, 3))
        above = f"n{i - 1}" if i % 2 else None
        scene.add_geometry(box, node_name=f"n{i}", parent_node_name=above, transform=matrix)
    scene.export(tmp_path / "scene.glb")
    points = in_file(read_scan(tmp_path / "scene.glb", ScanOptions(unit="m", density=3000)))
    reference: Any = trimesh.load_scene(tmp_path / "scene.glb").to_geometry()
    assert len(points) == round(3000 * reference.area)
    nearest = trimesh.proximity.closest_point_naive(reference, points[::50])[1]
    assert nearest.max() < 1e-5
    assert np.allclose(points.min(axis=0), reference.bounds[0], atol=0.05)
    assert np.allclose(points.max(axis=0), reference.bounds[1], atol=0.05)


@pytest.mark.parametrize("stride", [0, 12])
@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.int8, np.uint8])
def test_quantised_positions(tmp_path: Path, kind: Any, stride: int) -> None:
    """As gltfpack and gltf-transform write them: integers, which a node scales."""
    most = np.iinfo(kind).max
    file = Gltf()
    places = file.accessor(np.rint(QUAD / 4 * most).astype(kind), True, stride)
    file.mesh(
        {"POSITION": places},
        file.accessor(QUAD_FACES),
        {"scale": [4, 4, 4], "translation": [1, 0, 0]},
    )
    file.document["extensionsRequired"] = ["KHR_mesh_quantization"]
    scan = read_scan(file.write(tmp_path / "a.glb"))
    assert len(scan.points) == pytest.approx(6000, rel=0.02)
    assert np.allclose(in_file(scan).min(axis=0), [1, 0, 0], atol=0.02)
    assert np.allclose(in_file(scan).max(axis=0), [5, 3, 0], atol=0.02)


def test_integers_that_are_not_normalised_stay_what_they_are(tmp_path: Path) -> None:
    file = Gltf()
    places = file.accessor((QUAD * 1000).astype(np.int16))
    file.mesh({"POSITION": places}, file.accessor(QUAD_FACES), {"scale": [0.001] * 3})
    scan = read_scan(file.write(tmp_path / "a.glb"))
    assert np.allclose(np.ptp(scan.points, axis=0), [4, 0, 3], atol=0.05)


@pytest.mark.parametrize(
    ("mode", "order"), [(4, [0, 1, 2, 0, 2, 3]), (5, [1, 2, 0, 3]), (6, [0, 1, 2, 3])]
)
@pytest.mark.parametrize("indexed", [True, False])
def test_triangles_strips_and_fans(
    tmp_path: Path, mode: int, order: list[int], indexed: bool
) -> None:
    file = Gltf()
    if indexed:
        indices = file.accessor(np.array(order, np.uint8))
        file.mesh({"POSITION": file.accessor(QUAD)}, indices, mode=mode)
    else:
        file.mesh({"POSITION": file.accessor(QUAD[order])}, mode=mode)
    scan = read_scan(file.write(tmp_path / "a.glb"))
    assert len(scan.points) == 6000


@pytest.mark.parametrize("colored", [True, False])
def test_primitives_that_share_their_vertices_have_each_its_own(
    tmp_path: Path, colored: bool
) -> None:
    """As exporters write one mesh of several materials; the vertices lie densely enough."""
    file, draw = Gltf(), np.random.default_rng(0)
    places = np.concatenate([draw.uniform(0, 1, (2000, 3)), [[5, 5, 0], [6, 5, 0], [5, 6, 0]]])
    attributes = {"POSITION": file.accessor(places.astype(np.float32))}
    if colored:
        attributes["COLOR_0"] = file.accessor(draw.random((2003, 3)).astype(np.float32))
    dense = np.arange(1998, dtype=np.uint16)
    file.mesh(attributes, file.accessor(dense))
    file.mesh(attributes, file.accessor(np.array([2000, 2001, 2002], dtype=np.uint16)))
    points = in_file(read_scan(file.write(tmp_path / "a.glb"), ScanOptions(unit="m", density=10)))
    assert ((points[:, 0] > 4).sum(), (points[:, 0] < 1.01).sum()) == (5, 1998)


def test_lines_are_no_surface(tmp_path: Path) -> None:
    with refuses(Kind.EMPTY, file="a.glb"):
        read_scan(quad(mode=1).write(tmp_path / "a.glb"))


@pytest.mark.parametrize("kind", [".glb", ".gltf"])
def test_a_texture(tmp_path: Path, kind: str) -> None:
    file = Gltf()
    file.texture(PIXELS)
    scan = read_scan(textured(file, file.accessor(QUAD_PLACES)).write(tmp_path / f"a{kind}"))
    assert_painted(scan, own_places(scan))


@pytest.mark.parametrize("kind", [np.uint16, np.uint8])
def test_quantised_texture_coordinates(tmp_path: Path, kind: Any) -> None:
    file = Gltf()
    file.texture(PIXELS)
    places = file.accessor((QUAD_PLACES * np.iinfo(kind).max).astype(kind), normalized=True)
    scan = read_scan(textured(file, places).write(tmp_path / "a.glb"))
    assert_painted(scan, own_places(scan))


def test_a_texture_times_the_materials_factor(tmp_path: Path) -> None:
    file = Gltf()
    file.texture(PIXELS, baseColorFactor=[0.5, 0.5, 0.5, 1])
    scan = read_scan(textured(file, file.accessor(QUAD_PLACES)).write(tmp_path / "a.glb"))
    assert_painted(scan, own_places(scan), 0.5)


@pytest.mark.parametrize("extension", ["KHR_materials_pbrSpecularGlossiness", "emissive"])
def test_textures_of_other_materials(tmp_path: Path, extension: str) -> None:
    file = Gltf()
    file.texture(PIXELS)
    if extension == "emissive":  # of scans that shine by themselves
        material = {"emissiveTexture": {"index": 0}, "emissiveFactor": [1, 1, 1],
                    "pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}}  # fmt: skip
    else:
        material = {"extensions": {extension: {"diffuseTexture": {"index": 0}}}}
    file.document["materials"] = [material]
    scan = read_scan(textured(file, file.accessor(QUAD_PLACES)).write(tmp_path / "a.glb"))
    assert_painted(scan, own_places(scan))


def test_a_factor_of_zero_hides_a_texture(tmp_path: Path) -> None:
    """Then the one that shines shows, and vertex colours do."""
    file = Gltf()
    file.texture(PIXELS, baseColorFactor=[0, 0, 0, 1])
    dark = read_scan(textured(file, file.accessor(QUAD_PLACES)).write(tmp_path / "a.glb"))
    assert dark.colors is None
    file.document["materials"][0]["emissiveTexture"] = {"index": 0}
    assert read_scan(file.write(tmp_path / "b.glb")).colors is None  # its factor is 0 by default
    file.document["materials"][0]["emissiveFactor"] = [1, 1, 1]
    scan = read_scan(file.write(tmp_path / "c.glb"))
    assert_painted(scan, own_places(scan))
    file = Gltf()
    colors = file.accessor(np.array([[51, 102, 204, 255]] * 4, dtype=np.uint8), normalized=True)
    file.document["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}}]
    own = {"POSITION": file.accessor(QUAD), "COLOR_0": colors}
    file.mesh(own, file.accessor(QUAD_FACES), material=0)
    shown = read_scan(file.write(tmp_path / "d.glb")).painted()
    assert np.allclose(shown, [0.2, 0.4, 0.8], atol=1e-3)


@pytest.mark.parametrize(
    ("mode", "wrapped"),
    [
        (10497, lambda u: u - math.floor(u)),
        (33071, lambda u: min(max(u, 0.0), 1.0)),
        (33648, lambda u: u - math.floor(u) if math.floor(u) % 2 == 0 else 1 - u + math.floor(u)),
    ],
)
def test_textures_beyond_their_edges(tmp_path: Path, mode: int, wrapped: Any) -> None:
    file = Gltf()
    file.texture(PIXELS)
    file.document["samplers"] = [{"wrapS": mode, "wrapT": mode}]
    file.document["textures"][0]["sampler"] = 0
    places = file.accessor((QUAD_PLACES * 3 - 1.2).astype(np.float32))
    scan = read_scan(textured(file, places).write(tmp_path / "a.glb"))
    beyond = [[wrapped(float(value)) for value in row] for row in own_places(scan) * 3 - 1.2]
    assert_painted(scan, np.array(beyond))


def test_a_textures_transform(tmp_path: Path) -> None:
    """u to the right and v down: a turn counter-clockwise as one sees it lessens v along u."""
    file = Gltf()
    turn, offset, scale = math.pi / 2, (0.1, 0.2), (0.6, 0.7)
    transform = {"rotation": turn, "offset": offset, "scale": scale}
    file.texture(PIXELS, baseColorTexture={
        "index": 0, "texCoord": 0, "extensions": {"KHR_texture_transform": transform}})  # fmt: skip
    scan = read_scan(textured(file, file.accessor(QUAD_PLACES)).write(tmp_path / "a.glb"))
    u, v = own_places(scan).T
    moved = np.stack([scale[1] * v + offset[0], -scale[0] * u + offset[1]], axis=1) % 1.0
    assert_painted(scan, moved)


def test_the_second_texture_coordinates(tmp_path: Path) -> None:
    file = Gltf()
    file.texture(PIXELS, baseColorTexture={"index": 0, "texCoord": 1})
    file.mesh(
        {"POSITION": file.accessor(QUAD), "TEXCOORD_0": file.accessor(QUAD_PLACES * 0),
         "TEXCOORD_1": file.accessor(QUAD_PLACES)},
        file.accessor(QUAD_FACES), material=0,
    )  # fmt: skip
    scan = read_scan(file.write(tmp_path / "a.glb"))
    assert_painted(scan, own_places(scan))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("mode", [0, 4])
def test_vertex_colours(tmp_path: Path, kind: Any, mode: int) -> None:
    file = Gltf()
    most = 1 if kind is np.float32 else np.iinfo(kind).max
    places = np.tile(QUAD, (50, 1))
    colors = (np.array([[0.2, 0.4, 0.6, 1.0]] * len(places)) * most).astype(kind)
    own = {"POSITION": file.accessor(places), "COLOR_0": file.accessor(colors, most != 1)}
    file.document["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": [1, 0.5, 1, 1]}}]
    order = np.tile(QUAD_FACES, 40)
    file.mesh(own, file.accessor(order), mode=mode, material=0)
    scan = read_scan(file.write(tmp_path / "a.glb"), ScanOptions(unit="m"))
    assert np.allclose(scan.painted(), [0.2, 0.2, 0.6], atol=3e-3)


@pytest.mark.parametrize("factor", [None, [0.8, 0.8, 0.8, 1], [0.9, 0.1, 0.1, 1]])
def test_the_colour_of_a_material_is_none_of_the_scans(tmp_path: Path, factor: Any) -> None:
    file = quad(**({} if factor is None else {"material": 0}))
    if factor:
        file.document["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": factor}}]
    scan = read_scan(file.write(tmp_path / "a.glb"))
    assert scan.colors is None
    assert facts(scan)["colours"] == "none"


@pytest.mark.parametrize("shade", [0, 255])
def test_vertex_colours_that_programs_fill_in_are_none(tmp_path: Path, shade: int) -> None:
    file = Gltf()
    colors = file.accessor(np.full((4, 4), shade, dtype=np.uint8), normalized=True)
    file.mesh({"POSITION": file.accessor(QUAD), "COLOR_0": colors}, file.accessor(QUAD_FACES))
    assert read_scan(file.write(tmp_path / "a.glb")).colors is None


@pytest.mark.parametrize("fallback", [True, False])
def test_a_ktx2_texture_is_read_by_its_fallback_alone(tmp_path: Path, fallback: bool) -> None:
    file = Gltf()
    file.texture(PIXELS)
    ktx2 = file.view(b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(64))
    file.document["images"].append({"bufferView": ktx2, "mimeType": "image/ktx2"})
    texture: dict[str, Any] = {"extensions": {"KHR_texture_basisu": {"source": 1}}}
    file.document["textures"] = [texture | ({"source": 0} if fallback else {})]
    if not fallback:
        file.document["extensionsRequired"] = ["KHR_texture_basisu"]
    scan = read_scan(textured(file, file.accessor(QUAD_PLACES)).write(tmp_path / "a.glb"))
    assert len(scan.points) == 6000
    if fallback:
        assert_painted(scan, own_places(scan))
    else:
        assert scan.colors is None
        why = next(fact.why for fact in scan.facts if fact.name == "colours")
        assert "KTX2" in why
        assert "PNG" in why


def test_a_part_without_a_texture_among_others_is_told(tmp_path: Path) -> None:
    file = Gltf()
    file.texture(PIXELS)
    textured(file, file.accessor(QUAD_PLACES))
    file.mesh({"POSITION": file.accessor(QUAD + 5)}, file.accessor(QUAD_FACES))
    scan = read_scan(file.write(tmp_path / "a.glb"))
    assert "1 of 2 parts" in next(fact.why for fact in scan.facts if fact.name == "colour source")
    bare = in_file(scan)[:, 2] > 4
    assert np.allclose(scan.painted()[bare], 0.5, atol=0.01)


@pytest.mark.parametrize(
    "extension",
    [
        "KHR_draco_mesh_compression",
        "EXT_meshopt_compression",
        "KHR_meshopt_compression",
        "KHR_gaussian_splatting",
    ],
)
def test_what_is_not_read_is_refused_with_a_remedy(tmp_path: Path, extension: str) -> None:
    file = quad()
    file.document["extensionsRequired"] = [extension]
    with refuses(Kind.UNREADABLE, file="a.glb", mentions=[extension]):
        read_scan(file.write(tmp_path / "a.glb"))


def test_compression_with_a_fallback_is_read(tmp_path: Path) -> None:
    draco = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
    file = quad(extensions=draco)
    file.document["extensionsUsed"] = ["KHR_draco_mesh_compression"]
    assert len(read_scan(file.write(tmp_path / "a.glb")).points) == 6000
    del file.document["accessors"][0]["bufferView"]
    with pytest.raises(InputError, match="Draco"):
        read_scan(file.write(tmp_path / "b.glb"))


def test_instances_are_refused(tmp_path: Path) -> None:
    file = quad(node={"extensions": {"EXT_mesh_gpu_instancing": {"attributes": {}}}})
    with refuses(Kind.VALUE, file="a.glb"):
        read_scan(file.write(tmp_path / "a.glb"))


def test_sparse_accessors_change_rows(tmp_path: Path) -> None:
    file = quad()
    file.document["accessors"][0]["sparse"] = {
        "count": 1,
        "indices": {
            "bufferView": file.view(np.array([1], np.uint8).tobytes()),
            "componentType": 5121,
        },
        "values": {"bufferView": file.view(np.array([[8, 0, 0]], np.float32).tobytes())},
    }
    scan = read_scan(file.write(tmp_path / "a.glb"))
    assert len(scan.points) == 500 * (8 * 3 / 2 + 4 * 3 / 2)


def test_files_beside_it(tmp_path: Path) -> None:
    path = quad().write(tmp_path / "a.gltf")
    path.with_suffix(".bin").rename(tmp_path / "other.bin")
    with refuses(Kind.MISSING, file="a.gltf", mentions=["a.bin"]):
        read_scan(path)
    document = json.loads(path.read_text())
    data = base64.b64encode((tmp_path / "other.bin").read_bytes()).decode()
    document["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{data}"
    path.write_text(json.dumps(document))
    assert len(read_scan(path).points) == 6000


@pytest.mark.parametrize("name", ["my%20room.png", "C:\\scans\\my room.png", "tex/my room.png"])
def test_an_image_file_is_found_by_its_name(tmp_path: Path, name: str) -> None:
    file = Gltf()
    file.texture(PIXELS)
    file.document["images"] = [{"uri": name}]
    path = textured(file, file.accessor(QUAD_PLACES)).write(tmp_path / "a.glb")
    lost = read_scan(path)
    assert lost.colors is None
    assert "my room.png" in next(f.why for f in lost.facts if f.name == "colours")
    (tmp_path / "My Room.png").write_bytes(png(PIXELS))
    scan = read_scan(path)
    assert_painted(scan, own_places(scan))


def test_a_damaged_image_is_told(tmp_path: Path) -> None:
    file = Gltf()
    file.texture(PIXELS)
    file.document["images"] = [{"uri": "a.png"}]
    (tmp_path / "a.png").write_bytes(png(PIXELS)[:40])
    scan = read_scan(textured(file, file.accessor(QUAD_PLACES)).write(tmp_path / "a.glb"))
    assert facts(scan)["colours"] == "none"


def test_a_few_bytes_cannot_ask_for_all_the_memory(tmp_path: Path) -> None:
    for change in ({"count": 10**12}, {"count": 10**12, "bufferView": None}):
        file = quad()
        file.document["accessors"][0].update(change)
        if "bufferView" in change:
            del file.document["accessors"][0]["bufferView"]
        with pytest.raises(InputError, match="not a readable GLB"):
            read_scan(file.write(tmp_path / "a.glb"))


def test_other_versions_and_loops(tmp_path: Path) -> None:
    file = quad()
    file.document["asset"]["version"] = "1.0"
    with refuses(Kind.UNREADABLE, file="a.glb", mentions=["1.0", "2.0"]):
        read_scan(file.write(tmp_path / "a.glb"))
    file = quad()
    file.document["nodes"][0]["children"] = [0]
    with refuses(Kind.VALUE, file="b.glb", mentions=["nodes[0]"]):
        read_scan(file.write(tmp_path / "b.glb"))
