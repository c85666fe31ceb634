"""FCAF3D through the same verbs as TR3D: a training, a test, and boxes learnt by heart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import sr3d
from sr3d.config import Config
from sr3d.data.ground_truth import GroundTruth
from sr3d.data.prepared import PreparedDataset
from sr3d.detectors import build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.errors import InputError
from sr3d.geometry.iou import pairwise_iou
from sr3d.matching.fcaf3d import FCAF3DAssigner
from sr3d.runs.record import read_metrics
from sr3d.train.loop import TrainingJob
from sr3d.train.step import batch_losses
from sr3d.train.training import train
from tests.detectors.test_criterion import assign
from tests.evaluating import evaluate

TINY = [
    "model=fcaf3d",
    "model.voxel_size=0.1",
    "model.stem_channels=8",
    "model.planes=[8,8,8]",
    "model.neck_channels=8",
    "model.pts_prune=1500",
    "augment=fcaf3d",
    "train=fcaf3d",
    "train.epochs=2",
    "train.milestones=[1]",
    "train.batch_size=2",
    "test.sample_count=3000",
]


def tiny(dataset: str, *overrides: str) -> Config:
    return with_overrides(default_config(dataset), [*TINY, *overrides])


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
def test_a_training_and_its_test(
    dataset: str, rooms: Path, rotated_rooms: Path, tmp_path: Path
) -> None:
    data = rooms if dataset == "synthetic" else rotated_rooms
    for out in ("run", "again"):
        train(TrainingJob(tiny(dataset), TINY, data, tmp_path / out, "fcaf3d", index=0))
    one, other = (load_file(tmp_path / out / "model.safetensors") for out in ("run", "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    curve = read_metrics(tmp_path / "run/metrics.jsonl")
    assert {"loss_cls", "loss_box", "loss_center", "aic"} <= curve[0].keys()
    terms = sum(curve[0][f"loss_{name}"] for name in ("cls", "box", "center"))
    assert curve[0]["loss"] == pytest.approx(terms, abs=1e-5)
    assert all(row["positives"] > 0 for row in curve)

    found = evaluate(tmp_path / "run", data, tmp_path / "test", index=0)
    assert found.config["model"]["name"] == "fcaf3d"
    assert 0 <= found.metrics["AP50"] <= found.metrics["AP25"] <= 100
    model = sr3d.load(str(tmp_path / "run"))
    scene = PreparedDataset(data, "val")[0]
    assert model.detect(scene.points, scene.colors).boxes.shape[1] == 7

    with pytest.raises(InputError) as error:
        evaluate(tmp_path / "run", data, tmp_path / "x", 0, overrides=["test.oracle=iou"])
    assert error.value.field == "test.oracle"


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
def test_it_learns_a_few_boxes_by_heart(dataset: str, rooms: Path, rotated_rooms: Path) -> None:
    data = rooms if dataset == "synthetic" else rotated_rooms
    config = with_overrides(default_config(dataset), ["model=fcaf3d"])
    scenes = [PreparedDataset(data, "train")[0]]
    torch.manual_seed(0)
    model = build_detector(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(50):
        terms = batch_losses(model, scenes)
        optimizer.zero_grad()
        terms.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.clip_norm)
        optimizer.step()
        losses.append({name: float(term.detach()) for name, term in terms.terms.items()})
    first, last = losses[0], losses[-1]
    assert last["cls"] < first["cls"] / 20
    assert last["box"] < first["box"] / 3
    # Every box with an anchor in it is found; a thin one may hold none on any level.
    scene = scenes[0]
    predictions = model(model.voxels([scene.points], [scene.colors]))  # type: ignore[operator]
    truth = GroundTruth.collate([scene.boxes.tensor], [scene.labels])
    owners = assign(predictions, truth, model.dataset, FCAF3DAssigner()).unique()
    owners = owners[owners >= 0]
    assert len(owners) >= 7
    found = model.detect(scene.points, scene.colors)
    overlap = pairwise_iou(truth.boxes[owners], found.boxes, rotated=model.dataset.rotated)
    overlap[truth.labels[owners, None] != found.labels] = 0
    assert (overlap.amax(dim=1) > 0.25).all()
    assert overlap.amax(dim=1).mean() > 0.5
