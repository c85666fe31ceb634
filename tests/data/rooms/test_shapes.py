"""Solids are closed, face outwards and have the extent that their arguments say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr3d.data.rooms.shapes import QuadMesh, Span, blob, block, cylinder, join, lathe, subdivided

WHITE = (1.0, 1.0, 1.0)
spans = st.tuples(st.floats(-3, 3), st.floats(0.01, 2)).map(lambda s: (s[0], s[0] + s[1]))


def volume(mesh: QuadMesh) -> float:
    """By the divergence theorem: right only for a closed surface that faces outwards."""
    total = 0.0
    for triangle in (mesh.corners[:, (0, 1, 2)], mesh.corners[:, (0, 2, 3)]):
        a, b, c = triangle[:, 0], triangle[:, 1], triangle[:, 2]
        total += float(np.einsum("qi,qi->", a, np.cross(b, c))) / 6
    return total


@given(spans, spans, spans, st.floats(-4, 4))
def test_block_is_a_closed_cuboid(x: Span, y: Span, z: Span, yaw: float) -> None:
    mesh = block(x, y, z, WHITE)
    low, high = mesh.extent()
    np.testing.assert_allclose(np.stack([low, high], axis=1), [x, y, z])
    expected = np.prod(high - low)
    assert volume(mesh) == pytest.approx(expected, abs=1e-9)
    turned = mesh.moved(yaw, (1.0, -2.0, 0.5))
    assert volume(turned) == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(turned.area_normals().sum(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("sides", [4, 8, 12, 16])
def test_lathe_reaches_its_greatest_radius_and_has_a_prisms_volume(sides: int) -> None:
    mesh = lathe([(0, 0), (0.5, 0), (0.5, 2), (0, 2)], WHITE, (1, 2, 3), (1.0, 0.4), sides)
    low, high = mesh.extent()
    np.testing.assert_allclose(low, (0.5, 1.8, 3), atol=1e-12)
    np.testing.assert_allclose(high, (1.5, 2.2, 5), atol=1e-12)
    polygon = sides / 2 * math.sin(2 * math.pi / sides) * 0.5 * 0.2
    assert volume(mesh) == pytest.approx(2 * polygon)


def test_a_vessel_has_the_volume_of_its_wall() -> None:
    outline = [(0, 0), (0.2, 0), (0.2, 0.5), (0.18, 0.5), (0.18, 0.1), (0, 0.1)]
    solid, hollow = cylinder(0.2, (0, 0.5), WHITE), cylinder(0.18, (0.1, 0.5), WHITE)
    assert volume(lathe(outline, WHITE, sides=16)) == pytest.approx(volume(solid) - volume(hollow))


def test_blob_has_the_size_asked_for() -> None:
    low, high = blob((0.4, 0.2, 0.3), WHITE, (1, 1, 1)).extent()
    np.testing.assert_allclose(high - low, (0.4, 0.2, 0.3), atol=1e-12)
    assert low[2] == 1


def test_quarter_turns_are_exact() -> None:
    mesh = block((0.1, 0.7), (-0.3, 0.3), (0, 1), WHITE).moved(math.pi / 2, (0, 0, 0))
    low, high = mesh.extent()
    assert low.tolist() == [-0.3, 0.1, 0.0]
    assert high.tolist() == [0.3, 0.7, 1.0]


def test_subdividing_keeps_surface_colour_and_volume() -> None:
    whole = join([
        block((0, 2), (0, 0.3), (0, 1.1), (0.1, 0.2, 0.3)),
        cylinder(0.6, (0, 0.9), (0.9, 0.8, 0.7)),
    ])  # fmt: skip
    pieces, parent = subdivided(whole, 0.25)
    assert volume(pieces) == pytest.approx(volume(whole))
    area = np.linalg.norm(pieces.area_normals(), axis=1)
    np.testing.assert_allclose(
        np.bincount(parent, weights=area), np.linalg.norm(whole.area_normals(), axis=1), atol=1e-12
    )
    np.testing.assert_array_equal(pieces.colors, whole.colors[parent])
    edges = np.linalg.norm(np.roll(pieces.corners, -1, axis=1) - pieces.corners, axis=2)
    assert edges.max() <= 0.25 + 1e-6
