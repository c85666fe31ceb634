"""The scanner sees what a ray caster sees, with density, noise and losses as it says."""

from __future__ import annotations

import math

import numpy as np

from sr3d.data.rooms.furnish import furnished_room
from sr3d.data.rooms.scanner import View, look, scan
from sr3d.data.rooms.shapes import QuadMesh, block, join, mesh, subdivided

WHITE = (0.8, 0.8, 0.8)
LIGHT = np.array([0.0, 0.0, 2.5])


def floor(half: float) -> QuadMesh:
    corners = [(-half, -half, 0), (half, -half, 0), (half, half, 0), (-half, half, 0)]
    return mesh(np.array([corners], dtype=float), WHITE)


def first_hit(world: QuadMesh, eye: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(R,) metres from the eye to the first surface towards each end, by testing every triangle."""
    ray = ends - eye
    nearest = np.full(len(ray), np.inf)
    front = np.einsum("qi,qi->q", world.area_normals(), eye - world.corners.mean(axis=1)) > 0
    quads = world.corners[front]
    for corners in (quads[:, (0, 1, 2)], quads[:, (0, 2, 3)]):
        a, e1, e2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        p = np.cross(ray[:, None], e2)
        det = np.einsum("rqi,qi->rq", p, e1)
        det = np.where(np.abs(det) < 1e-12, np.nan, det)
        u = np.einsum("rqi,qi->rq", p, eye - a) / det
        q = np.cross(eye - a, e1)
        v, t = ray @ q.T / det, np.einsum("qi,qi->q", q, e2) / det
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 1e-6)
        nearest = np.minimum(nearest, np.where(hit, t, np.inf).min(axis=1))
    return nearest * np.linalg.norm(ray, axis=1)


def test_nothing_behind_a_wardrobe_is_seen() -> None:
    wardrobe = block((-0.6, 0.6), (1.4, 2.0), (0, 2.2), WHITE)
    ball = block((-0.15, 0.15), (2.6, 2.9), (0, 0.4), WHITE)
    control = block((2.0, 2.3), (2.6, 2.9), (0, 0.4), WHITE)
    world = join([wardrobe, ball, control, floor(4)])
    owner = np.repeat([0, 1, 2, 3], [6, 6, 6, 1])
    seen = scan(world, [View(np.array([0, 0, 1.5]))], 10_000, LIGHT, np.random.default_rng(0))
    count = np.bincount(owner[seen.quad], minlength=4)
    assert count[1] == 0
    assert count[0] > 500
    assert count[2] > 30


def test_visibility_agrees_with_ray_casting_in_whole_rooms() -> None:
    kept_hidden, kept, seen_points, open_points = 0, 0, 0, 0
    for seed in range(4):
        rng = np.random.default_rng([seed, 7])
        room = furnished_room(rng)
        view = View(np.array([0.2, -0.1, 1.5]))
        pieces, _ = subdivided(room.mesh, 0.5)
        seen = look(pieces, view, 60_000, rng)
        sample = rng.choice(len(seen.points), 250, replace=False)
        ends = seen.points[sample].astype(float)
        gap = np.linalg.norm(ends - view.eye, axis=1) - first_hit(room.mesh, view.eye, ends)
        kept_hidden += int((gap > 0.1).sum())
        kept += len(sample)
        # And the other way: random directions hit what the scanner has points near.
        directions = rng.normal(size=(150, 3)) * (1, 1, 0.5)
        reach = first_hit(room.mesh, view.eye, view.eye + directions)
        unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        wanted = np.isfinite(reach) & view.sees(unit) & (reach > 0.5)
        hits = view.eye + unit[wanted] * reach[wanted, None]
        distance = np.linalg.norm(hits[:, None] - seen.points[None, ::2], axis=2).min(axis=1)
        seen_points += int((distance < 0.15).sum())
        open_points += len(hits)
    assert kept_hidden / kept < 0.05
    assert seen_points / open_points > 0.95


def test_density_falls_as_the_solid_angle_of_the_surface() -> None:
    eye_height = 1.5
    view = View(np.array([0, 0, eye_height]))
    rng = np.random.default_rng(1)
    pieces, _ = subdivided(floor(4), 0.25)
    seen = look(pieces, view, 40_000, rng)
    radius = np.hypot(seen.points[:, 0], seen.points[:, 1])

    def per_area(low: float, high: float) -> float:
        return ((radius > low) & (radius < high)).sum() / (math.pi * (high**2 - low**2))

    def solid_angle_per_area(low: float, high: float) -> float:
        cosines = [eye_height / math.hypot(r, eye_height) for r in (low, high)]
        return 2 * (cosines[0] - cosines[1]) / (high**2 - low**2)

    near, far = (1.0, 1.4), (3.0, 3.4)
    ratio = per_area(*near) / per_area(*far)
    expected = solid_angle_per_area(*near) / solid_angle_per_area(*far)
    assert expected > 5
    assert abs(ratio / expected - 1) < 0.15


def test_range_noise_grows_with_distance() -> None:
    wide = [(-3, 0, 0), (3, 0, 0), (3, 0, 3), (-3, 0, 3)]
    spread = []
    for away in (1.0, 4.0):
        wall = mesh(np.array([wide]) + np.array([0, away, 0]), WHITE)
        seen = scan(wall, [View(np.array([0, 0, 1.5]))], 4000, LIGHT, np.random.default_rng(2))
        ahead = np.abs(seen.points[:, 0]) < 0.5
        spread.append(float(np.std(seen.points[ahead, 1] - away)))
    assert 0.001 < spread[0] < 0.006
    assert 2.5 < spread[1] / spread[0] < 10


def test_glass_returns_few_rays() -> None:
    pane = block((-1, 0), (1.5, 1.52), (0.5, 2), WHITE, returns=0.2)
    solid = block((0, 1), (1.5, 1.52), (0.5, 2), WHITE)
    world, view = join([pane, solid, floor(3)]), View(np.array([0, 0, 1.25]))
    share = []
    for seed in range(6):
        seen = scan(world, [view], 6000, LIGHT, np.random.default_rng(seed))
        count = np.bincount(np.repeat([0, 1, 2], [6, 6, 1])[seen.quad], minlength=3)
        share.append(count[0] / count[1])
    assert 0.13 < np.mean(share) < 0.3


def test_scans_have_holes_where_the_view_itself_has_none() -> None:
    view, rng = View(np.array([0, 0, 1.25])), np.random.default_rng(0)
    middle = np.linspace(-1.15, 1.15, 24)
    ring = np.abs(np.hypot(*np.meshgrid(middle, middle)) - 0.85) < 0.3

    def empty_cells(points: np.ndarray) -> int:
        cells, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=24, range=[[-1.2, 1.2]] * 2)
        return int((cells[ring] == 0).sum())

    whole = look(subdivided(floor(2), 0.5)[0], view, 20_000, rng)
    scans = [scan(floor(2), [view], 20_000, LIGHT, np.random.default_rng(s)) for s in range(5)]
    assert empty_cells(whole.points) == 0
    assert sum(empty_cells(seen.points) for seen in scans) > 20


def test_a_camera_sees_only_its_field_of_view() -> None:
    view = View(np.array([0, 0, 1.5]), 0.3, -0.2, math.radians(40), math.radians(30))
    seen = look(subdivided(floor(4), 0.5)[0], view, 5000, np.random.default_rng(3))
    offset = seen.points - view.eye
    heading = np.arctan2(offset[:, 1], offset[:, 0]) - view.yaw
    assert len(offset) > 1000
    assert np.abs(heading).max() < math.radians(
        60
    )  # the frustum's corners are wider than its middle
    assert view.sees(offset).all()
    ahead = np.array([[math.cos(0.3), math.sin(0.3), math.tan(-0.2)]])
    assert view.sees(ahead).all()
    assert not view.sees(-ahead).any()
