"""Two processes on the CPU do what one does: norms, gradients, whole trainings, stops, errors."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from sr3d.cli import main
from sr3d.errors import InputError, Kind
from sr3d.runs.record import read_metrics
from sr3d.sparse import SparseTensor
from sr3d.sparse.nn import SparseBatchNorm
from sr3d.train import loop
from sr3d.train.checkpoint import CHECKPOINT_FILE
from sr3d.train.distributed import (
    ALONE,
    Processes,
    SharedBatchNorm,
    SharedSparseNorm,
    share_norms,
)
from sr3d.train.loop import PARTIAL_METRICS_FILE, TrainingJob
from sr3d.train.training import train
from tests.detectors.tiny_families import POINT_FAMILIES
from tests.shared_steps import SPARSE, gradients, on_points, on_voxels, rooms_of_points, scenes_of
from tests.test_training import TINY, tiny

STOP_AFTER = 4
# A steady rate: Adam magnifies rounding, and the larger the rate, the sooner it shows.
SCHEDULE = ["train.batch_size=3", "train.epochs=3", "train.milestones=[2]", "train.lr=1e-3"]
# Rows of either process, in a norm's input; of the last two, one row has no variance.
ROWS = ([27, 13], [1, 2], [1, 0])
# Inputs of dense norms, split into shares along the batch.
SHAPES = ((5, 3), (5, 3, 7), (5, 3, 2, 4), (5, 3, 2, 4, 2))
DENSE = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
SHARES = [3, 2]


def job(data: Path, out: Path) -> TrainingJob:
    return TrainingJob(tiny("synthetic", *SCHEDULE), [*TINY, *SCHEDULE], data, out, "sr3d", 0)


def normed(norm: nn.Module, x: Tensor, upstream: Tensor) -> dict[str, Tensor]:
    """Output, gradients and statistics of a norm after one step on the rows `x`."""
    x = x.clone().requires_grad_()
    coords = torch.zeros(len(x), 4, dtype=torch.int32)
    coords[:, 1] = torch.arange(len(x))
    out = norm(SparseTensor.from_coords(coords, x)).features
    out.backward(upstream)
    buffers = {name: value.clone() for name, value in norm.named_buffers()}
    grads = {f"grad {name}": p.grad for name, p in norm.named_parameters()}
    return {"out": out.detach(), "grad": x.grad, **grads, **buffers}


def norm_input(rows: list[int]) -> tuple[Tensor, Tensor, SparseBatchNorm]:
    draw = torch.Generator().manual_seed(sum(rows))
    x = 3 + 2 * torch.randn(sum(rows), 5, generator=draw, dtype=torch.float64)
    norm = SparseBatchNorm(5).double()
    with torch.no_grad():
        norm.bn.weight.copy_(torch.rand(5, generator=draw) + 0.5)
        norm.bn.get_buffer("running_mean").copy_(torch.rand(5, generator=draw))
    return x, torch.randn(x.shape, generator=draw, dtype=torch.float64), norm


def dense_normed(rank: int | None, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """A batch norm on points, images or volumes: of one process's share, or None of the whole
    batch. That on volumes has no weights.
    """
    draw = torch.Generator().manual_seed(len(shape))
    x = 3 + 2 * torch.randn(shape, generator=draw, dtype=torch.float64)
    upstream = torch.randn(shape, generator=draw, dtype=torch.float64)
    norm = DENSE[len(shape)](shape[1], affine=len(shape) < 5)
    model = nn.Sequential(nn.Identity(), norm).double()
    if rank is not None:
        share_norms(model)
        assert [type(m) for m in model] == [nn.Identity, SharedBatchNorm]
        x, upstream = x.split(SHARES)[rank], upstream.split(SHARES)[rank]
    x = x.clone().requires_grad_()
    out = model(x)
    out.backward(upstream)
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    grads = {f"grad {name}": p.grad for name, p in model.named_parameters()}
    return {"out": out.detach(), "grad": x.grad, **grads, **buffers}


def work(rank: int, folder: Path, data: Path) -> None:
    """All that two processes do in these tests, because to start them takes longest."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    processes = Processes(rank, 2)
    found: dict[str, Any] = {}
    for rows in ROWS:
        x, upstream, norm = norm_input(rows)
        shared = SharedSparseNorm(norm.bn)
        found[f"norm {rows}"] = normed(shared, x.split(rows)[rank], upstream.split(rows)[rank])
    for shape in SHAPES:
        found[f"norm {shape}"] = dense_normed(rank, shape)
    for name in SPARSE:
        found[name] = gradients(on_voxels(name), scenes_of(data), processes)
    for name in POINT_FAMILIES:
        found[name] = gradients(on_points(name), rooms_of_points(), processes)
    found["handed"] = processes.from_first(lambda: f"from {rank}")
    torch.save(found, folder / f"found{rank}.pt")

    learning_rate = loop.learning_rate

    def stopped(config: Any, step: int, *rest: Any) -> float:
        if step == STOP_AFTER - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return learning_rate(config, step, *rest)

    if rank == 1:
        loop.learning_rate = stopped  # type: ignore[assignment]
    with contextlib.suppress(KeyboardInterrupt):
        train(job(data, folder / "run"), processes)
        raise AssertionError("not stopped")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def pair(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each of two processes found, and with their interrupted training."""
    folder = tmp_path_factory.mktemp("pair")
    mp.spawn(work, (folder, rooms), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def alone(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training of one process."""
    out = tmp_path_factory.mktemp("alone")
    train(job(rooms, out))
    return out


def found(pair: Path) -> list[dict[str, Any]]:
    return [torch.load(pair / f"found{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("rows", ROWS)
def test_a_shared_norm_is_the_norm_of_all_rows(pair: Path, rows: list[int]) -> None:
    x, upstream, norm = norm_input(rows)
    whole = normed(norm, x, upstream)
    parts = [f[f"norm {rows}"] for f in found(pair)]
    for name in ("out", "grad"):
        together = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(together, whole[name], rtol=1e-10, atol=1e-10)
    for name in ("grad bn.weight", "grad bn.bias"):  # the gradients' own sum adds these up
        torch.testing.assert_close(parts[0][name] + parts[1][name], whole[name])
    for name in ("bn.running_mean", "bn.running_var", "bn.num_batches_tracked"):
        for part in parts:
            torch.testing.assert_close(part[name], whole[name])


@pytest.mark.parametrize("shape", SHAPES)
def test_norms_of_points_and_images_are_shared_too(pair: Path, shape: tuple[int, ...]) -> None:
    whole = dense_normed(None, shape)
    parts = [f[f"norm {shape}"] for f in found(pair)]
    assert parts[0].keys() == whole.keys()
    for name, expected in whole.items():
        if name in ("out", "grad"):
            together = torch.cat([part[name] for part in parts])
        elif name.startswith("grad"):
            together = parts[0][name] + parts[1][name]
        else:
            torch.testing.assert_close(parts[1][name], expected)
            together = parts[0][name]
        torch.testing.assert_close(together, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("how", [{"track_running_stats": False}, {"momentum": None}])
def test_a_norm_that_cannot_be_shared_is_refused(how: dict[str, Any]) -> None:
    model = nn.Sequential(nn.Sequential(nn.BatchNorm1d(3, **how)))
    with pytest.raises(InputError) as error:
        share_norms(model)
    assert (error.value.kind, error.value.field) == (Kind.CONFLICT, "--nproc-per-node")
    assert "0.0" in str(error.value)  # the module


@pytest.mark.parametrize("name", SPARSE)
def test_gradients_and_curves_are_those_of_the_whole_batch(
    pair: Path, rooms: Path, name: str
) -> None:
    whole = gradients(on_voxels(name), scenes_of(rooms), ALONE)
    parts = [f[name] for f in found(pair)]
    assert parts[0]["positives"] == whole["positives"] > 0
    assert parts[1]["positives"] == 0
    expect_equal(parts, whole)


@pytest.mark.parametrize("name", POINT_FAMILIES)
def test_detectors_on_points_take_the_step_of_the_whole_batch(pair: Path, name: str) -> None:
    whole = gradients(on_points(name), rooms_of_points(), ALONE)
    parts = [f[name] for f in found(pair)]
    assert parts[0]["positives"] + parts[1]["positives"] == whole["positives"] > 0
    expect_equal(parts, whole)


def expect_equal(parts: list[dict[str, Any]], whole: dict[str, Any]) -> None:
    """Each process ends with the gradients, curves and statistics of the whole batch."""
    # Of a bias before a batch norm the gradient is rounding alone.
    rounding = 1e-13 * max(float(grad.abs().max()) for grad in whole["grads"].values())
    for part in parts:
        assert part["grads"].keys() == whole["grads"].keys()
        for key, grad in whole["grads"].items():
            difference = float((part["grads"][key] - grad).abs().max())
            assert difference <= 1e-10 * float(grad.abs().max()) + rounding, key
        assert part["values"].pop("stop") == 1  # the second process was told to
        for key, value in part["values"].items():
            assert float(value) == pytest.approx(float(whole["values"][key]), rel=1e-10), key
        for key, value in whole["statistics"].items():
            torch.testing.assert_close(part["statistics"][key], value)


def test_the_first_hands_what_it_made_to_all(pair: Path) -> None:
    assert [f["handed"] for f in found(pair)] == ["from 0", "from 0"]


def test_all_stop_when_one_is_told_and_one_process_can_go_on(
    pair: Path, alone: Path, rooms: Path
) -> None:
    run = pair / "run"
    assert (run / CHECKPOINT_FILE).exists()
    assert len(read_metrics(run / PARTIAL_METRICS_FILE)) == STOP_AFTER
    train(job(rooms, run))
    assert_same_curve(run, alone)


def test_torchrun_gives_the_curve_of_one_process(alone: Path, rooms: Path, tmp_path: Path) -> None:
    done = torchrun("-m", "sr3d", "train", *arguments(rooms, tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"{tmp_path / 'run'}: ") == 1  # one process reports the run
    assert_same_curve(tmp_path / "run", alone)
    files = {path.name for path in (tmp_path / "run").iterdir() if path.name[0] != "."}
    assert files == {"run.json", "metrics.jsonl", "model.safetensors"}


def test_an_error_in_one_process_ends_all_with_one_message(rooms: Path, tmp_path: Path) -> None:
    script = tmp_path / "one_fails.py"
    script.write_text(
        "import os, sys\n"
        "from sr3d.train import step\n"
        "from sr3d.cli import main\n"
        "from sr3d.errors import InputError, Kind\n"
        "compute = step.batch_losses\n"
        "def broken(*args):\n"
        "    broken.steps += 1\n"
        "    if os.environ['RANK'] == '1' and broken.steps == 3:\n"
        "        raise InputError('a scene cannot be read', kind=Kind.UNREADABLE)\n"
        "    return compute(*args)\n"
        "broken.steps = 0\n"
        "step.batch_losses = broken\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = torchrun(str(script), "train", *arguments(rooms, tmp_path / "run"))
    assert done.returncode != 0
    ours = [line for line in done.stderr.splitlines() if line.startswith("sr3d: ")]
    assert ours == ["sr3d: a scene cannot be read"]
    assert "Error: a scene" not in done.stderr
    assert not (tmp_path / "run/run.json").exists()


def test_every_process_needs_a_gpu_of_its_own(
    rooms: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    words = ["train", "--dataset", "synthetic", "--data", str(rooms), "--out", "y"]
    assert main([*words, "--device", "cuda"]) == 2
    assert "--nproc-per-node=1" in capsys.readouterr().err


def test_a_batch_has_a_scene_for_every_process(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Processes, "from_first", lambda _, make: make())  # without the other three
    with pytest.raises(InputError) as caught:
        train(job(rooms, tmp_path), Processes(rank=0, count=4))
    assert (caught.value.field, caught.value.kind) == ("--nproc-per-node", Kind.CONFLICT)


def arguments(data: Path, out: Path) -> list[str]:
    words = ["--dataset", "synthetic", "--data", str(data), "--out", str(out)]
    return [*words, "--set", *TINY, *SCHEDULE]


def torchrun(*command: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run([*words, *command], capture_output=True, text=True, timeout=300)


def assert_same_curve(run: Path, other: Path) -> None:
    rows, others = (read_metrics(folder / "metrics.jsonl") for folder in (run, other))
    assert len(rows) == len(others) == 12
    for row, reference in zip(rows, others, strict=True):
        assert row.keys() == reference.keys()
        for name in ("step", "epoch", "lr", "positives"):
            assert row[name] == reference[name]
        for name in ("loss", "loss_cls", "loss_box"):
            assert row[name] == pytest.approx(reference[name], rel=1e-4)
