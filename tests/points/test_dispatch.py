"""Which engine computes, and what it accepts."""

from tests.sparse.triton_cases import DEVICE  # isort: skip

import pytest
import torch

from sr3d.points import ball_query, cpu_engine, furthest_points, nearest, torch_engine
from sr3d.points.triton import engine as triton_engine
from sr3d.sparse.functional import engine

CALLS = {
    "furthest_points": lambda points: furthest_points(points, 3),
    "ball_query": lambda points: ball_query(points, points, 0.5, 2),
    "nearest": lambda points: nearest(points, points, 2)[1],
}
calls = pytest.mark.parametrize("name", CALLS)


def cloud(**options):
    return torch.rand(2, 9, 3, generator=torch.Generator().manual_seed(0), **options)


@pytest.fixture
def used(monkeypatch):
    """Names of the engines that were called."""
    names = []
    for module in (cpu_engine, torch_engine, triton_engine):
        for function in CALLS:
            original = getattr(module, function)

            def spy(*args, module=module, run=original):
                names.append(module)
                return run(*args)

            monkeypatch.setattr(module, function, spy)
    return names


@calls
def test_the_device_or_a_forced_engine_decides(name, used):
    expected = CALLS[name](cloud())
    assert used[0] is cpu_engine
    used.clear()
    with engine("triton"):
        found = CALLS[name](cloud().to(DEVICE))
    assert used == [triton_engine]
    assert torch.equal(found.cpu(), expected)


@calls
@pytest.mark.parametrize(
    "change",
    [
        lambda points: points.clone().requires_grad_(),  # votes
        lambda points: points.double(),
        lambda points: points.transpose(1, 2).contiguous().transpose(1, 2),
        lambda points: torch.cat([points, points], dim=2)[..., :3],  # beside features
    ],
    ids=["gradient", "float64", "transposed", "strided"],
)
def test_coordinates_may_have_any_form(name, change):
    expected = CALLS[name](cloud())
    found = CALLS[name](change(cloud()))
    assert torch.equal(found, expected)
    assert not found.requires_grad


def test_inputs_are_left_alone():
    points = cloud()
    for run in CALLS.values():
        run(points)
    assert torch.equal(points, cloud())


def test_a_cloud_without_points_cannot_be_sampled():
    with pytest.raises(ValueError, match="at least one point"):
        furthest_points(torch.empty(1, 0, 3), 2)


def test_the_dummy_of_rbgnet_stands_before_the_points():
    points = torch.tensor([[[1.0, 0, 0], [1.5, 0, 0]]])
    centres = torch.tensor([[[1.0, 0, 0], [1.5, 0, 0], [9.0, 0, 0]]])
    found = ball_query(points, centres, 0.6, 3, pad="zero")
    assert found.tolist() == [[[1, 2, 1], [1, 2, 1], [0, 0, 0]]]
