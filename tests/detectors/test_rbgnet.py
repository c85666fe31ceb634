"""RBGNet: rays, fine anchors, foreground-biased sampling and grouping against loops; its family."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import sr3d
from sr3d.cli import main
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.detectors import build_detector
from sr3d.detectors.common.proposals import Proposals, select_proposals
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.rbgnet.backbone import foreground_first
from sr3d.detectors.rbgnet.config import RBGNetConfig, RBGNetInference
from sr3d.detectors.rbgnet.detector import RBGNet, selection_rules
from sr3d.detectors.rbgnet.names import own_name, publish, published_name
from sr3d.detectors.rbgnet.network import RayBranch
from sr3d.detectors.rbgnet.rays import anchors_on, coarse_fractions, fine_fractions, unit_rays
from sr3d.errors import Kind
from sr3d.points import furthest_points
from sr3d.train.step import batch_losses
from tests.detectors.golden.weights import shapes_in, shapes_of
from tests.family_configs import of_family
from tests.refusals import refuses
from tests.shared_data import shared

PRESETS = ["model=rbgnet", "augment=rbgnet", "train=rbgnet"]
# As thin as it gets, with fewer points than a room has.
TINY = [
    "model.num_points=512",
    "model.levels=[128,64,32,16]",
    "model.samples=[8,8,4,4]",
    "model.planes=[8,8,8,8]",
    "model.seed_channels=16",
    "model.proposals=16",
    "model.proposal_channels=8",
    "model.rays=6",
    "model.ray_channels=4",
]


def config(dataset: str, *overrides: str) -> RBGNetConfig:
    chosen = with_overrides(default_config(dataset), [*PRESETS, *overrides])
    return of_family(RBGNetConfig, chosen)


def tiny(dataset: str = "synthetic", *overrides: str) -> RBGNet:
    torch.manual_seed(0)
    model = build_detector(config(dataset, *TINY, *overrides))
    assert isinstance(model, RBGNet)
    return model


def rooms(*seeds: int, rotated: bool = False) -> list[Scene]:
    return [generate_room(seed, points=1500, rotated=rotated) for seed in seeds]


# ---------------------------------------------------------------- rays and anchors


@pytest.mark.parametrize(("count", "rings"), [(6, 1), (18, 2), (66, 4)])
def test_rays_form_rings_from_pole_to_pole(count: int, rings: int) -> None:
    rays = unit_rays(count)
    assert rays.shape == (count, 3)
    torch.testing.assert_close(rays.norm(dim=1), torch.ones(count))
    torch.testing.assert_close(rays[[0, -1]], torch.tensor([[0.0, 0, 1], [0, 0, -1]]))
    upper = [max(1, 4 * ring) for ring in range(rings + 1)]
    heights, sizes = rays[:, 2].round(decimals=5).unique(return_counts=True)
    assert sizes.tolist() == [*upper, *upper[-2::-1]]
    expected = [math.cos(ring * math.pi / (2 * rings)) for ring in range(2 * rings, -1, -1)]
    torch.testing.assert_close(heights, torch.tensor(expected), atol=1e-4, rtol=0)
    assert (rays[1:, 2] <= rays[:-1, 2] + 1e-6).all()
    # A ring begins one step after azimuth 0 and ends there.
    first, last = rays[1], rays[4]
    assert math.atan2(first[1], first[0]) == pytest.approx(math.pi / 2)
    assert math.atan2(last[1], last[0]) == pytest.approx(0, abs=1e-6)


def test_coarse_anchors_begin_at_the_end_of_a_ray() -> None:
    centres = torch.tensor([[[1.0, 2.0, 3.0]]])
    rays = unit_rays(6)
    anchors = anchors_on(centres, torch.tensor([[2.0]]), coarse_fractions(5, centres.device), rays)
    assert anchors.shape == (1, 1, 5, 6, 3)
    torch.testing.assert_close(anchors[0, 0, 0, 0], torch.tensor([1.0, 2.0, 5.0]))
    torch.testing.assert_close(anchors[0, 0, 4, 5], torch.tensor([1.0, 2.0, 2.6]))
    flat = anchors.flatten(2, 3)[0, 0]  # bin by bin
    torch.testing.assert_close(flat[1 * 6 + 0], torch.tensor([1.0, 2.0, 4.6]))


def by_loops(hits: Sequence[bool], wanted: float, margin: float) -> float:
    """The fraction of a ray's fine anchor, by inverting the distribution step by step."""
    bins = len(hits)
    weights = [hit + 1e-5 for hit in hits]
    reached = [0.0]
    for weight in weights:
        reached.append(reached[-1] + weight / sum(weights))
    at = sum(value <= wanted for value in reached)
    low, high = reached[max(at - 1, 0)], reached[min(at, bins)]
    width = high - low if high - low >= 1e-5 else 1.0
    place = [*range(bins, 0, -1), 0][min(at, bins)]  # counted from the cluster
    return (place + 1) / bins + margin - (wanted - low) / width * 2 * margin


@pytest.mark.parametrize("hits", list(product([False, True], repeat=5)))
def test_fine_anchors_invert_the_distribution_of_hits(hits: tuple[bool, ...]) -> None:
    found = fine_fractions(torch.tensor(hits)[None, None, :, None], 3, 0.2)[0, 0, :, 0]
    for number, wanted in enumerate((1e-4, (1e-4 + 1 - 1e-5) / 2, 1 - 1e-5)):
        # Rounding decides about a quantile at the border of two bins.
        possible = [by_loops(hits, wanted + nudge, 0.2) for nudge in (-2e-7, 0, 2e-7)]
        assert min(abs(float(found[number]) - value) for value in possible) < 1e-2


def test_fine_anchors_lie_around_the_only_hit_of_their_ray() -> None:
    hits = torch.zeros(1, 1, 5, 2, dtype=torch.bool)
    hits[0, 0, 4, 0] = True  # a fifth of the first ray
    found = fine_fractions(hits, 3, 0.2)[0, 0]
    torch.testing.assert_close(found[:, 0], torch.tensor([0.4, 0.2, 0.0]), atol=1e-2, rtol=0)
    # Without a hit the anchors spread over the ray, and may lie beyond its end.
    assert found[0, 1] > 1
    assert found[2, 1] < 0.2
    # In metres the margin depends on the length of the ray.
    metres = fine_fractions(hits, 3, 0.2 / torch.tensor([[[[4.0]]]]))[0, 0]
    torch.testing.assert_close(metres[:, 0], torch.tensor([0.25, 0.2, 0.15]), atol=1e-2, rtol=0)


# ---------------------------------------------------------------- sampling and grouping


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 8))
def test_foreground_comes_first(seed: int, best: int, others: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(2, 24, 3, generator=generator)
    score = torch.rand(2, 24, generator=generator)
    index = foreground_first(points, score, best, best + others)
    for cloud, own, found in zip(points, score, index, strict=True):
        ranked = own.argsort(descending=True)
        parts = ranked[:best].sort().values, ranked[best:].sort().values
        counts = best, others
        expected = torch.cat([
            part[furthest_points(cloud[part][None], count, skip_origin=False)[0]]
            for part, count in zip(parts, counts, strict=True)
        ])  # fmt: skip
        assert found.tolist() == expected.tolist()
        assert set(found[:best].tolist()) == set(parts[0].tolist())
        assert found[0] == parts[0][0]
        assert found[best] == parts[1][0]


def branch_of() -> RayBranch:
    torch.manual_seed(0)
    return RayBranch(bins=2, rays=6, radius=0.5, samples=3, points=4, channels=5, width=8).eval()


def test_points_around_anchors_against_loops() -> None:
    branch, generator = branch_of(), torch.Generator().manual_seed(0)
    anchors = torch.rand(2, 12, 3, generator=generator) * 2
    anchors[0, 3] = 50  # far from all points
    points = torch.rand(2, 40, 3, generator=generator) * 2
    features = torch.randn(2, 4, 40, generator=generator)
    found, hits = branch.around(anchors, points, features)
    for scene in range(2):
        for number, anchor in enumerate(anchors[scene]):
            apart = (points[scene] - anchor).square().sum(dim=1)
            near = (apart < 0.25).nonzero()[:3, 0]
            assert bool(hits[scene, number]) == bool(len(near))
            expected = torch.zeros(5)
            if len(near):
                rows = torch.cat(
                    [points[scene, near] - anchor, features[scene][:, near].t()], dim=1
                )
                layer = branch.aggregation(rows.t()[None, :, :, None])
                expected = layer[0, :, :, 0].amax(dim=1)
            torch.testing.assert_close(found[scene, :, number], expected, atol=1e-5, rtol=1e-4)


def test_anchors_without_points_leave_batch_norms_alone() -> None:
    branch = branch_of().train()
    anchors = torch.rand(1, 12, 3, requires_grad=True)
    near = torch.rand(1, 30, 3)
    features = torch.randn(1, 4, 30)
    branch.around(anchors, near, features)
    norm = branch.aggregation.get_submodule("layer0.bn.bn")
    alone = torch.as_tensor(norm.running_mean).clone()
    again = branch_of().train()
    far = torch.cat([anchors, torch.full((1, 6, 3), 90.0)], dim=1)
    again.around(far, near, features)
    norm = again.aggregation.get_submodule("layer0.bn.bn")
    torch.testing.assert_close(torch.as_tensor(norm.running_mean), alone)
    found, hits = branch.around(anchors + 90, near, features)
    assert not hits.any()
    assert found.abs().sum() == 0


# ---------------------------------------------------------------- post-processing


def proposals_and_points() -> tuple[Proposals, Tensor]:
    """Two boxes apart. Ten points lie in the first, one in the second."""
    boxes = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0], [5.0, 0, 0, 1, 1, 1, 0]])
    points = torch.cat([torch.rand(10, 3) * 0.4, torch.tensor([[5.0, 0, 0], [20.0, 0, 0]])])
    return Proposals(boxes, torch.tensor([0.9, 0.8]), torch.eye(3)[:2]), points


def test_points_in_any_box_count_for_all_as_published() -> None:
    proposals, points = proposals_and_points()

    def kept(**options: object) -> set[float]:
        chosen = RBGNetInference(**{"min_points": 6, **options})  # type: ignore[arg-type]
        rules = selection_rules(proposals, points, chosen)
        return set(select_proposals(proposals, points, rules).boxes[:, 0].tolist())

    assert kept() == {0, 5}
    assert kept(points_of="each") == {0}
    assert kept(min_points=11) == {0, 5}
    assert kept(min_points=12) == set()
    assert kept(points_of="each", min_points=0) == {0, 5}


# ---------------------------------------------------------------- family


def test_published_training() -> None:
    scannet, sunrgbd = config("scannet"), config("sunrgbd")
    for chosen in (scannet, sunrgbd):
        model, train = chosen.model, chosen.train
        assert (model.num_points, model.proposals, model.rays) == (50_000, 256, 66)
        assert (train.optimizer, train.lr, train.weight_decay) == ("adamw", 6e-3, 0.01)
        assert (train.epochs, train.milestones, train.batch_size) == (64, (48, 60), 32)
        assert (train.repeat, train.clip_norm, train.warmup_iters) == (5, 10, 0)
        assert (chosen.test.points_of, chosen.test.min_points) == ("all", 6)
    found = [
        (c.test.clusters, c.test.iou_thr, c.test.score_thr, c.loss.heading_offset,
         c.loss.vote_centre, c.model.divide_colors)
        for c in (scannet, sunrgbd)
    ]  # fmt: skip
    assert found == [
        ("votes", 0.25, 0.05, 10, "extent", False),
        ("seeds", 0.3, 0, 1.11, "box", True),
    ]
    assert (scannet.augment.flip_y, scannet.augment.rotation) == (0.5, 0)
    assert (sunrgbd.augment.flip_y, sunrgbd.augment.rotation) == (0, 30)


@pytest.mark.parametrize("before", ["votenet", "groupfree", "brnet"])
def test_another_family_before_leaves_no_value(before: str) -> None:
    first = with_overrides(default_config("sunrgbd"), [f"model={before}"])
    assert with_overrides(first, PRESETS) == config("sunrgbd")


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("model.rays=20", "model.rays"),
        ("model.rays=1", "model.rays"),
        ("model.seed_channels=30", "model.seed_channels"),
        ("model.foreground=0.01", "model.foreground"),
        ("model.foreground=0.99", "model.foreground"),
        ("model.levels=[64,128,16,8]", "model.levels"),
    ],
)
def test_values_that_do_not_go_together_are_refused(override: str, field: str) -> None:
    with refuses(Kind.VALUE, field=field):
        config("scannet", "model.levels=[64,32,32,16]", override)


@pytest.mark.parametrize(
    ("dataset", "keys", "count"),
    [
        ("scannet", "rbgnet_keys.txt", 2_839_218),
        ("sunrgbd", "rbgnet_sunrgbd_keys.txt", 2_841_024),
    ],
)
def test_weights_are_the_published_ones(dataset: str, keys: str, count: int) -> None:
    model = sr3d.load("rbgnet", dataset=dataset, untrained=True)
    assert sum(p.numel() for p in model.parameters()) == count
    weights = model.state_dict()
    for name in weights:
        assert own_name(f"module.{published_name(name)}") == name
    assert shapes_of(publish(weights)) == shapes_in(shared(f"golden/{keys}"))


def test_colors_are_divided_once_more_on_request() -> None:
    scenes = rooms(0)
    found = tiny().inputs(scenes).features
    divided = tiny("synthetic", "model.divide_colors=true").inputs(scenes).features
    assert found is not None
    assert divided is not None
    torch.testing.assert_close(divided * 255, found)
    assert found.shape == (1, 3, 512)


def test_bf16_gives_boxes_and_gradients() -> None:
    model = tiny().train()
    model.autocast = torch.bfloat16
    losses = batch_losses(model, rooms(0, 1))
    assert losses.total.isfinite()
    losses.total.backward()
    (scene,) = rooms(0)
    assert model.detect(scene.points, scene.colors).boxes.isfinite().all()


def test_a_checkpoint_returns_in_both_directions(tmp_path: Path) -> None:
    from sr3d.detectors.weights import write_model

    model = tiny("sunrgbd")
    path, there, back = (tmp_path / name for name in ("a.safetensors", "b.pth", "c.safetensors"))
    write_model(path, model, config("sunrgbd", *TINY), {})
    assert main(["convert", str(path), "--to", "original", "--out", str(there)]) == 0
    assert main(["convert", str(there), "--out", str(back)]) == 0
    again = sr3d.load(back).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
