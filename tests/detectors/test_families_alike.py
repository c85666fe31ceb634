"""What every family does alike: it resumes bitwise equal, computes in bf16, compiles or refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sr3d.data.prepared import PreparedDataset
from sr3d.detectors import FAMILIES
from sr3d.detectors.weights import write_model
from sr3d.errors import Kind
from sr3d.runs.record import read_run
from sr3d.train.loop import TrainingJob
from sr3d.train.precision import network_precision
from sr3d.train.step import batch_losses
from sr3d.train.training import train
from tests.detectors.tiny_families import (
    POINT_FAMILIES,
    tiny_config,
    tiny_detector,
)
from tests.interruptions import interrupt
from tests.refusals import refused, refuses
from tests.test_training import same_bits

# Three steps, the last of which is of the second epoch.
STEPS = ["train.epochs=2", "train.milestones=[1]", "train.batch_size=4", "train.repeat=1"]
DROPOUT = {
    "groupfree": ["model.dropout=0.3"],
    "3detr": [f"model.{part}_dropout=0.3" for part in ("encoder", "decoder", "head")],
    "dest": ["model.dropout=0.3"],
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_resumed_training_equals_an_undisturbed_one(
    family: str, precision: str, rooms: Path, tmp_path: Path
) -> None:
    config = tiny_config(
        family, "synthetic", *STEPS, f"train.precision={precision}", *DROPOUT.get(family, [])
    )

    def job(name: str) -> TrainingJob:
        return TrainingJob(config, [], rooms, tmp_path / name, "any", index=0)

    undisturbed = train(job("undisturbed"))
    for step in range(1, undisturbed.metrics["step"]):
        interrupt(job("resumed"), step)
    resumed = train(job("resumed"))
    assert same_bits(tmp_path / "undisturbed", tmp_path / "resumed")
    assert resumed.metrics == undisturbed.metrics
    assert read_run(tmp_path / "resumed").files == undisturbed.files


# Every seed becomes a query, whatever rounding does to its score.
ALL_SEEDS = {"groupfree": ["model.queries=32"], "dest": ["model.queries=32"]}


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_is_of_products_alone(family: str, rooms: Path) -> None:
    """With norms in evaluation mode. In training their statistics of a few points magnify any
    rounding, also of fp32.
    """
    scenes = [PreparedDataset(rooms, "train")[i] for i in range(2)]
    model = tiny_detector(family, "synthetic", *ALL_SEEDS.get(family, [])).eval()

    def step(precision: str) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        with network_precision(model, precision):
            losses = batch_losses(model, scenes)
            losses.total.backward()
        assert {term.dtype for term in losses.terms.values()} == {torch.float32}
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert {gradient.dtype for gradient in gradients} == {torch.float32}
        return float(losses.total.detach()), torch.cat([g.flatten() for g in gradients])

    exact, gradient = step("fp32")
    rough, near = step("bf16")
    assert not torch.equal(near, gradient)
    assert abs(rough - exact) < 0.05 * exact
    assert torch.cosine_similarity(gradient, near, dim=0) > 0.95


@pytest.mark.parametrize("family", POINT_FAMILIES)
def test_detectors_on_points_refuse_to_compile(family: str, tmp_path: Path) -> None:
    config, model = tiny_config(family), tiny_detector(family)
    with refuses(Kind.CONFLICT, field="compile", mentions=[family, "voxels"], remedy=["compile"]):
        model.compile()
    path = tmp_path / "model.safetensors"
    write_model(path, model, config, {})
    words = ["--model", str(path), "--compile", "--out", str(tmp_path / "found")]
    error = refused(["detect", "--demo", *words])
    assert (error.kind, error.field) == (Kind.CONFLICT, "compile")
    assert not (tmp_path / "found").exists()
