"""VoteNet as a family: presets, inputs, training step, checkpoints, detection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sr3d
from sr3d.cli import main
from sr3d.data.ground_truth import GroundTruth
from sr3d.data.loader import generator_for
from sr3d.data.prepared import PreparedDataset
from sr3d.data.rooms.generate import generate_room
from sr3d.detectors import FAMILIES, build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.needs import with_needs
from sr3d.detectors.votenet.config import VoteNetConfig
from sr3d.detectors.votenet.detector import VoteNet
from sr3d.errors import InputError, Kind
from sr3d.train.step import batch_losses
from tests.data.older_formats import as_version_2
from tests.family_configs import of_family
from tests.refusals import refused

PRESETS = ["model=votenet", "augment=votenet", "train=votenet"]
# As thin as it gets, with fewer points than a room has.
TINY = [
    "model.num_points=256",
    "model.levels=[64,32,16,8]",
    "model.samples=[8,8,4,4]",
    "model.planes=[8,8,8,8]",
    "model.seed_channels=8",
    "model.proposals=16",
    "model.proposal_channels=8",
]


def config(dataset: str, *overrides: str) -> VoteNetConfig:
    chosen = with_overrides(default_config(dataset), [*PRESETS, *overrides])
    return of_family(VoteNetConfig, chosen)


def tiny(rooms: Path, *overrides: str) -> VoteNet:
    scenes = PreparedDataset(rooms, "train")
    chosen = config(scenes.manifest.dataset, *TINY, *overrides)
    torch.manual_seed(0)
    model = build_detector(with_needs(chosen, FAMILIES["votenet"], scenes))
    assert isinstance(model, VoteNet)
    return model


def test_parameters_are_as_many_as_published() -> None:
    for dataset, count in (("scannet", 953_828), ("sunrgbd", 951_506)):
        model = sr3d.load("votenet", dataset, untrained=True)
        assert sum(p.numel() for p in model.parameters()) == count


def test_published_training() -> None:
    scannet, sunrgbd = config("scannet"), config("sunrgbd")
    for chosen, points in ((scannet, 40_000), (sunrgbd, 20_000)):
        train = chosen.train
        assert chosen.model.num_points == points
        assert (train.epochs, train.milestones, train.batch_size) == (180, (80, 120, 160), 8)
        assert (train.optimizer, train.lr, train.weight_decay) == ("adam", 1e-3, 0)
        assert (train.repeat, train.keep_last, train.clip_norm) == (1, True, 0)
        assert (chosen.augment.sample_fraction, chosen.augment.translation) == ((1.0, 1.0), 0)
    rooms, views = scannet.augment, sunrgbd.augment
    assert (rooms.flip_x, rooms.flip_y, rooms.rotation, rooms.scale) == (0.5, 0.5, 5, (1, 1))
    assert (views.flip_x, views.flip_y, views.rotation, views.scale) == (0.5, 0, 30, (0.85, 1.15))
    assert (scannet.loss.vote_centre, sunrgbd.loss.vote_centre) == ("extent", "box")


def test_the_momentum_of_norms_halves_every_20_epochs() -> None:
    model = sr3d.load("votenet", "scannet", untrained=True)
    norm = model.get_submodule("backbone_net.sa1.mlp_module.layer0.bn.bn")
    momenta = []
    for epoch in (0, 19, 20, 45, 179, 400):
        model.start_epoch(epoch)
        momenta.append(norm.momentum)
    assert momenta == [0.5, 0.5, 0.25, 0.125, 0.5 / 2**8, 0.001]


def test_levels_must_fall_and_be_four() -> None:
    for override, field in (
        ("model.levels=[64,128,16,8]", "model.levels"),
        ("model.radii=[0.1,0.2]", "model.radii"),
        ("loss.far=0.1", "loss.far"),
    ):
        with pytest.raises(InputError) as error:
            config("scannet", override)
        assert (error.value.field, error.value.kind) == (field, Kind.VALUE)


def test_points_are_drawn_by_the_generator(rooms: Path) -> None:
    model = tiny(rooms)
    scene = generate_room(0, points=2000)
    first, again, other = (
        model.inputs([scene], [generator_for(seed)]).points for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(model.inputs([scene]).points, model.inputs([scene]).points)
    assert model.input_size(model.inputs([scene, scene])) == 2 * 256


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_every_weight_learns(rooms: Path, precision: torch.dtype | None) -> None:
    model = tiny(rooms, "loss.near=2.0", "loss.far=3.0").train()
    model.autocast = precision
    scenes = [generate_room(seed, points=2000) for seed in (0, 1)]
    losses = batch_losses(model, scenes)
    losses.total.backward()
    assert int(losses.curves["positives"])
    # One heading bin has no loss of its class, and the offset of an upright box is always zero.
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    silent = {name for name, p in model.named_parameters() if not bool(p.grad.any())}  # type: ignore[union-attr]
    # A bias before a batch norm has no effect.
    assert silent <= {f"{m}.conv{i}.bias" for m in ("vgen", "pnet") for i in (1, 2)}


def test_oriented_boxes_learn_without_instances(rotated_rooms: Path) -> None:
    model = tiny(rotated_rooms, "loss.near=2.0", "loss.far=3.0").train()
    bare = replace(PreparedDataset(rotated_rooms, "train")[0], instance=None)
    predictions = model(model.inputs([bare]))
    losses = model.loss(predictions, GroundTruth.of([bare], model.device))
    assert {name for name, term in losses.terms.items() if float(term.detach()) == 0} == set()


def test_points_in_boxes_can_stand_for_instances(rooms: Path, tmp_path: Path) -> None:
    old = PreparedDataset(as_version_2(rooms, tmp_path / "old"), "train")
    family = FAMILIES["votenet"]
    with pytest.raises(InputError) as error:
        with_needs(config("synthetic", *TINY), family, old)
    assert (error.value.field, error.value.kind) == ("model.name", Kind.MISSING)
    chosen = with_needs(config("synthetic", *TINY, "loss.vote_points=box"), family, old)
    model, scene = build_detector(chosen), generate_room(0, points=2000)
    losses = [
        model.loss(model(model.inputs([one])), GroundTruth.of([one], model.device)).terms["vote"]
        for one in (scene, replace(scene, instance=None))
    ]
    assert torch.equal(*losses)


def test_detections_have_our_conventions(rooms: Path) -> None:
    model = tiny(rooms, "test.score_thr=0", "test.min_points=0")
    scene = generate_room(0, points=2000)
    found = model.detect(scene.points, scene.colors)
    assert len(found.labels)
    assert float(found.boxes[:, 3:6].min()) > 0
    for label in found.labels.unique():
        scores = found.scores[found.labels == label]
        assert torch.equal(scores, scores.sort(descending=True).values)
    again = model.detect(torch.cat([scene.points, scene.colors], dim=1))
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    raw = model.raw_outputs(scene.points, scene.colors)
    assert raw["objectness_scores"].shape == (16, 2)
    assert raw["size_residuals_normalized"].shape == (16, len(model.classes), 3)


def test_a_scan_with_fewer_points_than_the_network_takes(rooms: Path) -> None:
    model = tiny(rooms, "test.min_points=0", "test.score_thr=0")
    scene = generate_room(0, points=100)
    assert len(model.detect(scene.points, scene.colors).labels)
    points = model.inputs([scene]).points[0]
    assert (points[:, None] == scene.points).all(dim=-1).any(dim=1).all()


# ------------------------------------------------------------------------------- checkpoints


def published_file(path: Path, dataset: str, prefix: str = "") -> dict[str, Any]:
    """As facebookresearch/votenet's train.py writes it."""
    model = sr3d.load("votenet", dataset, untrained=True)
    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({"epoch": 3, "loss": torch.tensor(1.0), "model_state_dict": state}, path)
    return model.state_dict()


@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_published_checkpoint_is_recognised(tmp_path: Path, dataset: str, prefix: str) -> None:
    path = tmp_path / "checkpoint.tar"
    state = published_file(path, dataset, prefix)
    for model in (sr3d.load(path), sr3d.load("votenet", dataset, path)):
        assert isinstance(model, VoteNet)
        assert model.dataset.name == dataset
        assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())


def test_conversion_there_and_back(tmp_path: Path) -> None:
    given, ours, back = (tmp_path / name for name in ("a.tar", "b.safetensors", "c.pth"))
    state = published_file(given, "scannet")
    main(["convert", str(given), "--out", str(ours)])
    main(["convert", str(ours), "--to", "original", "--out", str(back)])
    written = torch.load(back, weights_only=True)["model_state_dict"]
    assert list(written) == list(state)
    assert all(torch.equal(written[name], value) for name, value in state.items())


def test_other_formats_are_refused(tmp_path: Path) -> None:
    given = tmp_path / "a.tar"
    published_file(given, "scannet")
    out = str(tmp_path / "b.pth")
    error = refused(["convert", str(given), "--to", "samsung", "--out", out])
    assert error.field == "--to"
    assert not Path(out).exists()


def test_inference_runners_refuse_it(rooms: Path) -> None:
    with pytest.raises(InputError) as error:
        tiny(rooms).compile()
    assert error.value.kind == Kind.CONFLICT
