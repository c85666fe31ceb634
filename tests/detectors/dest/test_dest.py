"""DEST as a family: presets, names, decoder layers, training steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import softplus

import sr3d
from sr3d.cli import main
from sr3d.config import Config
from sr3d.data.rooms.generate import generate_room
from sr3d.detectors import FAMILIES, build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.dest.config import DESTConfig
from sr3d.detectors.dest.detector import DEST
from sr3d.detectors.dest.issm import InterStateScan
from sr3d.detectors.dest.names import CHECKPOINTS
from sr3d.detectors.dest.network import DropPath, GatedFeedForward
from sr3d.detectors.groupfree.names import DDP, to_published, with_second_names
from sr3d.detectors.weights import write_model
from sr3d.train.schedule import build_optimizer
from sr3d.train.step import batch_losses, train_step
from tests.detectors.golden.weights import shapes_in, shapes_of
from tests.detectors.tiny_families import tiny_config, tiny_detector
from tests.family_configs import of_family
from tests.shared_data import shared

PRESETS = ["model=dest", "augment=dest", "train=dest"]
L12 = ["model.layers=12", "model.queries=512"]
ONE_DIRECTION = ["model.bidirectional=false"]
# Of the last layer: nothing needs what seeds have read from the queries there.
SILENT = {f"decoder.1.ISSM_scan.{name}" for name in ("D", "key_norm.weight", "out_key_proj.weight")}


def config(dataset: str, *overrides: str) -> DESTConfig:
    chosen = with_overrides(default_config(dataset), [*PRESETS, *overrides])
    return of_family(DESTConfig, chosen)


def tiny(*overrides: str) -> DEST:
    model = tiny_detector("dest", "synthetic", *overrides)
    assert isinstance(model, DEST)
    return model


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd", "synthetic"])
def test_all_but_the_decoder_is_group_free_s(dataset: str) -> None:
    """No training of DEST is published."""
    words = [word.replace("dest", "groupfree") for word in PRESETS]
    theirs = with_overrides(default_config(dataset), words)

    def values(chosen: Config) -> dict[str, object]:
        named = {"model.name", "model.bidirectional"}
        return {key: value for key, value in chosen.flat().items() if key not in named}

    assert values(config(dataset)) == values(theirs)
    assert config(dataset).model.bidirectional


# ---------------------------------------------------------------- weights and names


@pytest.mark.parametrize(
    ("overrides", "count"),
    [([], 20_353_201), (ONE_DIRECTION, 20_339_281), (L12, 39_779_713)],
)
def test_parameters_are_as_many_as_counted(overrides: list[str], count: int) -> None:
    model = build_detector(config("scannet", *overrides))
    assert sum(p.numel() for p in model.parameters()) == count


def test_names_and_shapes_are_the_original_s() -> None:
    published = shapes_in(shared("golden/dest_keys.txt"))
    model = build_detector(config("scannet"))
    assert shapes_of(with_second_names(model.state_dict())) == published
    names = {CHECKPOINTS.own_name(DDP + name) for name in published} - {None}
    assert names == {*model.state_dict()}


@pytest.mark.parametrize("overrides", [[], ONE_DIRECTION, ["model.layers=2", "model.heads=4"]])
def test_the_network_follows_from_its_weights(overrides: list[str]) -> None:
    chosen = config("scannet", *overrides)
    found = CHECKPOINTS.infer(build_detector(chosen).state_dict())
    assert (found.classes, found.rotated) == (18, False)
    again = with_overrides(default_config("scannet"), ["model=dest", *found.overrides])
    assert again.model == chosen.model


@pytest.mark.parametrize("family", ["dest", "groupfree"])
def test_weights_belong_to_one_family(family: str) -> None:
    names = tiny_detector(family).state_dict()
    formats = {name: FAMILIES[name].checkpoints for name in ("dest", "groupfree")}
    found = [name for name, each in formats.items() if each and each.recognises(names)]
    assert found == [family]


def test_conversion_to_the_original_and_back(tmp_path: Path) -> None:
    model = tiny()
    ours, theirs, back = (tmp_path / name for name in ("a.safetensors", "b.pth", "c.safetensors"))
    write_model(ours, model, tiny_config("dest"), {"made": "here"})
    main(["convert", str(ours), "--to", "original", "--out", str(theirs)])
    content = torch.load(theirs, weights_only=True)["model"]
    assert shapes_of(content) == shapes_of(to_published(model.state_dict()))
    main(["convert", str(theirs), "--out", str(back)])
    again = sr3d.load(back)
    assert isinstance(again, DEST)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())


# ---------------------------------------------------------------- decoder


@pytest.mark.parametrize("layer", [0, 1])
@torch.no_grad()
def test_seeds_come_back_in_their_own_order(layer: int) -> None:
    """So the order of the seeds before a layer does not matter."""
    model = tiny().eval()
    torch.manual_seed(1)
    query, key = torch.randn(2, 16, 12), torch.randn(2, 16, 32)
    places, seeds = torch.rand(2, 12, 6), torch.rand(2, 32, 3) * 4
    order = torch.randperm(32)
    wanted, keys = model.refined(layer, query, key, places, seeds)
    found, mixed = model.refined(layer, query, key[..., order], places, seeds[:, order])
    assert torch.allclose(found, wanted, atol=1e-5)
    assert torch.allclose(mixed, keys[..., order], atol=1e-5)


@torch.no_grad()
def test_a_scan_in_one_direction_tells_seeds_nothing_of_those_behind() -> None:
    """But for the convolution, which sees three seeds ahead."""
    torch.manual_seed(0)
    places, seeds, query = torch.rand(1, 5, 6), torch.rand(1, 40, 3), torch.randn(1, 5, 16)
    changed = []
    for both in (False, True):
        scan = InterStateScan(16, 4, both).eval()
        key = torch.randn(1, 40, 16)
        other = key.clone()
        other[0, 20] += 1
        table = torch.randn(10, 10, 10, 16)
        first, second = (scan(k, query, table, seeds, places)[0] for k in (key, other))
        changed.append((first - second).abs().amax(dim=2)[0] > 1e-7)
    assert not changed[0][:17].any()
    assert changed[0][17:].all()
    assert changed[1].all()


def test_the_first_steps_are_those_of_the_original() -> None:
    scan = InterStateScan(64, 64, True)
    steps = softplus(scan.dt_bias.detach())
    assert 1e-4 * (1 - 1e-3) <= float(steps.min()) < float(steps.max()) <= 0.1 * (1 + 1e-3)
    rates = scan.A_log.detach().exp()
    assert 1 <= float(rates.min()) < float(rates.max()) <= 16


@torch.no_grad()
def test_only_seeds_in_a_scan_see_their_neighbours() -> None:
    x = torch.randn(1, 8, 20)
    other = x.clone()
    other[..., 10] += 1
    for scan, reach in ((False, 0), (True, 3)):
        network = GatedFeedForward(8, 16, 0.0, scan=scan)
        changed = (network(x) != network(other)).any(dim=1)[0].nonzero().squeeze(1)
        assert changed.tolist() == [*range(10 - reach, 11 + reach)]


def test_a_branch_is_dropped_of_whole_scenes() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    found = drop(torch.ones(400, 3, 2))
    each = found.flatten(1)
    assert bool((each == each[:, :1]).all())
    assert each.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(found.mean()) == pytest.approx(1, abs=0.1)
    assert torch.equal(drop.eval()(found), found)


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_every_weight_learns(precision: torch.dtype | None) -> None:
    model = tiny("model.layers=2").train()
    model.autocast = precision
    losses = batch_losses(model, [generate_room(seed, points=2000) for seed in (0, 1)])
    losses.total.backward()
    named = dict(model.named_parameters())
    assert {name for name, p in named.items() if p.grad is None} == SILENT
    grads = {name: p.grad for name, p in named.items() if p.grad is not None}
    assert all(bool(grad.isfinite().all()) for grad in grads.values())
    silent = {name for name, grad in grads.items() if not grad.any()}
    # One heading bin has no loss, and a bias before a batch norm has no effect.
    assert all("heading_class_head" in name or name.endswith("bias") for name in silent)


def test_a_step_lowers_the_loss() -> None:
    model = tiny("model.dropout=0").train()
    scenes = [generate_room(seed, points=2000) for seed in (0, 1)]
    optimizer = build_optimizer(model, config("synthetic", "train.warmup_iters=0").train)
    values = [float(train_step(model, scenes, optimizer, 0.1)["loss"]) for _ in range(15)]
    assert values[-1] < 0.9 * values[0]
