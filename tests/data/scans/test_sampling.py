"""Points of meshes: as many as asked for, even over the area, on the surface, always the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sr3d.data.scans import ScanOptions, read_scan
from sr3d.data.scans.content import Cloud, Content, Mesh, vertex_paint
from sr3d.data.scans.sampling import all_points, sample_mesh, triangle_areas
from tests.data.scans.making import write_ply
from tests.shared_data import shared

# A floor of 4 by 3 as two triangles, one of them cut in two unequal ones; and a flat one.
VERTICES = np.array([[0, 0, 1], [4, 0, 1], [4, 3, 1], [0, 3, 1], [1, 0, 1]], dtype=float)
FACES = np.array([[0, 4, 2], [4, 1, 2], [0, 2, 3], [0, 4, 1]])


def floor(**colors: object) -> Mesh:
    return Mesh(VERTICES, FACES, **colors)  # type: ignore[arg-type]


def test_areas_are_those_of_heron() -> None:
    found = triangle_areas(floor())
    for (a, b, c), area in zip(FACES, found, strict=True):
        sides = [np.linalg.norm(VERTICES[p] - VERTICES[q]) for p, q in ((a, b), (b, c), (c, a))]
        half = sum(sides) / 2
        heron = max(0.0, float(half * np.prod([half - side for side in sides])))
        assert area == pytest.approx(np.sqrt(heron), abs=1e-6)
    assert found.tolist() == [1.5, 4.5, 6, 0]


def test_points_lie_evenly_on_the_surface() -> None:
    points = sample_mesh(floor(), 12_000).points
    assert points.shape == (12_000, 3)
    assert np.allclose(points[:, 2], 1)
    counts = np.histogram2d(points[:, 0], points[:, 1], bins=(8, 6), range=((0, 4), (0, 3)))[0]
    assert counts.sum() == 12_000  # none beyond
    assert (np.abs(counts - 250) < 6 * np.sqrt(250)).all()
    assert np.array_equal(points, sample_mesh(floor(), 12_000).points)


def test_colours_are_interpolated() -> None:
    colors = (VERTICES * [50, 60, 70]).astype(np.uint8)  # linear in the place, so they stay so
    cloud = sample_mesh(floor(paint=vertex_paint(FACES, colors)), 500)
    assert cloud.colors is not None
    assert np.allclose(cloud.colors, cloud.points * [50, 60, 70])


def test_the_density_is_told_in_square_metres() -> None:
    for scale in (1.0, 0.01, 0.5):
        cloud, why = all_points(Content([floor()]), 200, scale)
        assert len(cloud.points) == max(1, round(200 * 12 * scale**2)) or len(cloud.points) == 5
        assert "200" in why.split() or "vertices" in why


def test_dense_vertices_are_taken_as_they_are(tmp_path: Path) -> None:
    grid = np.stack(np.meshgrid(np.arange(30), np.arange(30)), axis=-1).reshape(-1, 2) * 0.1
    points = np.column_stack([grid, np.zeros(900)])
    faces = [[i, i + 1, i + 31] for i in range(868) if i % 30 < 29]
    colors = np.random.default_rng(0).integers(0, 256, (900, 3)).astype(np.uint8)
    write_ply(tmp_path / "a.ply", points, colors, faces)
    told = ScanOptions(up="z", unit="m", density=50)
    assert np.allclose(read_scan(tmp_path / "a.ply", told).points, points)
    sparse = read_scan(tmp_path / "a.ply", ScanOptions(up="z", unit="m", density=5000))
    area = len(faces) * 0.005
    assert len(sparse.points) == round(5000 * area)


def test_polygons_are_cut_into_fans(tmp_path: Path) -> None:
    faces = [[0, 1, 2, 3], [0, 4, 1]]
    write_ply(tmp_path / "a.ply", VERTICES, faces=faces)
    scan = read_scan(tmp_path / "a.ply", ScanOptions(up="z", unit="m", density=100))
    assert len(scan.points) == 1200


def test_parts_without_colours_are_grey_among_those_with() -> None:
    parts: list[Cloud | Mesh] = [Cloud(VERTICES, np.full((5, 3), 200)), Cloud(VERTICES)]
    cloud, _ = all_points(Content(parts), 1, 1)
    assert cloud.colors is not None
    assert cloud.colors[:, 0].tolist() == [200] * 5 + [128] * 5
    assert all_points(Content([Cloud(VERTICES)] * 2), 1, 1)[0].colors is None


def test_a_scannet_mesh_gives_its_vertices() -> None:
    scan = read_scan(shared("real/scannet/scans/scene0000_00/scene0000_00_vh_clean_2.ply"))
    assert len(scan.points) == 81_369
