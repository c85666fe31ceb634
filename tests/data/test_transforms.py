import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.config import AugmentConfig
from sr3d.data.loader import generator_for
from sr3d.data.scene import Scene, point_table
from sr3d.data.transforms import augment, sample_points
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.geometry.boxes import Boxes


def scene(seed: int, rotated: bool, boxes: int = 3, points: int = 200) -> Scene:
    g = torch.Generator().manual_seed(seed)
    box = torch.randn(boxes, 7, generator=g)
    box[:, 3:6] = box[:, 3:6].abs() + 0.2
    if not rotated:
        box[:, 6] = 0
    inside = torch.rand(boxes, points, 3, generator=g) - 0.5  # of each box, in its own frame
    from sr3d.geometry.boxes import rotate_z

    xyz = rotate_z(inside * box[:, None, 3:6], box[:, None, 6]) + box[:, None, :3]
    labels = torch.zeros(boxes, dtype=torch.int64)
    colors = torch.rand(boxes * points, 3, generator=g)
    return Scene("s", xyz.reshape(-1, 3), colors, Boxes(box), labels)


@given(st.integers(0, 1000), st.booleans())
@settings(deadline=None, max_examples=50)
def test_points_inside_a_box_stay_inside_it(seed: int, rotated: bool) -> None:
    before = scene(seed, rotated)
    config = AugmentConfig(sample_fraction=(1.0, 1.0), rotation=30.0)
    after = augment(before, config, rotated, generator_for(seed))
    grown = after.boxes.tensor.clone()
    grown[:, 3:6] += 1e-4
    # The order of points is drawn anew: find each by its colour.
    order = {tuple(c): i for i, c in enumerate(after.colors.tolist())}
    rows = torch.tensor([order[tuple(c)] for c in before.colors.tolist()])
    owner = torch.arange(len(before.boxes)).repeat_interleave(200)
    contains = Boxes(grown).contains(after.points[rows])
    assert contains[torch.arange(len(rows)), owner].all()
    if not rotated:
        assert (after.boxes.yaw == 0).all()


PRESETS = [
    (name, dataset)
    for name in ("sr3d", "tr3d", "paper")
    for dataset in ("scannet", "sunrgbd", "s3dis")
]


def augment_preset(name: str, dataset: str) -> AugmentConfig:
    return with_overrides(default_config(dataset), [f"augment={name}"]).augment


@pytest.mark.parametrize(("name", "dataset"), PRESETS)
@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=5)
def test_under_every_preset_points_stay_in_their_boxes(name: str, dataset: str, seed: int) -> None:
    rotated = dataset == "sunrgbd"
    before = scene(seed, rotated)
    after = augment(before, augment_preset(name, dataset), rotated, generator_for(seed))
    order = {tuple(c): i for i, c in enumerate(before.colors.tolist())}
    was = torch.tensor([order[tuple(c)] for c in after.colors.tolist()])
    owner = torch.arange(len(before.boxes)).repeat_interleave(200)[was]
    grown = after.boxes.tensor.clone()
    grown[:, 3:6] += 1e-4
    assert Boxes(grown).contains(after.points)[torch.arange(len(was)), owner].all()
    # Oriented boxes keep their shape, axis-aligned ones only grow.
    ratio = after.boxes.sizes / before.boxes.sizes
    if rotated:
        assert torch.allclose(ratio, ratio[:1, :1].expand_as(ratio), rtol=1e-4)
    else:
        assert (ratio >= ratio[:, 2:] * (1 - 1e-4)).all()


# algorithms as published: sampling, flips, degrees, scale; SamsungLabs/tr3d configs
@pytest.mark.parametrize(
    ("name", "dataset", "expected"),
    [
        ("tr3d", "scannet", ((0.33, 1.0), 0, 0.5, 0.5, math.degrees(0.02), (0.9, 1.1))),
        ("tr3d", "sunrgbd", ((0.33, 1.0), 100_000, 0.5, 0.0, math.degrees(0.523599), (0.85, 1.15))),
        ("tr3d", "s3dis", ((0.33, 1.0), 100_000, 0.5, 0.5, 0.0, (0.95, 1.05))),
        ("sr3d", "scannet", ((0.33, 1.0), 0, 0.5, 0.5, 5.0, (0.6, 1.4))),
        ("sr3d", "sunrgbd", ((0.33, 1.0), 100_000, 0.5, 0.0, 30.0, (0.85, 1.15))),
        ("paper", "sunrgbd", ((0.33, 1.0), 0, 0.5, 0.5, 5.0, (0.6, 1.4))),
    ],
)
def test_presets_are_the_published_ones(name: str, dataset: str, expected: Any) -> None:
    c = augment_preset(name, dataset)
    assert (c.sample_fraction, c.sample_count, c.flip_x, c.flip_y) == expected[:4]
    assert c.rotation == pytest.approx(expected[4], abs=2e-5)
    assert (c.scale, c.translation) == (expected[5], 0.1)
    assert c.sample_replace == "if_few"  # as PointSample of mmdet3d


def test_sampling_with_and_without_replacement() -> None:
    whole = scene(0, rotated=False)  # 600 points

    def drawn(count: int, replace: str) -> tuple[int, int]:
        points = sample_points(whole, count, generator_for(1), replace).points
        return len(points), len(points.unique(dim=0))

    assert drawn(500, "never") == drawn(500, "if_few") == (500, 500)
    assert drawn(900, "never") == (600, 600)
    number, distinct = drawn(900, "if_few")
    assert number == 900
    assert distinct == pytest.approx(600 * (1 - math.exp(-1.5)), rel=0.08)
    number, distinct = drawn(500, "always")
    assert number == 500
    assert distinct == pytest.approx(600 * (1 - math.exp(-500 / 600)), rel=0.08)


def test_points_and_colours_of_one_table_are_not_copied_to_be_picked() -> None:
    rows = torch.rand(7, 6)
    boxes, labels = Boxes.empty(), torch.zeros(0, dtype=torch.int64)
    assert (
        point_table(Scene("s", rows[:, :3], rows[:, 3:], boxes, labels)).data_ptr()
        == rows.data_ptr()
    )
    part = rows[2:5]
    assert torch.equal(point_table(Scene("s", part[:, :3], part[:, 3:], boxes, labels)), part)
    for points, colors in (
        (rows[:, 3:], rows[:, :3]),  # exchanged
        (rows[:, :3].clone(), rows[:, 3:]),
        (rows[:3, :3], rows[3:6, 3:]),  # other rows
    ):
        found = point_table(Scene("s", points, colors, boxes, labels))
        assert torch.equal(found, torch.cat([points, colors], dim=1))


def test_rotation_encloses_aligned_boxes_and_turns_oriented_ones() -> None:
    # A curtain 4 m x 0.1 m turned by 5 degrees needs 0.1 cos + 4 sin = 0.448 m.
    curtain = Boxes(torch.tensor([[0.0, 0, 0, 4, 0.1, 2, 0]]))
    turned = curtain.rotated(math.radians(5))
    assert turned.enclosing().sizes[0, 1] == pytest.approx(0.448, abs=1e-3)
    assert turned.sizes[0, 1] == pytest.approx(0.1)
    assert turned.yaw[0] == pytest.approx(math.radians(5))


def test_sampling_by_fraction_and_by_count() -> None:
    whole = scene(0, rotated=False)
    plain = AugmentConfig(flip_x=0, flip_y=0, rotation=0, scale=(1, 1), translation=0)
    kept = [
        len(augment(whole, replace(plain, sample_fraction=(0.33, 1)), False, generator_for(i)))
        for i in range(200)
    ]
    assert 0.33 * 600 - 1 <= min(kept) < 0.4 * 600
    assert 0.93 * 600 < max(kept) <= 600
    assert sum(kept) / 200 == pytest.approx(0.665 * 600, rel=0.05)

    few = augment(whole, replace(plain, sample_count=100), False, generator_for(0))
    assert len(few) == 100
    assert len(few.points.unique(dim=0)) == 100  # without replacement
    many = sample_points(whole, 1200, generator_for(0))
    assert len(many) == 1200
    distinct = len(many.points.unique(dim=0))
    assert distinct == pytest.approx(600 * (1 - math.exp(-2)), rel=0.06)  # with replacement


def test_flips_scale_and_translation_have_the_stated_ranges() -> None:
    one = Scene(
        "s",
        torch.tensor([[1.0, 2, 3]]),
        torch.zeros(1, 3),
        Boxes(torch.tensor([[1.0, 2, 3, 1, 1, 1, 0]])),
        torch.zeros(1, dtype=torch.int64),
    )
    flips, scales, shifts = [], [], []
    for i in range(300):
        base = AugmentConfig(
            sample_fraction=(1, 1), flip_x=0, flip_y=0, rotation=0, scale=(1, 1), translation=0
        )
        flips.append(augment(one, replace(base, flip_x=0.5), False, generator_for(i)).points[0, 0])
        scaled = augment(one, replace(base, scale=(0.6, 1.4)), False, generator_for(i))
        scales.append(scaled.points[0, 2] / 3)
        assert scaled.boxes.sizes[0, 0] == pytest.approx(float(scales[-1]), rel=1e-5)
        moved = augment(one, replace(base, translation=0.1), False, generator_for(i))
        shifts.append(moved.points[0] - one.points[0])
    assert {round(float(f)) for f in flips} == {-1, 1}
    assert 0.4 < sum(f < 0 for f in flips) / 300 < 0.6
    assert 0.6 <= min(scales) < 0.65
    assert 1.35 < max(scales) <= 1.4
    assert torch.stack(shifts).std() == pytest.approx(0.1, rel=0.1)


def test_the_scene_given_is_not_changed_and_the_seed_decides() -> None:
    before = scene(1, rotated=True)
    points, boxes = before.points.clone(), before.boxes.tensor.clone()
    one = augment(before, AugmentConfig(), True, generator_for(1, 2))
    two = augment(before, AugmentConfig(), True, generator_for(1, 2))
    other = augment(before, AugmentConfig(), True, generator_for(1, 3))
    assert torch.equal(before.points, points)
    assert torch.equal(before.boxes.tensor, boxes)
    assert torch.equal(one.points, two.points)
    assert len(other) != len(one) or not torch.equal(one.points, other.points)


CUBOID = AugmentConfig(
    sample_fraction=(1.0, 1.0), flip_x=0.0, flip_y=0.0, rotation=0.0, scale=(1.0, 1.0),
    translation=0.0, crop=(0.5, 0.9), crop_points=100,
)  # fmt: skip


def owned(seed: int) -> Scene:
    """Each point belongs to the box that it was drawn in."""
    before = scene(seed, rotated=False)
    owner = torch.arange(3).repeat_interleave(200)
    return replace(before, instance=torch.where(torch.arange(600) % 7 == 0, -1, owner))


@pytest.mark.parametrize("when", ["sampled", "moved", "whole"])
def test_a_random_cuboid_keeps_points_and_the_boxes_among_them(when: str) -> None:
    config, cropped = replace(CUBOID, crop_when=when), 0  # type: ignore[arg-type]
    for seed in range(40):
        before = owned(seed)
        after = augment(before, config, False, generator_for(seed))
        known = {tuple(point) for point in before.points.tolist()}
        assert {tuple(point) for point in after.points.tolist()} <= known
        assert len(after) >= config.crop_points
        assert len(after.boxes) == len(after.labels) >= 1
        low, high = after.points.amin(dim=0), after.points.amax(dim=0)
        inside = ((before.boxes.centers >= low) & (before.boxes.centers <= high)).all(dim=1)
        if len(after) < len(before):
            cropped += 1
            assert torch.equal(after.boxes.tensor, before.boxes.tensor[inside])
            shares = (high - low) / (before.points.amax(dim=0) - before.points.amin(dim=0))
            assert float(shares.max()) <= config.crop[1] + 1e-5
        assert after.instance is not None
        for i, box in enumerate(after.boxes.tensor):  # the same points lie on it
            original = (before.boxes.tensor == box).all(dim=1).nonzero().item()
            assert before.instance is not None
            points = {tuple(p) for p in before.points[before.instance == original].tolist()}
            assert {tuple(p) for p in after.points[after.instance == i].tolist()} <= points
    assert cropped > 20


def test_two_edges_of_a_cuboid_are_alike() -> None:
    wanted = replace(CUBOID, crop=(0.1, 1.0), crop_aspect=1.0)  # never exactly alike
    for seed in range(5):
        assert len(augment(owned(seed), wanted, False, generator_for(seed))) == 600


def test_a_scene_of_few_points_or_far_boxes_stays_whole() -> None:
    before = owned(0)
    few = replace(CUBOID, crop_points=601)
    assert len(augment(before, few, False, generator_for(0))) == 600
    away = replace(before, boxes=before.boxes.translated(torch.tensor([99.0, 0, 0])))
    after = augment(away, CUBOID, False, generator_for(0))
    assert len(after) == 600
    assert len(after.boxes) == 3
    none = replace(before, boxes=Boxes.empty(), labels=before.labels[:0], instance=None)
    assert len(augment(none, CUBOID, False, generator_for(3))) < 600


def test_a_cuboid_of_the_whole_scene_has_as_many_points_as_are_sampled() -> None:
    config = replace(CUBOID, crop_when="whole", sample_count=500)
    sizes = {len(augment(owned(seed), config, False, generator_for(seed))) for seed in range(5)}
    assert sizes == {500}  # some of them twice


def test_a_shift_moves_points_and_boxes_before_the_scale() -> None:
    still = replace(CUBOID, crop=(1.0, 1.0), scale=(2.0, 2.0))
    before = owned(0)
    moved = [
        augment(before, replace(still, shift=0.4), False, generator_for(seed)) for seed in range(30)
    ]
    shifts = torch.stack([after.boxes.centers[0] / 2 - before.boxes.centers[0] for after in moved])
    assert 0.3 < float(shifts.abs().max()) <= 0.4 + 1e-5
    assert float(shifts.min()) < -0.3
    for after, shift in zip(moved, shifts, strict=True):
        own = after.points / 2 - shift
        torch.testing.assert_close(own.amin(dim=0), before.points.amin(dim=0), atol=1e-4, rtol=0)
        torch.testing.assert_close(after.boxes.sizes, 2 * before.boxes.sizes)


def test_without_a_crop_the_other_draws_stay_the_same() -> None:
    plain = AugmentConfig()
    cropped = replace(plain, crop=(0.5, 0.9), crop_when="moved", crop_points=10)
    before = scene(1, rotated=False)
    a = augment(before, plain, False, generator_for(1))
    b = augment(before, cropped, False, generator_for(1))
    assert {tuple(p) for p in b.points.tolist()} < {tuple(p) for p in a.points.tolist()}


STILL = AugmentConfig(
    sample_fraction=(1.0, 1.0),
    flip_x=0,
    flip_y=0,
    rotation=0,
    scale=(1.0, 1.0),
    translation=0,
)


def moved(before: Scene, config: AugmentConfig, seed: int = 1) -> tuple[Scene, torch.Tensor]:
    """The augmented scene, and where each of its points was before."""
    plain = augment(before, STILL, False, generator_for(seed))  # draws the same order
    after = augment(before, config, False, generator_for(seed))
    assert torch.equal(after.boxes.tensor, plain.boxes.tensor)
    return after, plain.points


def test_a_tilt_turns_points_about_two_horizontal_axes() -> None:
    before = scene(2, rotated=False)
    after, points = moved(before, replace(STILL, tilt=5.0))
    turn = torch.linalg.lstsq(points, after.points).solution.t()
    torch.testing.assert_close(turn @ turn.t(), torch.eye(3), atol=1e-5, rtol=0)
    assert min(abs(float(turn[1, 0])), abs(float(turn[0, 1]))) < 1e-5  # no turn about z
    lean = math.degrees(math.acos(min(1.0, float(turn[2, 2]))))
    assert 0 < lean <= 5.0 * 2**0.5
    torch.testing.assert_close(after.points.norm(dim=1), points.norm(dim=1))


def test_elastic_distortion_moves_near_points_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2000, 3, generator=generator) * torch.tensor([5.0, 4.0, 2.5])
    before = replace(
        scene(0, rotated=False, boxes=1, points=2000),
        points=torch.cat([points[:1000], points[:1000] + 0.01]),
    )
    after, places = moved(before, replace(STILL, elastic=1.0))
    shift = after.points - places
    assert 0.02 < float(shift.std()) < 0.5
    assert float(shift.abs().max()) < 2
    distance = torch.cdist(places, places).fill_diagonal_(torch.inf)
    near = distance.argmin(dim=1)
    apart = (shift - shift[near]).norm(dim=1)[distance.amin(dim=1) < 0.02]
    assert float(apart.median()) < 0.1 * float(shift.norm(dim=1).median())
    untouched, places = moved(before, replace(STILL, elastic=0.0))
    assert torch.equal(untouched.points, places)


def test_a_scene_of_kilometres_has_a_coarser_field() -> None:
    before = scene(0, rotated=False)
    far = replace(before, points=before.points * torch.tensor([1000.0, 1.0, 1.0]))
    after, places = moved(far, replace(STILL, elastic=1.0))
    assert after.points.isfinite().all()
    assert float((after.points - places).abs().max()) < 4


def test_colours_are_shifted_together_and_blurred_apart() -> None:
    before = scene(3, rotated=False)
    grey = replace(before, colors=torch.full_like(before.colors, 0.5))
    shifted = [moved(grey, replace(STILL, colour_shift=0.1), seed)[0].colors for seed in range(20)]
    assert all(len(colors.unique(dim=0)) == 1 for colors in shifted)
    values = torch.cat([colors[:1] for colors in shifted]) - 0.5
    assert 0.05 < float(values.abs().max()) <= 0.1
    noisy, _ = moved(grey, replace(STILL, colour_noise=0.1))
    assert 0.09 < float((noisy.colors - 0.5).std()) < 0.11
    bright = replace(before, colors=torch.ones_like(before.colors))
    after, _ = moved(bright, replace(STILL, colour_noise=0.3))
    assert 0 <= float(after.colors.min()) < float(after.colors.max()) == 1
