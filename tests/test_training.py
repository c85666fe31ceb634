"""Training and testing end to end on a few small rooms: same bits, resume, honest failures."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import sr3d
from sr3d.config import Config, TrainConfig
from sr3d.data.datasets import get_dataset
from sr3d.data.loader import epoch_batches
from sr3d.data.prepared import PreparedDataset, PreparedWriter, read_manifest
from sr3d.data.scene import Scene
from sr3d.detectors import build_detector
from sr3d.detectors.base import Detector
from sr3d.detectors.configuration import default_config, preset_names, with_overrides
from sr3d.errors import InputError, Kind
from sr3d.evaluate.average_precision import average_precision
from sr3d.evaluate.scored_files import read_scored
from sr3d.geometry.boxes import Boxes
from sr3d.runs.files import exclusive
from sr3d.runs.record import read_metrics, read_run
from sr3d.train import loop, step
from sr3d.train.checkpoint import CHECKPOINT_FILES
from sr3d.train.loop import PARTIAL_METRICS_FILE, TrainingJob, TrainingRun
from sr3d.train.schedule import build_optimizer, learning_rate, set_learning_rate
from sr3d.train.training import train
from tests.evaluating import evaluate
from tests.refusals import refuses

TINY = [
    "model.voxel_size=0.16",
    "model.stem_channels=8",
    "model.planes=[8,8,8,8]",
    "model.neck_channels=8",
    "train.epochs=2",
    "train.milestones=[1]",
    "train.batch_size=2",
    "train.repeat=2",
    "test.sample_count=3000",
]


def tiny(dataset: str = "synthetic", *overrides: str) -> Config:
    """Presets among the overrides come first, as they must."""
    groups = preset_names()
    ordered = sorted([*TINY, *overrides], key=lambda one: one.partition("=")[0] not in groups)
    return with_overrides(default_config(dataset), ordered)


def job(data: Path, out: Path, config: Config | None = None, index: int = 0) -> TrainingJob:
    return TrainingJob(config or tiny(), TINY, data, out, setting="sr3d", index=index)


def same_bits(one: Path, other: Path) -> bool:
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def trained(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    train(job(rooms, out))
    return out


def test_a_training_leaves_its_record_curve_and_weights(trained: Path, rooms: Path) -> None:
    record = read_run(trained)
    assert (record.kind, record.key) == ("train", "synthetic/sr3d/train0")
    assert record.config == tiny().to_dict()
    assert record.data["scenes"] == 6
    assert record.files.keys() == {"model.safetensors", "metrics.jsonl"}
    curve = read_metrics(trained / "metrics.jsonl")
    assert [row["step"] for row in curve] == list(range(1, 13))  # 6 scenes x 2 / 2 x 2 epochs
    assert curve[-1]["steps"] == 12
    assert all(0 <= row["aic"] <= 1 for row in curve)
    assert {"loss", "loss_cls", "loss_box", "lr", "positives", "grad_norm"} <= curve[0].keys()
    aic = [[row["aic"] for row in curve if row["epoch"] == epoch] for epoch in range(2)]
    assert record.metrics["epochs"]["AIC"] == pytest.approx([np.mean(a) for a in aic], abs=1e-6)
    assert 0 < record.timings["seconds_per_epoch"] * 2 <= record.wall_seconds
    left = {path.name for path in trained.iterdir()}
    assert left.isdisjoint({*CHECKPOINT_FILES, PARTIAL_METRICS_FILE})
    assert "resumed" not in record.code


def test_same_seed_same_bits_and_another_index_other_bits(
    trained: Path, rooms: Path, tmp_path: Path
) -> None:
    train(job(rooms, tmp_path / "again"))
    assert same_bits(trained, tmp_path / "again")
    assert (trained / "metrics.jsonl").read_text() == (tmp_path / "again/metrics.jsonl").read_text()
    train(job(rooms, tmp_path / "other", index=1))
    assert not same_bits(trained, tmp_path / "other")


def test_a_test_is_seeded_by_its_index(trained: Path, rooms: Path, tmp_path: Path) -> None:
    first = evaluate(trained, rooms, tmp_path / "a", index=0)
    again = evaluate(trained, rooms, tmp_path / "b", index=0)
    other = evaluate(trained, rooms, tmp_path / "c", index=1)
    assert first.metrics == again.metrics
    assert first.key == "synthetic/sr3d/train0/test0"
    assert 0 <= first.metrics["AP50"] <= first.metrics["AP25"] <= 100
    a, c = (np.load(tmp_path / name / "detections.npz") for name in "ac")
    assert a["box"].shape == (len(a["scene"]), 7)
    assert not np.array_equal(a["score"], c["score"])
    assert first.seeds["test"] != other.seeds["test"]


def test_a_test_keeps_what_reports_need(trained: Path, rooms: Path, tmp_path: Path) -> None:
    record = evaluate(trained, rooms, tmp_path, index=0)
    scored = read_scored(tmp_path / "detections.npz")
    dataset = get_dataset("synthetic")
    again = average_precision(scored.truth, scored.detections, dataset.classes, rotated=False)
    assert {name: record.metrics[name] for name in ("AP25", "AP50")} == {
        name: again[name] for name in ("AP25", "AP50")
    }
    assert scored.truth.scenes == scored.detections.scenes
    assert len(scored.truth) > 0
    assert record.metrics["PCE"] == record.metrics["consistency"]["mean"]
    assert record.timings["latency_ms"] > 0
    assert record.tests_of is None


def test_oracles_test_a_training_under_a_name_of_their_own(
    trained: Path, rooms: Path, tmp_path: Path
) -> None:
    plain = evaluate(trained, rooms, tmp_path / "plain", index=0)
    records = {}
    for oracle in ("iou", "centerness"):
        for foreground in ("assigned", "inside"):
            overrides = [f"test.oracle={oracle}", f"test.foreground={foreground}"]
            name = f"{oracle}_{foreground}"
            records[name] = evaluate(
                trained, rooms, tmp_path / name, 0, setting=name, overrides=overrides
            )
            assert records[name].key == f"synthetic/{name}/train0/test0"
            assert records[name].tests_of == "sr3d"
            assert records[name].overrides[-2:] == overrides
    # Scores that tell the overlap exactly make more of the same boxes than any learnt ones.
    assert records["iou_inside"].metrics["AP25"] >= plain.metrics["AP25"]
    assert records["iou_inside"].metrics["PCE"] < plain.metrics["PCE"]


def test_a_test_cannot_change_what_was_trained(trained: Path, rooms: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        evaluate(trained, rooms, tmp_path, 0, overrides=["assigner.k=7"])
    assert (caught.value.field, caught.value.kind) == ("--set", Kind.CONFLICT)
    assert not (tmp_path / "run.json").exists()


def test_a_run_folder_loads_as_a_model(trained: Path, rooms: Path) -> None:
    from sr3d.data.prepared import PreparedDataset

    model = sr3d.load(str(trained))
    scene = PreparedDataset(rooms, "val")[0]
    found = model.detect(scene.points, scene.colors)
    assert found.boxes.shape[1] == 7


@pytest.mark.parametrize(
    "setting",
    [
        ["assigner.name=tr3d", "loss.cls=focal"],
        ["loss.cls=focal"],
        ["assigner.name=tr3d"],
        ["loss.rdl_form=bracket", "loss.rank_scope=image", "assigner.levels=by_class"],
        ["loss.rdl_form=rank", "assigner.reg_cost=log_iou", "assigner.vertex_distance=false"],
        ["assigner.cls_weight=0.3333", "loss.cls=qfl"],
        ["assigner.name=simota", "loss.cls=vfl"],
        ["assigner.name=align_ota"],
    ],
)
@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
def test_every_setting_trains_on_both_flavours(
    dataset: str, setting: list[str], rooms: Path, rotated_rooms: Path, tmp_path: Path
) -> None:
    data = rooms if dataset == "synthetic" else rotated_rooms
    config = tiny(dataset, *setting, "train.repeat=1", "train.lr=1e-3")
    record = train(job(data, tmp_path, config))
    assert record.metrics["positives"] > 0
    assert 0 < record.metrics["loss"] < 1e4


@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd", "s3dis"])
def test_every_real_data_set_trains_and_tests(dataset: str, tmp_path: Path) -> None:
    """Two made-up scenes in the place of the real ones, under the data set's own configuration."""
    kind = get_dataset(dataset)
    writer = PreparedWriter(tmp_path / "data", dataset, kind.classes, kind.rotated, "a test")
    draw = torch.Generator().manual_seed(0)
    for split in ("train", "val"):
        rows = torch.rand(3000, 6, generator=draw) * torch.tensor([3.0, 3, 2, 1, 1, 1])
        box = torch.tensor([[1.5, 1.5, 1, 1, 0.8, 1, 0.4 if kind.rotated else 0]])
        labels = torch.tensor([2])
        writer.add(split, Scene(f"{split}_1", rows[:, :3], rows[:, 3:], Boxes(box), labels))
    writer.finish()
    overrides = [*TINY, "train.epochs=1", "train.milestones=[]", "augment.sample_count=2000"]
    config = with_overrides(default_config(dataset), overrides)
    record = train(job(tmp_path / "data", tmp_path / "run", config))
    assert record.metrics["positives"] > 0
    assert record.data["digest"] == read_manifest(tmp_path / "data").digest()
    tested = evaluate(tmp_path / "run", tmp_path / "data", tmp_path / "run/test0", 0)
    assert tested.metrics["per_class"].keys() == {kind.classes[2]}
    assert tested.data["split"] == "val"


def test_training_learns(rooms: Path, tmp_path: Path) -> None:
    config = tiny("synthetic", "train.repeat=10", "train.warmup_iters=5", "train.lr=5e-3")
    train(job(rooms, tmp_path, config))
    loss = [row["loss"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert np.mean(loss[-5:]) < 0.9 * np.mean(loss[:5])


def test_learning_rate_by_hand() -> None:
    c = TrainConfig(lr=1.0, warmup_start_lr=0.0, warmup_iters=4, milestones=(2, 3), epochs=4)
    assert [learning_rate(c, step, 0, 40) for step in (0, 1, 2, 4)] == [0, 0.25, 0.5, 1.0]
    assert learning_rate(c, 10, 1, 40) == 1.0
    assert learning_rate(c, 10, 2, 40) == pytest.approx(0.1)
    assert learning_rate(c, 10, 3, 40) == pytest.approx(0.01)


def test_cosine_and_polynomial_fall_by_epoch_or_by_step() -> None:
    c = TrainConfig(epochs=4, lr=1.0, min_lr=0.2, warmup_iters=0, schedule="cosine")
    # By epoch: half of the way after two of four, whatever the step within the epoch.
    assert learning_rate(c, 0, 0, 40) == 1.0
    assert learning_rate(c, 20, 2, 40) == learning_rate(c, 29, 2, 40) == pytest.approx(0.6)
    by_step = dataclasses.replace(c, schedule_by="step")
    assert learning_rate(by_step, 10, 1, 40) == pytest.approx(0.2 + 0.8 * (1 + 0.5**0.5) / 2)
    assert learning_rate(by_step, 30, 3, 40) == pytest.approx(0.2 + 0.8 * (1 - 0.5**0.5) / 2)
    power = dataclasses.replace(c, schedule="polynomial", schedule_power=2.0)
    assert learning_rate(power, 30, 3, 40) == pytest.approx(0.2 + 0.8 / 16)


def test_the_exponential_schedule_falls_every_few_steps() -> None:
    c = TrainConfig(lr=0.5, schedule="exponential", decay=0.9, decay_steps=10, warmup_iters=4)
    c = dataclasses.replace(c, warmup_start_lr=0.1)
    found = [learning_rate(c, step, 0, 100) for step in (0, 2, 4, 9, 10, 35)]
    assert found == pytest.approx([0.1, 0.3, 0.5, 0.5, 0.45, 0.5 * 0.9**3])


def test_dampening_reduces_the_gradient_in_the_momentum() -> None:
    layer = nn.Linear(1, 1, bias=False)
    config = TrainConfig(optimizer="sgd", lr=0.5, warmup_iters=0, weight_decay=0, dampening=0.25)
    layer.device = torch.device("cpu")  # type: ignore[assignment]
    layer.parameter_groups = lambda config: [{"params": [*layer.parameters()]}]  # type: ignore
    optimizer = build_optimizer(layer, config)  # type: ignore[arg-type]
    places = []
    for _ in range(2):
        layer.weight.grad = torch.ones(1, 1)
        before = layer.weight.detach().clone()
        optimizer.step()
        places.append(float(before - layer.weight.detach()))
    assert places == pytest.approx([0.5, 0.5 * (0.9 + 0.75)])  # the first step is not dampened


def test_warm_up_over_epochs_ends_at_the_rate_from_which_cosine_falls() -> None:
    """As `compute_learning_rate` of facebookresearch/3detr (engine.py)."""
    c = TrainConfig(
        epochs=12, lr=1.0, warmup_start_lr=0.1, warmup_iters=0, warmup_epochs=3, min_lr=0.1,
        schedule="cosine", schedule_by="step",
    )  # fmt: skip
    rates = [learning_rate(c, step, step // 4, 48) for step in range(48)]
    assert rates[:12] == pytest.approx([0.1 + 0.9 * step / 12 for step in range(12)])
    falling = [0.1 + 0.45 * (1 + math.cos(math.pi * step / 48)) for step in range(12, 48)]
    assert rates[12:] == pytest.approx(falling)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)],
)
def test_an_optimiser_by_name_scales_the_rate_of_each_group(name: str, kind: type) -> None:
    class Half(nn.Linear):
        device = torch.device("cpu")

        def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:
            return [{"params": [self.weight]}, {"params": [self.bias], "lr_scale": 0.5}]

    config = TrainConfig(optimizer=name, warmup_iters=0, lr=0.25)  # type: ignore[arg-type]
    optimizer = build_optimizer(Half(2, 2), config)  # type: ignore[arg-type]
    assert type(optimizer) is kind
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.125]
    set_learning_rate(optimizer, 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.05]


def test_new_values_of_the_schedule_change_no_digest() -> None:
    assert tiny().digest() == tiny("synthetic", "train.optimizer=adamw").digest()
    assert tiny().digest() != tiny("synthetic", "train.optimizer=sgd").digest()


def test_each_epoch_is_announced_to_the_detector(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []
    monkeypatch.setattr(Detector, "start_epoch", lambda _, epoch: epochs.append(epoch))
    train(job(rooms, tmp_path))
    assert epochs == [0, 1]


def test_epochs_are_made_when_they_begin(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def noted(*args: Any) -> Any:
        made.append(args[4])
        return epoch_batches(*args)

    monkeypatch.setattr(loop, "epoch_batches", noted)
    config = tiny("synthetic", "train.epochs=1080")
    job_ = job(rooms, tmp_path, config)
    scenes = PreparedDataset(rooms, "train")
    run = TrainingRun(job_, build_detector(config), scenes, 0, {"digest": ""})
    assert made == [0]  # for the number of its steps
    assert run.total == 1080 * run.steps_per_epoch
    left = run._left()
    for _ in range(run.steps_per_epoch + 1):
        next(left)
    left.close()
    assert made == [0, 0, 1]


def test_a_loss_that_is_no_number_stops_with_a_remedy(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = step.batch_losses

    def broken(*args: object) -> object:
        losses = compute(*args)  # type: ignore[arg-type]
        return dataclasses.replace(losses, terms={"cls": losses.total * float("nan")})

    monkeypatch.setattr(step, "batch_losses", broken)
    with pytest.raises(InputError) as caught:
        train(job(rooms, tmp_path))
    error = caught.value
    assert (error.file, error.field, error.kind) == (tmp_path, "loss", Kind.VALUE)
    assert re.search(r"step 1\b.*room_", error.problem)
    assert "train.lr" in str(error.remedy)
    assert not (tmp_path / "run.json").exists()


def test_two_processes_never_train_in_one_folder(rooms: Path, tmp_path: Path) -> None:
    with exclusive(tmp_path / "run.json"), pytest.raises(InputError) as caught:
        train(job(rooms, tmp_path))
    assert (caught.value.file, caught.value.kind) == (tmp_path / "run.json", Kind.CONFLICT)
    train(job(rooms, tmp_path))  # the lock went with its holder


@pytest.fixture
def half_empty(rooms: Path, tmp_path: Path) -> Path:
    """Four rooms, the boxes of two of which are gone."""
    source = PreparedDataset(rooms, "train")
    kind = get_dataset("synthetic")
    writer = PreparedWriter(
        tmp_path / "data", dataset="synthetic", classes=kind.classes, rotated=False, source="a test"
    )
    for i in range(4):
        scene = source[i]
        count = i % 2 * len(scene.labels)  # of the first and the third none
        boxes, labels = scene.boxes[:count], scene.labels[:count]
        bare = dataclasses.replace(scene, boxes=boxes, labels=labels, instance=None)
        writer.add("train", bare)
    last = dataclasses.replace(source[4], instance=None)
    writer.add("empty", dataclasses.replace(last, boxes=last.boxes[:0], labels=last.labels[:0]))
    writer.finish()
    return tmp_path / "data"


@pytest.mark.parametrize("filtered", [False, True])
def test_scenes_without_boxes_are_replaced_where_that_is_asked_for(
    filtered: bool, half_empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = step.batch_losses
    shown: list[str] = []

    def noted(model: Any, scenes: list[Scene], *rest: Any) -> Any:
        shown.extend(scene.id for scene in scenes)
        return compute(model, scenes, *rest)

    monkeypatch.setattr(step, "batch_losses", noted)
    config = tiny("synthetic", f"train.filter_empty_gt={filtered}")
    train(job(half_empty, tmp_path / "out", config))
    ids = PreparedDataset(half_empty, "train").ids
    assert {*shown} == {ids[i] for i in ((1, 3) if filtered else range(4))}
    assert len(shown) == 2 * 2 * 4  # epochs are as long as without


def test_a_split_without_any_box_is_refused(half_empty: Path, tmp_path: Path) -> None:
    config = tiny("synthetic", "train.filter_empty_gt=true")
    bare = dataclasses.replace(job(half_empty, tmp_path / "out", config), split="empty")
    with pytest.raises(InputError) as error:
        train(bare)
    assert (error.value.file, error.value.field) == (half_empty, "--split")
    assert "'empty'" in error.value.problem


def test_data_of_another_kind_is_refused(rooms: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        train(job(rooms, tmp_path, default_config("scannet")))
    assert (caught.value.file, caught.value.kind) == (rooms, Kind.CONFLICT)
    assert "'synthetic', not 'scannet'" in caught.value.problem
    with refuses(Kind.UNKNOWN, file=rooms, mentions=["'vall'", "'val'"]):
        evaluate(trained, rooms, tmp_path, index=0, split="vall")
    with pytest.raises(InputError) as caught:
        evaluate(tmp_path / "nothing", rooms, tmp_path, index=0)
    assert caught.value.kind is Kind.MISSING
    (tmp_path / "run.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(InputError) as caught:
        read_run(tmp_path)
    assert (caught.value.file, caught.value.field) == (tmp_path / "run.json", "schema_version")
