"""TR3D + DLLA and FCAF3D + DLLA: names, both phases of training, inference without the matcher."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.detectors import FAMILIES, build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.dlla.config import DLLALoss
from sr3d.detectors.dlla.detector import DLLADetector
from sr3d.detectors.dlla.loss import LocalizedPredictions
from sr3d.detectors.dlla.matcher import Matcher, Noise, as_objects
from sr3d.detectors.dlla.network import decode_mixed
from sr3d.detectors.dlla.scene_table import SceneTable
from sr3d.detectors.infer_config import infer_config, load_model
from sr3d.detectors.weights import read_checkpoint, write_foreign, write_model
from sr3d.errors import Kind
from sr3d.geometry.boxes import Boxes
from sr3d.losses.positives import Positives
from sr3d.train.step import batch_losses
from tests.detectors.published import renamed, thin_detector
from tests.detectors.test_one_definition import assert_alike
from tests.detectors.tiny_families import tiny_detector
from tests.refusals import refuses

BOTH = pytest.mark.parametrize("family", ["tr3d_dlla", "fcaf3d_dlla"])
MATCHES = ("inter", "intra", "denoising")


def tiny(family: str, dataset: str = "synthetic", *overrides: str) -> DLLADetector:
    model = tiny_detector(family, dataset, *overrides)
    assert isinstance(model, DLLADetector)
    return model


def rooms(rotated: bool = False) -> list[Scene]:
    return [generate_room(seed, points=2000, rotated=rotated) for seed in range(2)]


def predicted(model: DLLADetector, scenes: list[Scene]) -> tuple[LocalizedPredictions, GroundTruth]:
    return model(model.inputs(scenes)), GroundTruth.of(scenes, model.device)


# ---------------------------------------------------------------- names


@BOTH
def test_published_names_are_ours_and_back(family: str, tmp_path: Path) -> None:
    config, model = thin_detector(family, "scannet")
    known = FAMILIES[family].checkpoints
    assert known is not None
    (published,) = known.published.values()
    theirs = published.convert(model.state_dict())
    # Weights without use have no name of ours, and are zeros.
    named = {known.own_name(name): name for name in theirs}
    unused = {name for name in theirs if known.own_name(name) is None}
    assert named.keys() - {None} == model.state_dict().keys()
    assert unused
    assert not any(theirs[name].any() for name in unused)
    assert {name for name in unused if "pe_linear" in name} == {
        f"head.pe_linear{i}.{kind}" for i in range(2) for kind in ("weight", "bias")
    }
    expected = renamed(model.state_dict(), f"dlla-{family.split('_')[0]}")
    assert expected.keys() == theirs.keys() - unused
    for name in ("original", "own"):
        path = tmp_path / f"{name}.{'safetensors' if name == 'own' else 'pth'}"
        if name == "own":
            write_model(path, model, config, {})
        else:
            write_foreign(path, model, config, name)
        read = read_checkpoint(path)
        assert read.config == config
        state = load_model(read, infer_config(read)).state_dict()
        assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    torch.save({"state_dict": theirs}, tmp_path / "theirs.pth")
    read = read_checkpoint(tmp_path / "theirs.pth")
    assert read.naming == "liuxinrun/dlla"
    assert infer_config(read) == config


def test_the_width_of_the_matcher_is_a_multiple_of_its_heads() -> None:
    with refuses(Kind.VALUE, field="model.match_channels"):
        with_overrides(default_config("scannet"), ["model=tr3d_dlla", "model.match_channels=6"])


# ---------------------------------------------------------------- boxes


def test_sizes_are_mixed_distances_and_x_may_be_negative() -> None:
    anchors = torch.tensor([[1.0, 2.0, 3.0]])
    reg = torch.tensor([[0.5, -0.9, 0.2, 0.1, 0.3, 0.4]])
    (box,) = decode_mixed(anchors, reg)
    y, *z = reg[0, 3:].exp().tolist()
    expected = [1 - 0.7, 2 + (y - 0.2) / 2, 3 + (z[1] - z[0]) / 2, -0.4, 0.2 + y, sum(z), 0]
    assert box.tolist() == pytest.approx(expected)


# ---------------------------------------------------------------- the matcher


def test_a_scene_is_seen_as_alone_whatever_the_padding() -> None:
    torch.manual_seed(0)
    matcher, objects = Matcher(3, 16), torch.randn(2, 5, 9)
    real = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    both = matcher.queries(objects, real)
    first, other = (matcher.queries(objects[i : i + 1, :n], real[i : i + 1, :n])
                    for i, n in ((0, 5), (1, 2)))  # fmt: skip
    torch.testing.assert_close(both[:1], first)
    torch.testing.assert_close(both[1:, :2], other)
    assert both.isfinite().all()
    assert matcher.queries(objects, real & False).isfinite().all()


def test_tables_of_scenes_keep_rows_in_order() -> None:
    rows, scene = torch.randn(6, 2), torch.tensor([1, 0, 1, 3, 3, 1])
    table = SceneTable.of(scene, 4)
    filled = table.fill(rows)
    assert filled.shape == (4, 3, 2)
    assert torch.equal(filled[1], rows[[0, 2, 5]])
    assert torch.equal(table.rows(filled), rows)
    assert table.real.sum(dim=1).tolist() == [1, 3, 0, 2]
    assert not filled[~table.real].any()
    assert SceneTable.of(scene[:0], 2).real.shape == (2, 1)


def test_noise_is_of_the_size_of_boxes_and_of_some_classes() -> None:
    boxes = torch.tensor([[1.0, 2, 3, 2, 1, 0.5, 0]]).repeat(400, 1)
    labels = torch.full((400,), 2)
    torch.manual_seed(0)
    noise, config = Noise.draw(400, 5, boxes.device), DLLALoss(noise=1.2)
    objects = as_objects(boxes, torch.nn.functional.one_hot(labels, 5).float())
    found = noise.applied(objects, labels, config)
    moved = (found[:, :3] - boxes[:, :3]).abs() / boxes[:, 3:6]
    assert 0.55 < float(moved.max()) <= 0.6
    grown = found[:, 3:6] / boxes[:, 3:6]
    assert float(grown.min()) == 0  # a size is never negative
    assert 2.1 < float(grown.max()) <= 2.2
    # Of 60 % with a random class, a fifth keeps its own.
    assert 0.4 < float((found[:, 6:].argmax(dim=1) != 2).float().mean()) < 0.56
    still = Noise.draw(400, 5, boxes.device).applied(objects, labels, DLLALoss(noise=0))
    assert torch.equal(still, objects)


def test_an_oriented_box_is_the_box_around_it() -> None:
    boxes = torch.tensor([[1.0, 2, 3, 2, 1, 0.5, 0.3]])
    around = Boxes(boxes).enclosing().tensor[:, :6]
    assert torch.equal(
        as_objects(boxes, torch.ones(1, 2)), torch.cat([around, torch.ones(1, 2)], 1)
    )


# ---------------------------------------------------------------- training


@BOTH
@pytest.mark.parametrize("rotated", [False, True])
def test_matches_are_learned_after_the_first_epochs(family: str, rotated: bool) -> None:
    model = tiny(family, "synthetic_rotated" if rotated else "synthetic")
    scenes = rooms(rotated)
    assigned: dict[int, Positives] = {}
    for epoch in (0, 1):
        model.zero_grad()
        model.start_epoch(epoch)
        torch.manual_seed(1)
        found, truth = predicted(model, scenes)
        with patch("sr3d.detectors.dlla.detector.localized_loss") as loss:
            model.loss(found, truth)
            assigned[epoch] = loss.call_args.args[1].positives
        losses = model.loss(found, truth)
        losses.total.backward()
        assert all(bool(losses.terms[name] > 0) == bool(epoch) for name in MATCHES)
        grads = [p.grad for p in model.matcher.parameters()]
        assert all((grad is not None) == bool(epoch) for grad in grads)
    fixed, learned = assigned[0], assigned[1]
    assert torch.equal(fixed.rows, learned.rows)  # no positive comes or goes
    assert not torch.equal(fixed.owner, learned.owner)
    own = truth.scenes[learned.owner]
    assert torch.equal(own, found.anchors.scenes[learned.rows])


@BOTH
def test_a_batch_is_the_mean_of_its_scenes(family: str) -> None:
    model, scenes = tiny(family).eval(), rooms()

    def loss(chosen: list[Scene], noise: Noise) -> dict[str, Tensor]:
        with patch.object(Noise, "draw", return_value=noise), torch.no_grad():
            losses = model.loss(*predicted(model, chosen))
        return dict(losses.terms)

    counts = [len(scene.boxes) for scene in scenes]
    noise = Noise.draw(sum(counts), len(model.classes), model.device)
    parts = zip(*(x.split(counts) for x in vars(noise).values()), strict=True)
    both = loss(scenes, noise)
    alone = [loss([scene], Noise(*part)) for scene, part in zip(scenes, parts, strict=True)]
    for name in ("localization", *MATCHES):
        mean = (alone[0][name] + alone[1][name]) / 2
        torch.testing.assert_close(both[name], mean, rtol=1e-4, atol=1e-6)
    empty = Scene.unlabelled(scenes[0].points, scenes[0].colors)
    with_empty = loss([scenes[1], empty], Noise(*list(zip(
        *(x.split(counts) for x in vars(noise).values()), strict=True))[1]))  # fmt: skip
    for name in MATCHES:
        torch.testing.assert_close(with_empty[name], alone[1][name] / 2, rtol=1e-4, atol=1e-6)


@BOTH
def test_weights_of_zero_switch_losses_off(family: str) -> None:
    terms = ("localization", *MATCHES)
    model = tiny(family, "synthetic", *(f"loss.{name}=0" for name in terms))
    found = batch_losses(model, rooms()).terms
    assert not any(float(found[name].detach()) for name in terms)


# ---------------------------------------------------------------- inference


@BOTH
@torch.no_grad()
def test_inference_has_no_matcher(family: str) -> None:
    model, scene = tiny(family).eval(), rooms()[0]
    runner = model.compile()
    matcher = {name for name, _ in model.matcher.named_parameters()}
    assert not any(name.endswith(tuple(matcher)) for name in runner.network.state_dict())
    with patch.object(Matcher, "queries", side_effect=AssertionError):
        wanted = model.detect(scene.points, scene.colors, floor=0)
    assert_alike(runner.detect(scene.points, scene.colors, floor=0), wanted)
    capacity = runner.capacity_like(scene.points, scene.colors)
    padding = torch.zeros(capacity.points - len(scene.points), 3)
    points, colors = (torch.cat([values, padding]) for values in (scene.points, scene.colors))
    static = runner.static_pass(capacity)(points, colors, torch.tensor(len(scene.points)))
    assert not static.overflow
    assert_alike(static.detections(), wanted)
    assert hasattr(model, "matcher")  # the detector itself keeps it


@BOTH
@torch.no_grad()
def test_scores_are_geometric_means(family: str) -> None:
    model = tiny(family).eval()
    found, _ = predicted(model, rooms()[:1])
    product = found.logits.sigmoid() * found.localization.sigmoid()[:, None]
    torch.testing.assert_close(found.scores, product.sqrt())
    torch.testing.assert_close(
        model.scores(found.logits, found.localization[:, None]), found.scores
    )


@pytest.mark.parametrize(
    ("family", "dataset", "count"),
    [("tr3d_dlla", "scannet", 16_265_689), ("fcaf3d_dlla", "scannet", 75_462_486)],
)
def test_full_networks_have_the_originals_parameters(family: str, dataset: str, count: int) -> None:
    """16,265,721 and 75,462,647 without those that the original never uses: 32 and 161."""
    with torch.device("meta"):
        model = build_detector(with_overrides(default_config(dataset), [f"model={family}"]))
    assert sum(p.numel() for p in model.parameters()) == count
