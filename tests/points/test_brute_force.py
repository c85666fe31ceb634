"""Every engine equals the kernels' loops bitwise: ties, duplicates, empty balls, few points."""

from tests.sparse.triton_cases import DEVICE  # isort: skip

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.points import cpu_engine, torch_engine
from sr3d.points.triton import engine as triton_engine
from tests.points import brute_force

engines = pytest.mark.parametrize(
    "engine", [torch_engine, cpu_engine, triton_engine], ids=["torch", "cpu", "triton"]
)
LARGE = np.random.default_rng(0)


def on(engine, points):
    points = torch.from_numpy(np.asarray(points, dtype=np.float32))
    return points.to(DEVICE) if engine is triton_engine else points


# Coordinates on a coarse lattice tie and repeat. 0.02 lies near the origin.
LATTICE = st.sampled_from([-1.0, -0.5, 0.0, 0.02, 0.5, 1.0])
ANYWHERE = st.floats(-100, 100, width=32)


@st.composite
def clouds(draw, least=1, most=12, batches=2):
    """(B, N, 3) float32."""
    number = draw(st.integers(least, most))
    coordinate = draw(st.sampled_from([LATTICE, ANYWHERE]))
    size = draw(st.integers(1, batches)) * number * 3
    values = draw(st.lists(coordinate, min_size=size, max_size=size))
    return np.array(values, dtype=np.float32).reshape(-1, number, 3)


@st.composite
def pairs(draw):
    """Clouds (B, N, 3) and queries (B, M, 3)."""
    cloud = draw(clouds())
    queries = draw(clouds(batches=1))
    return cloud, np.repeat(queries[:1], len(cloud), axis=0)


@engines
@given(cloud=clouds(), count=st.integers(1, 15), skip=st.booleans())
@settings(max_examples=40, deadline=None)
def test_sampling(engine, cloud, count, skip):
    found = engine.furthest_points(on(engine, cloud), count, skip)
    assert found.tolist() == [brute_force.furthest_points(c, count, skip) for c in cloud]


@given(cloud=clouds(most=20), threads=st.sampled_from([4, 512]))
@settings(max_examples=40, deadline=None)
def test_the_order_of_a_block_decides_ties(cloud, threads):
    order = torch_engine.thread_order(cloud.shape[1], threads)
    picks = torch_engine.furthest_points(torch.from_numpy(cloud)[:, order], 12, True)
    expected = [brute_force.furthest_points(c, 12, True, threads) for c in cloud]
    assert order[picks].tolist() == expected


@engines
@given(pair=pairs(), radius=st.sampled_from([0.5, 1.0, 30.0]), count=st.integers(1, 15))
@settings(max_examples=40, deadline=None)
def test_ball_query(engine, pair, radius, count):
    cloud, centres = pair
    found = engine.ball_query(on(engine, cloud), on(engine, centres), radius, count)
    expected = [brute_force.ball_query(c, q, radius, count) for c, q in zip(*pair, strict=True)]
    assert found.tolist() == expected


@engines
@given(pair=pairs(), k=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_nearest(engine, pair, k):
    cloud, queries = pair
    distance, index = engine.nearest(on(engine, cloud), on(engine, queries), k)
    found = [
        [list(zip(*row, strict=True)) for row in zip(*rows, strict=True)]
        for rows in zip(distance.tolist(), index.tolist(), strict=True)
    ]
    assert found == [brute_force.nearest(c, q, k) for c, q in zip(*pair, strict=True)]


@engines
def test_rounding_decides_between_nearly_equal_distances(engine):
    vectors = LARGE.normal(size=(40, 24, 3))
    points = (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).astype(np.float32)
    points[:, 0] = 0
    cloud = on(engine, points)
    expected = [brute_force.furthest_points(p, 2) for p in points]
    assert engine.furthest_points(cloud, 2, True).tolist() == expected
    expected = [brute_force.ball_query(p, p[:1], 1, 24) for p in points]
    assert engine.ball_query(cloud, cloud[:, :1], 1, 24).tolist() == expected
    expected = [brute_force.nearest(p, p[:1], 3) for p in points]
    _, index = engine.nearest(cloud, cloud[:, :1], 3)
    assert index.tolist() == [[[i for _, i in row] for row in rows] for rows in expected]


def scan(number, kind):
    """(2, N, 3): large enough for several buckets and blocks."""
    points = LARGE.normal(size=(2, number, 3)).astype(np.float32)
    if kind == "surface":
        points[..., 2] *= 0.01
    if kind == "lattice":
        points = (points * 4).round() / np.float32(4)
    if kind == "repeated":  # in each block of a GPU
        points = np.tile(points[:, :128], (1, -(-number // 128), 1))[:, :number]
    if kind == "stray":
        points[:, number // 2] = 1000
    if kind == "far":
        points += 5000
    return points


KINDS = ("volume", "surface", "lattice", "stray", "far")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("number", "count"), [(65, 70), (1500, 300)])
def test_pruning_changes_nothing(kind, number, count, monkeypatch):
    for limit, value in (("_SMALL_CLOUD", 0), ("_FEW_PAIRS", 0), ("_MAX_PAIRS", 5000)):
        monkeypatch.setattr(cpu_engine, limit, value)
    points = torch.from_numpy(scan(number, kind))
    for skip in (True, False):
        expected = torch_engine.furthest_points(points, count, skip)
        assert torch.equal(cpu_engine.furthest_points(points, count, skip), expected)
    queries = torch.cat([points[:, ::5], points[:, ::7] + 0.25], dim=1)
    for radius in (0.25, 1.0, 1e4):
        expected = torch_engine.ball_query(points, queries, radius, 16)
        assert torch.equal(cpu_engine.ball_query(points, queries, radius, 16), expected)
    for k in (1, 3, 8):
        found = cpu_engine.nearest(points, queries, k)
        for one, other in zip(found, torch_engine.nearest(points, queries, k), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("kind", ["volume", "lattice", "repeated"])
def test_several_blocks_of_a_gpu(kind, monkeypatch):
    monkeypatch.setattr(triton_engine, "_SAMPLING_BLOCK", 128)
    points = torch.from_numpy(scan(600, kind)).to(DEVICE)
    queries = points[:, ::20] + 0.25
    expected = torch_engine.furthest_points(points, 20, True)
    assert torch.equal(triton_engine.furthest_points(points, 20, True), expected)
    expected = torch_engine.ball_query(points, queries, 0.5, 5)
    assert torch.equal(triton_engine.ball_query(points, queries, 0.5, 5), expected)
    for one, other in zip(
        triton_engine.nearest(points, queries, 3),
        torch_engine.nearest(points, queries, 3),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_chunks_change_nothing(monkeypatch):
    points = torch.from_numpy(scan(100, "lattice"))
    queries = points[:, ::3]
    balls, near = (
        torch_engine.ball_query(points, queries, 1.0, 4),
        torch_engine.nearest(points, queries, 3),
    )
    monkeypatch.setattr(torch_engine, "MAX_PAIRS", 500)
    assert torch.equal(torch_engine.ball_query(points, queries, 1.0, 4), balls)
    assert torch.equal(torch_engine.nearest(points, queries, 3)[1], near[1])


@engines
def test_no_clouds(engine):
    none = on(engine, np.zeros((0, 4, 3)))
    assert engine.furthest_points(none, 2, True).shape == (0, 2)
    assert engine.ball_query(none, none, 1.0, 2).shape == (0, 4, 2)
    assert engine.nearest(none, none, 3)[0].shape == (0, 4, 3)


@engines
def test_no_points_and_no_queries(engine):
    none, some = on(engine, np.zeros((1, 0, 3))), on(engine, np.ones((1, 2, 3)))
    assert engine.ball_query(none, some, 1.0, 2).tolist() == [[[-1, -1], [-1, -1]]]
    assert engine.ball_query(some, none, 1.0, 2).shape == (1, 0, 2)
    assert engine.nearest(none, some, 1)[1].tolist() == [[[0], [0]]]
    assert engine.nearest(some, none, 1)[1].shape == (1, 0, 1)
