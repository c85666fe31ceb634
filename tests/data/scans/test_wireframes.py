"""Boxes as meshes: closed bars around the edges, read back by an independent reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from sr3d.data.scans.wireframes import wireframes, write_wireframes
from sr3d.errors import Kind
from sr3d.geometry.boxes import corners
from tests.refusals import refuses

BOXES = torch.tensor([[0.0, 0, 0, 2, 1, 3, 0], [5, 5, 1, 1, 2, 0.5, 0.7]])
CORNERS = corners(BOXES).double().numpy()
COLORS = np.array([[255, 0, 0], [0, 0, 255]], dtype=np.uint8)
NAMES = ["chair_0", "night stand_1"]


def test_bars_are_closed_and_lie_around_the_edges() -> None:
    vertices, triangles = wireframes(CORNERS, 0.1)
    for box, faces, size in zip(vertices, triangles - np.array([0, 96])[:, None, None],
                                BOXES[:, 3:6], strict=True):  # fmt: skip
        mesh = trimesh.Trimesh(box, faces, process=False)
        assert mesh.is_watertight
        # Twelve bars, four along each axis, each longer than its edge by its thickness.
        assert mesh.volume == pytest.approx(sum(4 * (s + 0.1) * 0.01 for s in size.tolist()))
    low = vertices[0].min(axis=0)
    assert np.allclose(low, [-1.05, -0.55, -1.55])


@pytest.mark.parametrize("kind", [".ply", ".obj"])
@pytest.mark.parametrize("far", [0.0, 4_000_000.0])
def test_files_hold_every_box(tmp_path: Path, kind: str, far: float) -> None:
    path = tmp_path / f"boxes{kind}"
    write_wireframes(path, CORNERS + far, 0.02, NAMES, COLORS)
    if kind == ".obj" and far:  # the independent reader has float64
        assert "o night_stand_1" in path.read_text()
    mesh = trimesh.load_mesh(path, process=False)
    assert len(mesh.faces) == 2 * 144
    whole = CORNERS.reshape(-1, 3) + far
    assert np.allclose(mesh.bounds[0], whole.min(axis=0) - 0.01, atol=0.02, rtol=0)
    assert np.allclose(mesh.bounds[1], whole.max(axis=0) + 0.01, atol=0.02, rtol=0)
    painted: Any = mesh.visual
    assert {tuple(c) for c in np.asarray(painted.vertex_colors)[:, :3].tolist()} == {
        (255, 0, 0), (0, 0, 255)
    }  # fmt: skip


def test_no_boxes_make_a_file_too(tmp_path: Path) -> None:
    none: Any = np.zeros((0, 8, 3)), 0.1, [], np.zeros((0, 3), dtype=np.uint8)
    for kind in (".ply", ".obj"):
        write_wireframes(tmp_path / f"a{kind}", *none)
        assert (tmp_path / f"a{kind}").is_file()
    with refuses(Kind.VALUE, file="a.stl"):
        write_wireframes(tmp_path / "a.stl", *none)
