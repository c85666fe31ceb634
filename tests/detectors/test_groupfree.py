"""GroupFree as a family: presets, names, network, training step, checkpoints, detection."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import sr3d
from sr3d.cli import main
from sr3d.data.ground_truth import GroundTruth
from sr3d.data.prepared import PreparedDataset
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.detectors import FAMILIES, build_detector
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.groupfree.config import GroupFreeConfig
from sr3d.detectors.groupfree.detector import GroupFree, ensemble
from sr3d.detectors.groupfree.names import CHECKPOINTS, DDP, to_published, with_second_names
from sr3d.detectors.groupfree.network import Stage, stage_names
from sr3d.detectors.needs import with_needs
from sr3d.detectors.weights import write_model
from sr3d.errors import Kind
from sr3d.geometry.boxes import corners
from sr3d.train.schedule import build_optimizer, learning_rate
from sr3d.train.step import batch_losses, train_step
from tests.detectors.golden.weights import shapes_in, shapes_of
from tests.family_configs import of_family
from tests.refusals import refuses
from tests.shared_data import shared

PRESETS = ["model=groupfree", "augment=groupfree", "train=groupfree"]
L12 = ["model.layers=12"]
WIDE = [*L12, "model.planes=[256,512,512,512]"]
# As thin as it gets, with fewer points than a room has.
TINY = [
    "model.num_points=256",
    "model.levels=[64,32,16,8]",
    "model.samples=[8,8,4,4]",
    "model.planes=[8,8,8,8]",
    "model.channels=16",
    "model.queries=12",
    "model.layers=2",
    "model.heads=4",
    "model.feedforward=16",
]


def config(dataset: str, *overrides: str) -> GroupFreeConfig:
    chosen = with_overrides(default_config(dataset), [*PRESETS, *overrides])
    return of_family(GroupFreeConfig, chosen)


def config_of(rooms: Path, *overrides: str) -> GroupFreeConfig:
    """A tiny network's, with the mean sizes of the rooms."""
    scenes = PreparedDataset(rooms, "train")
    chosen = config(scenes.manifest.dataset, *TINY, *overrides)
    return of_family(GroupFreeConfig, with_needs(chosen, FAMILIES["groupfree"], scenes))


def tiny(rooms: Path, *overrides: str) -> GroupFree:
    torch.manual_seed(0)
    model = build_detector(config_of(rooms, *overrides))
    assert isinstance(model, GroupFree)
    return model


# ---------------------------------------------------------------- configuration


def test_published_training() -> None:
    scannet, sunrgbd = config("scannet"), config("sunrgbd")
    for chosen, points in ((scannet, 50_000), (sunrgbd, 20_000)):
        model, train = chosen.model, chosen.train
        assert (model.num_points, model.layers, model.queries) == (points, 6, 256)
        assert (train.optimizer, train.batch_size, train.repeat) == ("adamw", 32, 1)
        assert (train.clip_norm, train.warmup_iters, train.keep_last) == (0.1, 0, False)
        assert (chosen.augment.sample_fraction, chosen.augment.translation) == ((1.0, 1.0), 0)
    schedules = [
        (c.train.epochs, c.train.milestones, c.train.lr, c.model.decoder_lr, c.train.weight_decay)
        for c in (scannet, sunrgbd)
    ]
    assert schedules == [
        (400, (281, 341), 6e-3, 0.1, 5e-4),
        (600, (421, 481, 541), 4e-3, 0.05, 1e-8),
    ]
    weights = [
        (c.loss.sampling, c.loss.objectness, c.loss.center_delta, c.loss.size_delta,
         c.loss.heading_delta)
        for c in (scannet, sunrgbd)
    ]  # fmt: skip
    assert weights == [(0.8, 0.1, 0.04, 1 / 9, 1.0), (0.2, 0.4, 1 / 9, 0.0625, 0.04)]
    assert (scannet.model.box_size, sunrgbd.model.box_size) == ("class", "metres")
    for c, stages in ((scannet, "last_three"), (sunrgbd, "all")):
        test = c.test
        assert (test.stages, test.min_points, test.labels) == (stages, 5, "every")
        assert (test.nms, test.iou_thr, test.score_thr) == ("3d", 0.25, 0)
    rooms, views = scannet.augment, sunrgbd.augment
    assert (rooms.flip_x, rooms.flip_y, rooms.rotation, rooms.scale) == (0.5, 0.5, 5, (1, 1))
    assert (views.flip_x, views.flip_y, views.rotation, views.scale) == (0.5, 0, 30, (0.85, 1.15))
    assert (rooms.keep_front, views.keep_front) == (False, True)


def test_the_wrong_sizes_of_rotated_boxes_are_learnt_where_results_were_published() -> None:
    targets = {name: config(name).loss.size_target for name in ("sunrgbd", "synthetic_rotated")}
    assert targets == {"sunrgbd": "extent", "synthetic_rotated": "box"}
    assert config("sunrgbd", "loss.size_target=box").loss.size_target == "box"


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("model.levels=[64,128,16,8]", "model.levels"),
        ("model.radii=[0.1,0.2]", "model.radii"),
        ("model.queries=2000", "model.queries"),
        ("model.heads=7", "model.heads"),
    ],
)
def test_values_that_do_not_go_together_are_refused(override: str, field: str) -> None:
    with refuses(Kind.VALUE, field=field):
        config("scannet", override)


def test_the_decoder_has_a_learning_rate_of_its_own(rooms: Path) -> None:
    model = tiny(rooms)
    chosen = config("sunrgbd").train
    optimizer = build_optimizer(model, chosen)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    slow = {n for n, p in model.named_parameters() if rates[id(p)] == pytest.approx(4e-4)}
    assert slow == {n for n, _ in model.named_parameters() if n.startswith("decoder")}
    assert len(rates) == len(list(model.parameters()))
    found = [learning_rate(chosen, 0, epoch, 1) for epoch in (420, 421, 481, 541)]
    assert found == pytest.approx([4e-3, 4e-4, 4e-5, 4e-6])


# ---------------------------------------------------------------- weights and names


@pytest.mark.parametrize(
    ("dataset", "overrides", "keys", "count"),
    [
        ("scannet", [], "groupfree_keys.txt", 14_474_113),
        ("sunrgbd", [], "groupfree_sunrgbd_keys.txt", 14_362_848),
        ("scannet", L12, "groupfree_l12_keys.txt", 27_768_385),
        ("scannet", [*WIDE, "model.queries=512"], "groupfree_w2x_l12_o512_keys.txt", 29_556_609),
    ],
)
def test_weights_are_the_published_ones(
    dataset: str, overrides: list[str], keys: str, count: int
) -> None:
    model = build_detector(config(dataset, *overrides))
    assert sum(p.numel() for p in model.parameters()) == count
    published = shapes_in(shared(f"golden/{keys}"))
    assert shapes_of(with_second_names(model.state_dict())) == published
    names = {CHECKPOINTS.own_name(DDP + name) for name in published} - {None}
    assert names == {*model.state_dict()}


@pytest.mark.parametrize(
    ("dataset", "same"),
    [("scannet", [*WIDE, "model.queries=512"]), ("sunrgbd", []), ("synthetic", [])],
)
def test_the_networks_of_table_1_differ_on_scannet(dataset: str, same: list[str]) -> None:
    start = default_config(dataset)
    found = with_overrides(start, ["model=groupfree_table1"])
    assert found == with_overrides(start, ["model=groupfree", *same])


@pytest.mark.parametrize("overrides", [L12, WIDE], ids=["l12", "w2x"])
def test_the_network_follows_from_its_weights(overrides: list[str]) -> None:
    chosen = config("scannet", *overrides)
    found = CHECKPOINTS.infer(build_detector(chosen).state_dict())
    assert (found.classes, found.rotated) == (18, False)
    again = with_overrides(default_config("scannet"), ["model=groupfree", *found.overrides])
    assert again.model == chosen.model


def test_the_name_in_the_layer_counts(rooms: Path) -> None:
    model = tiny(rooms)
    published = to_published(model.state_dict())
    name = f"{DDP}decoder_cross_posembeds.1.position_embedding_head.0.weight"
    published[name] = torch.zeros_like(published[name])
    own = {CHECKPOINTS.own_name(key): value for key, value in published.items()}
    own.pop(None)
    assert {*own} == {*model.state_dict()}
    assert all(torch.equal(value, own[key]) for key, value in model.state_dict().items())


def test_conversion_to_the_original_and_back(rooms: Path, tmp_path: Path) -> None:
    model = tiny(rooms)
    ours, theirs, back = (tmp_path / name for name in ("a.safetensors", "b.pth", "c.safetensors"))
    write_model(ours, model, config_of(rooms), {"made": "here"})
    main(["convert", str(ours), "--to", "original", "--out", str(theirs)])
    content = torch.load(theirs, weights_only=True)["model"]
    assert shapes_of(content) == shapes_of(to_published(model.state_dict()))
    main(["convert", str(theirs), "--out", str(back)])
    again = sr3d.load(back)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())


# ---------------------------------------------------------------- network


def zero_stage(bins: int, **changes: torch.Tensor) -> Stage:
    shapes = {"objectness": (), "centers": (3,), "headings": (bins,), "heading_offsets": (bins,)}
    shapes |= {"sizes": (3,), "classes": (2,)}
    values = {name: torch.zeros(1, 1, *shape) for name, shape in shapes.items()}
    return Stage(**{**values, **changes})


def test_headings_turn_clockwise_and_sizes_are_positive() -> None:
    bins = HeadingBins(12)
    headings = torch.zeros(1, 1, 12)
    headings[..., 3] = 1  # 90 degrees
    sizes = torch.tensor([[[-1.0, 2.0, 0.5]]])
    offsets = torch.full((1, 1, 12), 0.5)  # a quarter of a bin
    (box,) = zero_stage(12, headings=headings, heading_offsets=offsets, sizes=sizes).boxes(bins)[0]
    assert box[3:6].tolist() == [1, 2, 0.5]
    assert float(box[6]) == pytest.approx(-math.pi / 2 - math.pi / 24)
    signed = torch.cat([box[:3], sizes[0, 0], box[6:]])
    same = torch.cdist(corners(box[None])[0], corners(signed[None])[0]).amin(dim=1)
    assert float(same.max()) < 1e-6
    (upright,) = zero_stage(1, heading_offsets=torch.ones(1, 1, 1)).boxes(HeadingBins(1))[0]
    assert float(upright[6]) == 0


@pytest.mark.parametrize(
    ("layers", "which", "expected"),
    [
        (6, "last", "last"),
        (6, "last_three", "last 4head 3head"),
        (6, "all", "last proposal 0head 1head 2head 3head 4head"),
        (2, "last_three", "last 0head"),
        (1, "last_three", "last"),
    ],
)
def test_stages_of_an_ensemble_in_the_original_s_order(
    layers: int, which: str, expected: str
) -> None:
    named = {name: zero_stage(1) for name in stage_names(layers)}
    found = ensemble(named, which)  # type: ignore[arg-type]
    names = [next(n for n, s in named.items() if s is stage) for stage in found]
    assert " ".join(names) == expected


def test_no_gradient_flows_from_a_stage_to_the_boxes_before_it(rooms: Path) -> None:
    model = tiny(rooms).train()
    found = model(model.inputs([generate_room(0, points=2000)] * 2))
    found.stages["last"].centers.sum().backward()
    for head in (model.proposal_head, model.prediction_heads[0]):
        assert all(p.grad is None for p in head.parameters())
    assert any(p.grad is not None for p in model.backbone_net.parameters())
    assert all(p.grad is None for p in model.points_obj_cls.parameters())


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_every_weight_learns(rooms: Path, precision: torch.dtype | None) -> None:
    model = tiny(rooms).train()
    model.autocast = precision
    losses = batch_losses(model, [generate_room(seed, points=2000) for seed in (0, 1)])
    losses.total.backward()
    assert int(losses.curves["positives"])
    assert all(term.dtype == torch.float32 for term in losses.terms.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    silent = {n for n, p in model.named_parameters() if p.grad is not None and not p.grad.any()}
    # One heading bin has no loss, and a bias before a batch norm has no effect.
    assert all("heading_class_head" in name or name.endswith("bias") for name in silent)


def test_a_step_lowers_the_loss(rooms: Path) -> None:
    model = tiny(rooms, "model.dropout=0").train()
    scenes = [generate_room(seed, points=2000) for seed in (0, 1)]
    optimizer = build_optimizer(model, config("synthetic", "train.warmup_iters=0").train)
    values = [float(train_step(model, scenes, optimizer, 0.1)["loss"]) for _ in range(15)]
    assert values[-1] < 0.9 * values[0]


def test_oriented_boxes_learn_without_instances(rotated_rooms: Path) -> None:
    model = tiny(rotated_rooms).train()
    scene = PreparedDataset(rotated_rooms, "train")[0]
    bare = Scene(scene.id, scene.points, scene.colors, scene.boxes, scene.labels)
    losses = model.loss(
        model(model.inputs([bare, bare])), GroundTruth.of([bare, bare], model.device)
    )
    assert {name for name, term in losses.terms.items() if float(term.detach()) == 0} == set()
    assert "size_class" not in losses.terms


def test_points_in_boxes_can_stand_for_instances(rooms: Path) -> None:
    chosen = config_of(rooms, "assigner.instances=box")
    assert chosen.replaces_instances
    assert not config_of(rooms).replaces_instances
    model = tiny(rooms, "assigner.instances=box")
    scene = PreparedDataset(rooms, "train")[0]
    bare = Scene(scene.id, scene.points, scene.colors, scene.boxes, scene.labels)
    with torch.no_grad():
        first, second = (float(batch_losses(model, [s, s]).total) for s in (scene, bare))
    assert first == second


# ---------------------------------------------------------------- detection


@pytest.mark.parametrize(("stages", "count"), [("last", 12), ("last_three", 24), ("all", 36)])
def test_boxes_that_post_processing_gets(rooms: Path, stages: str, count: int) -> None:
    model = tiny(rooms, f"test.stages={stages}")
    scene = generate_room(0, points=2000)
    (found,) = model.proposals(model(model.inputs([scene])))
    assert len(found.boxes) == count
    assert config_of(rooms, f"test.stages={stages}").candidates == count


@pytest.mark.parametrize("labels", ["every", "best"])
def test_detections_have_our_conventions(rooms: Path, labels: str) -> None:
    model = tiny(rooms, "test.min_points=1", f"test.labels={labels}")
    scene = generate_room(0, points=2000)
    found = model.detect(scene.points, scene.colors)
    assert len(found.labels)
    assert float(found.boxes[:, 3:6].min()) > 0
    if labels == "every":
        assert len(found.labels) % len(model.classes) == 0
    again = model.detect(torch.cat([scene.points, scene.colors], dim=1))
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


def test_raw_outputs_have_the_original_s_names(rooms: Path) -> None:
    model = tiny(rooms)
    scene = generate_room(0, points=2000)
    raw = model.raw_outputs(scene.points, scene.colors)
    classes = len(model.classes)
    assert raw["seed_xyz"].shape == (32, 3)
    assert raw["query_points_sample_inds"].shape == (12,)
    for stage in ("proposal", "0head", "last"):
        assert raw[f"{stage}_objectness_scores"].shape == (12, 1)
        assert raw[f"{stage}_size_residuals_normalized"].shape == (12, classes, 3)
    best = raw["seeds_obj_cls_logits"][raw["query_points_sample_inds"]]
    assert torch.equal(best, best.sort(descending=True).values)


def test_compile_is_refused(rooms: Path) -> None:
    with refuses(Kind.CONFLICT):
        tiny(rooms).compile()


def test_a_run_is_trained_and_evaluated(
    rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    thin = [*PRESETS, *TINY, "train.epochs=1", "train.milestones=[]", "train.batch_size=2"]
    main(["train", "--dataset", "synthetic", "--data", str(rooms), "--out", str(out),
          "--set", *thin])  # fmt: skip
    main(["test", "--run", str(out), "--data", str(rooms), "--out", str(out / "test0")])
    assert "AP25" in capsys.readouterr().out
    assert isinstance(sr3d.load(out), GroupFree)
