"""The operations follow the rules of the CUDA kernels, case by case."""

import torch

from sr3d.points import ball_query, furthest_points, group, interpolate, nearest


def line(*x):
    """One cloud (1, N, 3) of points on the x axis."""
    return torch.tensor([[[value, 0.0, 0.0] for value in x]])


def test_the_farthest_point_comes_next():
    assert furthest_points(line(1, 2, 9, 5), 4).tolist() == [[0, 2, 3, 1]]


def test_points_near_the_origin_are_chosen_only_at_index_0():
    points = line(0, 0.01, -0.03, 0.04)
    assert furthest_points(points, 3).tolist() == [[0, 3, 3]]
    assert furthest_points(points, 3, skip_origin=False).tolist() == [[0, 3, 2]]


def test_a_tie_takes_the_lowest_index_or_the_one_of_the_kernels_block():
    points = line(1, 2, 2, 0.5)
    assert furthest_points(points, 2).tolist() == [[0, 1]]
    assert furthest_points(points, 2, tie_threads=512).tolist() == [[0, 2]]


def test_few_distinct_points_repeat():
    assert furthest_points(line(1, 1), 3).tolist() == [[0, 0, 0]]
    assert furthest_points(line(1, 3), 4).tolist() == [[0, 1, 0, 0]]


def test_a_ball_takes_its_first_points_and_excludes_its_surface():
    points = line(1, 0.5, 0.25, 0, 9)
    found = ball_query(points, line(0, 9, 20), 1.0, 2)
    assert found.tolist() == [[[1, 2], [4, 4], [0, 0]]]


def test_nearest_points_ascend_and_a_tie_takes_the_lower_index():
    distance, index = nearest(line(1, -1, 3), line(0), 3)
    assert index.tolist() == [[[0, 1, 2]]]
    assert distance.tolist() == [[[1, 1, 9]]]


def test_a_missing_neighbour_has_infinite_distance_and_index_0():
    distance, index = nearest(line(1), line(0), 2)
    assert index.tolist() == [[[0, 0]]]
    assert distance.tolist() == [[[1, torch.inf]]]


def test_groups_have_the_shape_of_their_index():
    features = torch.arange(12.0).reshape(2, 2, 3)
    index = torch.tensor([[2, 0], [1, 1]])
    assert group(features, index).tolist() == [[[2, 0], [5, 3]], [[7, 7], [10, 10]]]
    assert group(features, index[:, :, None]).shape == (2, 2, 2, 1)


def test_gradients_of_grouping_are_deterministic():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 8, 50, generator=generator, requires_grad=True)
    index = torch.randint(50, (2, 300, 8), generator=generator)
    grad = torch.randn(2, 8, 300, 8, generator=generator)

    def gradient():
        (found,) = torch.autograd.grad(group(features, index), features, grad)
        return found

    assert torch.equal(gradient(), gradient())


def test_gradients_of_grouping_and_interpolation():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    weights = torch.randn(2, 4, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    index = torch.randint(5, (2, 4, 3), generator=generator)
    assert torch.autograd.gradcheck(lambda f: group(f, index), features)
    assert torch.autograd.gradcheck(lambda f, w: interpolate(f, index, w), (features, weights))
