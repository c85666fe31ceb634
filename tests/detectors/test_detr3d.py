"""3DETR: parts of its network, its published values, checkpoints, and a training run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import sr3d
from sr3d.config import Config
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.detectors import build_detector
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.pointnet2 import PointSet
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.detr3d.boxes import decode
from sr3d.detectors.detr3d.config import DETR3DConfig, DETR3DModel
from sr3d.detectors.detr3d.detector import DETR3D
from sr3d.detectors.detr3d.network import Extent, FourierEmbedding, PointEncoder, RawOutputs
from sr3d.detectors.detr3d.transformer import Attention
from sr3d.detectors.weights import write_foreign, write_model
from sr3d.errors import InputError, Kind
from sr3d.runs.record import read_metrics
from sr3d.train.loop import TrainingJob
from sr3d.train.precision import network_precision
from sr3d.train.step import batch_losses
from sr3d.train.training import train
from tests.evaluating import evaluate
from tests.family_configs import of_family
from tests.interruptions import interrupt

SMALL = [
    "model=3detr_small",
    "model.num_points=400",
    "model.seeds=32",
    "model.queries=8",
    "model.channels=16",
    "model.decoder_layers=2",
]


def small(dataset: str = "synthetic", *overrides: str) -> DETR3DConfig:
    return of_family(DETR3DConfig, with_overrides(default_config(dataset), [*SMALL, *overrides]))


def built(config: Config) -> DETR3D:
    torch.manual_seed(0)
    model = build_detector(config)
    assert isinstance(model, DETR3D)
    return model


# ---------------------------------------------------------------- parts of the network


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_that_of_pytorch(masked: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = Attention(32, 4, 0.0), nn.MultiheadAttention(32, 4, batch_first=True)
    assert {*ours.state_dict()} == {*theirs.state_dict()}
    nn.init.normal_(ours.in_proj_bias)
    theirs.load_state_dict(ours.state_dict())
    queries, keys, values = torch.randn(2, 5, 32), torch.randn(2, 9, 32), torch.randn(2, 9, 32)
    allowed = torch.rand(2, 5, 9) > 0.5
    allowed[:, :, 0] = True
    mask = (~allowed).repeat_interleave(4, dim=0) if masked else None
    expected, _ = theirs(queries, keys, values, attn_mask=mask)
    found = ours(queries, keys, values, allowed if masked else None)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("squared", "reach"), [(True, 0.16), (False, 0.4)])
def test_points_of_the_masked_encoder_see_neighbours_only(squared: bool, reach: float) -> None:
    torch.manual_seed(0)
    config = DETR3DModel(channels=16, seeds=40, squared_radii=squared)
    encoder, seen = PointEncoder(config).eval(), []
    for layer in encoder.layers:
        layer.register_forward_pre_hook(lambda _, args: seen.append(args[1][0]))
    points = torch.rand(1, 40, 3)
    found = encoder(PointSet(points, torch.randn(1, 16, 40), torch.arange(40)[None] + 7))
    distance = (points[0, :, None] - points[0, None]).norm(dim=2)
    assert torch.equal(seen[0], distance < reach)
    assert [len(mask) for mask in seen] == [40, 20, 20]
    assert found.points.shape == (1, 20, 3)
    assert torch.equal(points[0, found.index[0] - 7], found.points[0])
    vanilla = PointEncoder(DETR3DModel(channels=16, seeds=40, encoder="vanilla")).eval()
    seeds = PointSet(points, torch.randn(1, 16, 40), torch.arange(40)[None])
    assert vanilla(seeds).points is points


def test_positions_are_embedded_relative_to_the_cloud() -> None:
    torch.manual_seed(0)
    embedding = FourierEmbedding(16)
    points = torch.rand(2, 30, 3) * 3
    found = embedding(points, Extent.of(points))
    moved = points * 2 + torch.tensor([5.0, -3, 1])
    torch.testing.assert_close(embedding(moved, Extent.of(moved)), found, atol=1e-3, rtol=0)
    torch.testing.assert_close(found[:, :8] ** 2 + found[:, 8:] ** 2, torch.ones(2, 8, 30))
    flat = points * torch.tensor([1.0, 1, 0])
    assert embedding(flat, Extent.of(flat)).isfinite().all()


def test_boxes_are_decoded_within_reach_of_their_queries() -> None:
    g = torch.Generator().manual_seed(0)
    raw = RawOutputs(
        torch.zeros(1, 1, 5, 3), torch.randn(1, 1, 5, 3, generator=g) * 9,
        torch.randn(1, 1, 5, 3, generator=g) * 9, torch.randn(1, 1, 5, 12, generator=g),
        torch.randn(1, 1, 5, 12, generator=g),
    )  # fmt: skip
    extent = Extent(torch.zeros(1, 3), torch.tensor([[4.0, 5.0, 0.02]]))
    queries = torch.rand(1, 5, 3, generator=g)
    (boxes,) = decode(raw, queries, extent, HeadingBins(12))[0]
    assert float((boxes[:, :3] - queries[0]).abs().max()) <= 0.5
    assert (boxes[:, 3:6] <= torch.tensor([4.0, 5.0, 0.1])).all()
    bins = raw.heading_logits[0, 0].argmax(dim=1)
    heading = (2 * bins + raw.heading_residual[0, 0, range(5), bins]) * torch.pi / 12
    torch.testing.assert_close(torch.cos(-boxes[:, 6]), torch.cos(heading))
    torch.testing.assert_close(torch.sin(-boxes[:, 6]), torch.sin(heading), atol=1e-6, rtol=0)
    upright = raw._replace(heading_logits=raw.heading_logits[..., :1])
    assert (decode(upright, queries, extent, HeadingBins(1))[..., 6] == 0).all()


def test_layers_begin_with_different_matrices_and_equal_biases() -> None:
    """As the original, which copies a layer and draws its matrices again."""
    model = built(small())
    for layers in (model.encoder.layers, model.decoder.layers):
        one, other = (layer.get_submodule("linear1") for layer in layers[:2])
        assert isinstance(one, nn.Linear)
        assert isinstance(other, nn.Linear)
        assert torch.equal(one.bias, other.bias)
        assert not torch.equal(one.weight, other.weight)
        bound = (6 / sum(one.weight.shape)) ** 0.5
        assert 0.8 * bound < float(one.weight.detach().abs().max()) <= bound


# ---------------------------------------------------------------- published values

PUBLISHED = {
    # encoder dropout, queries, points, bins, cls, background, giou, costs, lr
    ("3detr_m", "scannet"): (0.3, 256, 40_000, 1.0, 0.25, 1.0, (1, 0, 0, 2), 5e-4),
    ("3detr", "scannet"): (0.1, 256, 40_000, 1.0, 0.25, 1.0, (1, 0, 0, 2), 5e-4),
    ("3detr_m", "sunrgbd"): (0.1, 128, 20_000, 0.8, 0.1, 0.0, (1, 5, 5, 3), 7e-4),
    ("3detr", "sunrgbd"): (0.1, 128, 20_000, 1.0, 0.1, 0.0, (1, 5, 5, 3), 7e-4),
}


@pytest.mark.parametrize(("name", "dataset"), PUBLISHED)
def test_presets_are_the_published_scripts(name: str, dataset: str) -> None:
    overrides = [f"model={name}", "train=3detr", "augment=3detr"]
    c = of_family(DETR3DConfig, with_overrides(default_config(dataset), overrides))
    found = (
        c.model.encoder_dropout, c.model.queries, c.model.num_points, c.loss.cls_weight,
        c.loss.background_weight, c.loss.giou_weight,
        (c.assigner.cls_cost, c.assigner.objectness_cost, c.assigner.center_cost,
         c.assigner.giou_cost), c.train.lr,
    )  # fmt: skip
    assert found == PUBLISHED[name, dataset]
    assert c.model.encoder == ("masked" if name == "3detr_m" else "vanilla")
    loss, t = c.loss, c.train
    weights = (loss.heading_cls_weight, loss.heading_reg_weight, loss.center_weight)
    assert (*weights, loss.size_weight, loss.rotated_giou) == (0.1, 0.5, 5, 1, "legacy")
    assert (t.epochs, t.batch_size, t.repeat, t.keep_last) == (1080, 8, 1, True)
    assert (t.optimizer, t.weight_decay, t.clip_norm) == ("adamw", 0.1, 0.1)
    assert (t.schedule, t.schedule_by, t.warmup_epochs) == ("cosine", "step", 9)
    assert (t.warmup_start_lr, t.min_lr) == (1e-6, 1e-6)
    assert (c.test.nms, c.test.iou_thr, c.test.score_thr) == ("3d", 0.25, 0.05)
    assert (c.test.min_points, c.test.keep_best, c.test.labels) == (5, True, "every")
    a = c.augment
    assert (a.sample_count, a.sample_replace, a.crop_points) == (50_000, "never", 30_000)
    rooms = (a.rotation, a.scale, a.flip_y, a.crop, a.crop_aspect, a.crop_when)
    assert rooms == (
        (5, (1, 1), 0.5, (0.5, 1), 0.8, "sampled")
        if dataset == "scannet"
        else (30, (0.85, 1.15), 0, (0.75, 1), 0.75, "moved")
    )
    assert (a.flip_x, a.translation, a.keep_front) == (0.5, 0, dataset == "sunrgbd")


@pytest.mark.parametrize(
    ("name", "dataset", "parameters"),
    [
        ("3detr_m", "scannet", 7_438_555),
        ("3detr_m", "sunrgbd", 7_442_153),
        ("3detr", "scannet", 7_305_691),
        ("3detr", "sunrgbd", 7_309_289),
    ],
)
def test_parameters_are_as_many_as_the_originals(name: str, dataset: str, parameters: int) -> None:
    with torch.device("meta"):
        model = build_detector(with_overrides(default_config(dataset), [f"model={name}"]))
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("model.channels=18", "model.channels"),
        ("model.queries=17", "model.queries"),
        ("model.seeds=401", "model.seeds"),
    ],
)
def test_widths_that_do_not_fit_are_refused(override: str, field: str) -> None:
    with pytest.raises(InputError) as error:
        small("synthetic", override)
    assert (error.value.kind, error.value.field) == (Kind.VALUE, field)
    assert small("synthetic", "model.encoder=vanilla", "model.queries=17").candidates == 17


# ---------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("encoder", ["masked", "vanilla"])
@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
def test_checkpoints_of_the_original_load_and_come_back(
    encoder: str, dataset: str, tmp_path: Path
) -> None:
    config = small(dataset, f"model.encoder={encoder}")
    model = built(config)
    theirs = {f"module.{name}": value for name, value in model.state_dict().items()}
    extra = {"optimizer": {"state": {}}, "epoch": 1079, "best_val_metrics": {"mAP": 65.0}}
    torch.save({"model": theirs, **extra}, tmp_path / "checkpoint_best.pth")
    loaded = sr3d.load("3detr", checkpoint=tmp_path / "checkpoint_best.pth")
    assert isinstance(loaded, DETR3D)
    found, expected = loaded.config, config.model
    for name in ("encoder", "channels", "encoder_hidden", "decoder_hidden", "decoder_layers"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.queries == (256 if dataset == "scannet" else 128)

    write_foreign(tmp_path / "ours.pth", model, config, "original")
    write_model(tmp_path / "ours.safetensors", model, config, {})
    content = torch.load(tmp_path / "ours.pth", weights_only=True)
    assert {*content["model"]} == {*model.state_dict()}
    for name in ("ours.pth", "ours.safetensors"):
        again = sr3d.load(tmp_path / name)
        assert again.config == config.model
        for key, value in again.state_dict().items():
            assert torch.equal(value, model.state_dict()[key])


# ---------------------------------------------------------------- detection and training


def test_detection_is_deterministic(rooms: Path) -> None:
    model = built(small("synthetic", "test.score_thr=0.0"))
    scene = PreparedDataset(rooms, "val")[0]
    found = model.detect(scene.points, scene.colors)
    assert len(found.labels) % len(model.classes) == 0
    assert len(found.labels)
    again = model.detect(scene.points, scene.colors)
    assert torch.equal(found.boxes, again.boxes)
    raw = model.raw_outputs(scene.points, scene.colors)
    names = ("sem_cls_logits", "center_unnormalized", "size_normalized", "angle_logits")
    for i in range(2):
        for name in (*names, "angle_residual_normalized"):
            assert len(raw[f"layer{i}_{name}"]) == 8
    assert model.input_size(model.inputs([scene, scene])) == 800
    assert set(model.stages().values()) == {"backbone", "neck", "head"}
    assert set(model.stages()) <= {name for name, _ in model.named_modules()}


def test_precision_of_products_may_be_bf16(rooms: Path) -> None:
    model = built(small()).train()
    scenes = [PreparedDataset(rooms, "train")[i] for i in range(2)]
    with network_precision(model, "bf16"):
        losses = batch_losses(model, scenes)
    assert losses.total.dtype == torch.float32
    losses.total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(gradients) == len([*model.parameters()])
    assert all(bool(g.isfinite().all()) for g in gradients)


TRAIN = ["train=3detr", "augment=3detr", "train.epochs=2", "train.batch_size=2",
         "train.warmup_epochs=1"]  # fmt: skip


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
def test_a_training_run_and_its_evaluation(
    dataset: str, rooms: Path, rotated_rooms: Path, tmp_path: Path
) -> None:
    """Also resumed after each step: dropout draws the same."""
    data = rooms if dataset == "synthetic" else rotated_rooms
    config = small(dataset, *TRAIN, "model.encoder_dropout=0.3")

    def job(out: str) -> TrainingJob:
        return TrainingJob(config, [], data, tmp_path / out, "3detr_m", index=0)

    train(job("run"))
    curve = read_metrics(tmp_path / "run/metrics.jsonl")
    terms = {"cls", "heading_cls", "heading_reg", "center", "size"}
    terms |= {"giou"} if dataset == "synthetic" else set()
    assert {name for name in curve[0] if name.startswith("loss_")} == {f"loss_{t}" for t in terms}
    assert all(row["positives"] > 0 for row in curve)

    interrupt(job("stopped"), 2)
    train(job("stopped"))
    one, other = (load_file(tmp_path / x / "model.safetensors") for x in ("run", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)

    found = evaluate(tmp_path / "run", data, tmp_path / "test", index=0)
    assert 0 <= found.metrics["AP50"] <= found.metrics["AP25"] <= 100
    model = sr3d.load(str(tmp_path / "run"))
    scene = PreparedDataset(data, "val")[0]
    assert model.detect(scene.points, scene.colors).boxes.shape[1] == 7


def test_the_generator_decides_which_points_training_sees() -> None:
    model = built(small())
    scene = Scene.unlabelled(torch.rand(900, 3), torch.rand(900, 3))

    def drawn(seed: int) -> torch.Tensor:
        return model.inputs([scene], [torch.Generator().manual_seed(seed)]).points

    assert drawn(0).shape == (1, 400, 3)
    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))
