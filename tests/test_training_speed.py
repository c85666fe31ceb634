"""What makes training fast changes nothing of it: late fetches, precision, no waits in a step."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from sr3d.data.loader import on_device
from sr3d.data.prepared import PreparedDataset
from sr3d.detectors import build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.outputs import Losses
from sr3d.errors import InputError, Kind
from sr3d.runs.record import read_metrics
from sr3d.sparse import SparseTensor
from sr3d.sparse.tensor import PlannedTensor
from sr3d.train import loop
from sr3d.train import step as step_module
from sr3d.train.checkpoint import read_state
from sr3d.train.loop import PARTIAL_METRICS_FILE
from sr3d.train.metrics_log import STOP, LoggedStep, MetricsLog
from sr3d.train.precision import network_precision
from sr3d.train.step import batch_losses
from sr3d.train.training import train
from tests.test_training import job, same_bits, tiny

FCAF3D = ["model=fcaf3d", "model.planes=[8,8,8]", "model.stem_channels=8", "model.neck_channels=8"]

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def trained(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    train(job(rooms, out))
    return out


@pytest.fixture
def fetched_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: every few of the 12 steps."""
    monkeypatch.setitem(loop._STEPS_BETWEEN_FETCHES, "cpu", 5)


@pytest.mark.usefixtures("fetched_late")
def test_late_fetches_change_neither_weights_nor_curves(
    trained: Path, rooms: Path, tmp_path: Path
) -> None:
    train(job(rooms, tmp_path))
    assert same_bits(trained, tmp_path)
    assert (trained / "metrics.jsonl").read_text() == (tmp_path / "metrics.jsonl").read_text()


@pytest.mark.usefixtures("fetched_late")
def test_a_bad_loss_is_noticed_late_but_never_saved(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(1, 13))

    def broken_once(*args: Any) -> Losses:
        factor = float("nan") if next(steps) == 7 else 1.0
        losses = batch_losses(*args)
        return replace(losses, terms={**losses.terms, "box": losses.terms["box"] * factor})

    monkeypatch.setattr(step_module, "batch_losses", broken_once)
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with pytest.raises(InputError) as caught:
        train(job(rooms, tmp_path))
    assert (caught.value.field, caught.value.kind) == ("loss", Kind.VALUE)
    assert re.search(r"step 7\b.*room_", caught.value.problem)
    state = read_state(tmp_path)
    assert state is not None
    assert state.step == 5
    assert all(torch.isfinite(value).all() for value in state.model.values())
    assert len(read_metrics(tmp_path / PARTIAL_METRICS_FILE)) == 6


@pytest.mark.usefixtures("fetched_late")
def test_a_stop_waits_for_the_fetch_and_training_goes_on_to_the_same_bits(
    trained: Path, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_step, number = loop.train_step, count()

    def stopped_at_step_two(*args: Any) -> dict[str, torch.Tensor]:
        return take_step(*args[:5], next(number) == 1, *args[6:])  # type: ignore[call-arg]

    monkeypatch.setattr(loop, "train_step", stopped_at_step_two)
    with pytest.raises(KeyboardInterrupt):
        train(job(rooms, tmp_path))
    state = read_state(tmp_path)
    assert state is not None
    assert state.step == 5
    monkeypatch.setattr(loop, "train_step", take_step)
    train(job(rooms, tmp_path))
    assert same_bits(trained, tmp_path)


class Waits(TorchDispatchMode):
    """Counts the times that Python asks for a tensor's value."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.count += func in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
        )
        return func(*args, **(kwargs or {}))


def one_step(rooms: Path, out: Path, monkeypatch: pytest.MonkeyPatch, device: str) -> Any:
    """A function that takes a step after a loss that is known already, and its curve."""
    model, scenes = build_detector(tiny()).to(device), PreparedDataset(rooms, "train")
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)  # as a GPU's

    def terms(*_: Any) -> Losses:
        total = torch.stack([p.square().sum() for p in model.parameters()]).sum()
        return Losses({"cls": total}, {"positives": torch.tensor(3), "aic": total.detach()})

    monkeypatch.setattr(step_module, "batch_losses", terms)
    curve, number = MetricsLog(out / "curve.jsonl"), count(1)

    def step() -> None:
        values = loop.train_step(model, [scenes[0]], optimizer, 10.0)
        curve.add(LoggedStep({"step": next(number)}, [scenes.ids[0]], values))

    return step, curve


def test_a_step_waits_for_nothing_but_network_and_loss(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, curve = one_step(rooms, tmp_path, monkeypatch, "cpu")
    with Waits() as waits:
        step()
        assert waits.count == 0
        bool(torch.ones(()) > 0)
        assert waits.count == 1
    with curve:
        curve.fetch()
    assert curve.last["positives"] == 3
    assert curve.last["loss"] > 0


@gpu
def test_a_step_on_a_gpu_waits_for_nothing_but_network_and_loss(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, curve = one_step(rooms, tmp_path, monkeypatch, "cuda")
    step()  # what is made once
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    curve.fetch()
    assert curve.last["step"] == 2


@gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_training_on_a_gpu_is_that_on_the_cpu(
    trained: Path, rooms: Path, tmp_path: Path, precision: str
) -> None:
    config = tiny("synthetic", f"train.precision={precision}")
    train(replace(job(rooms, tmp_path, config), device="cuda", workers=2))
    loss = [row["loss"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    exact = [row["loss"] for row in read_metrics(trained / "metrics.jsonl")]
    assert loss == pytest.approx(exact, rel=0.01 if precision == "fp32" else 0.1)


@gpu
def test_the_same_seed_gives_the_same_bits_on_a_gpu(rooms: Path, tmp_path: Path) -> None:
    weights = []
    for name in ("one", "two"):
        out = tmp_path / name
        train(replace(job(rooms, out, tiny("synthetic")), device="cuda"))
        weights.append((out / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_gradient_without_norm_stops_too_and_other_lines_go(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    path.write_text("what an interrupted training left")

    def line(step: int, norm: float) -> LoggedStep:
        values = {"loss": 1 / 3, "positives": 2.0, "grad_norm": norm, STOP: 0.0}
        return LoggedStep(
            {"step": step}, ["a", "b"], {k: torch.tensor(v) for k, v in values.items()}
        )

    with MetricsLog(path, '{"step": 1, "loss": 5.0}\n') as log:
        assert log.last == {"step": 1, "loss": 5.0}
        log.add(line(2, 0.5))
        log.add(line(3, float("inf")))
        with pytest.raises(InputError) as caught:
            log.fetch()
    assert caught.value.field == "grad_norm"
    assert "step 3 (scenes a, b)" in caught.value.problem
    rows = read_metrics(path)
    assert rows[1:] == [{"step": 2, "loss": 0.333333, "positives": 2, "grad_norm": 0.5}]
    assert isinstance(rows[1]["positives"], int)


@pytest.mark.parametrize("overrides", [[], FCAF3D])
def test_bf16_is_the_network_s_alone(rooms: Path, overrides: list[str]) -> None:
    scenes = [PreparedDataset(rooms, "train")[i] for i in range(2)]
    torch.manual_seed(0)
    model = build_detector(tiny("synthetic", *overrides)).train()
    seen = set()
    conv = model.get_submodule("backbone.layer1.0.conv2")

    def look(module: object, args: object, out: SparseTensor) -> None:
        if not isinstance(out, PlannedTensor):  # which has no features
            seen.add(out.features.dtype)

    conv.register_forward_hook(look)

    def step(precision: str) -> tuple[Losses, torch.Tensor]:
        model.zero_grad()
        with network_precision(model, precision):
            terms = batch_losses(model, scenes)
            terms.total.backward()
        assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}
        return terms, torch.cat(
            [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        )

    exact, gradient = step("fp32")
    assert seen == {torch.float32}
    rough, near = step("bf16")
    assert seen == {torch.float32, torch.bfloat16}
    assert rough.total.dtype == torch.float32
    assert 0 < abs(float((rough.total - exact.total).detach())) < 0.02 * float(exact.total.detach())
    assert torch.cosine_similarity(gradient, near, dim=0) > 0.95
    again, _ = step("fp32")
    assert seen == {torch.float32, torch.bfloat16}
    assert model.autocast is None
    assert float(again.total.detach()) == float(exact.total.detach())


def test_raw_outputs_are_float32_in_any_precision() -> None:
    model = build_detector(tiny())
    points = torch.rand(500, 6, generator=torch.Generator().manual_seed(0))
    exact = model.raw_outputs(points)
    with network_precision(model, "bf16"):
        rough = model.raw_outputs(points)
    for ours, theirs in zip(exact, rough, strict=True):
        assert ours.reg.dtype == theirs.reg.dtype == torch.float32
        assert not torch.equal(ours.reg, theirs.reg)
        assert torch.allclose(ours.reg, theirs.reg, atol=0.05)


def test_tf32_is_switched_on_for_the_block_alone() -> None:
    model = build_detector(tiny())
    with network_precision(model, "tf32"):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_training_in_bf16_learns_resumes_and_keeps_weights_in_fp32(
    trained: Path, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny("synthetic", "train.precision=bf16")
    train(job(rooms, tmp_path / "whole", config))
    take_step = loop.train_step
    stops = iter([False, False, True])
    monkeypatch.setattr(
        loop,
        "train_step",
        lambda *args: take_step(*args[:5], next(stops), *args[6:]),  # type: ignore[call-arg]
    )
    with pytest.raises(KeyboardInterrupt):
        train(job(rooms, tmp_path / "parts", config))
    monkeypatch.setattr(loop, "train_step", take_step)
    record = train(job(rooms, tmp_path / "parts", config))
    assert record.config["train"]["precision"] == "bf16"
    assert same_bits(tmp_path / "whole", tmp_path / "parts")
    assert not same_bits(tmp_path / "whole", trained)
    weights = load_file(tmp_path / "whole/model.safetensors")
    assert {w.dtype for w in weights.values()} <= {torch.float32, torch.int64}
    loss = [row["loss"] for row in read_metrics(tmp_path / "whole/metrics.jsonl")]
    exact = [row["loss"] for row in read_metrics(trained / "metrics.jsonl")]
    assert loss == pytest.approx(exact, rel=0.1)


def test_precision_is_one_of_three_and_fp32_unless_asked_for() -> None:
    assert default_config("scannet").train.precision == "fp32"
    with pytest.raises(InputError, match=r"train\.precision: 'fp16'"):
        with_overrides(default_config("scannet"), ["train.precision=fp16"])


def test_a_tensor_on_its_device_is_not_copied() -> None:
    tensor = torch.zeros(3)
    assert on_device(tensor, torch.device("cpu")) is tensor
