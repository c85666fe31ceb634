"""Detection and training as on a GPU, with a GPU that is not there: see `tests.pretend_gpu`.

Nothing here has met a real GPU. What is shown is that tensors never meet on two devices, that the
ways which only a GPU takes give the numbers of a CPU, and when the host would wait.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sr3d.data.loader import TrainingScenes, generator_for, load_batches, on_device
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.detectors import build_detector
from sr3d.detectors.base import Detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.outputs import Losses
from sr3d.evaluate import loop as evaluation
from sr3d.evaluate.loop import detect_scene
from sr3d.geometry.boxes import Boxes
from sr3d.sparse import functional
from sr3d.train.loop import TrainingJob
from sr3d.train.step import batch_losses
from sr3d.train.training import train
from tests.benchmarking.making import THIN, THIN_FCAF3D
from tests.evaluating import evaluate
from tests.pretend_gpu import GPU, OnHost, PretendGpu, pretend_gpu
from tests.sparse import triton_cases  # noqa: F401 (sets Triton up before it is imported)

Gradients = dict[str, Tensor]
SETTINGS = {
    "sr3d": [],
    "tr3d": ["assigner.name=tr3d", "loss.cls=focal"],
    "simota, qfl": ["assigner.name=simota", "loss.cls=qfl"],
    "align_ota, vfl": ["assigner.name=align_ota", "loss.cls=vfl"],
    "spota by class, instance norm": ["assigner.levels=by_class", "model.stem_norm=instance"],
    "fcaf3d": ["model=fcaf3d", "augment=fcaf3d", "train=fcaf3d", "assigner.fcaf3d_limit=1"],
    # Noise would be drawn anew.
    "tr3d_dlla": ["model=tr3d_dlla", "loss.denoising=0"],
    "fcaf3d_dlla": ["model=fcaf3d_dlla", "loss.denoising=0", "assigner.fcaf3d_limit=1"],
}
PRESETS = ("model", "augment", "train")
SLIM = ["model.stem_channels=8", "model.neck_channels=8"]


def detector(setting: str, dataset: str = "scannet", engine: str = "native") -> Detector[Any, Any]:
    stages, voxel_size = (3, 0.04) if setting.startswith("fcaf3d") else (4, 0.08)
    shape = f"model.planes={[8] * stages}", f"model.blocks={[1] * stages}"
    overrides = [*SETTINGS[setting], *SLIM, *shape, f"model.voxel_size={voxel_size}"]
    overrides.append(f"model.engine={engine}")
    torch.manual_seed(0)
    model = build_detector(with_overrides(default_config(dataset), overrides))
    for name, value in model.named_parameters():
        if "conv_cls.kernel" in name or "conv_reg.kernel" in name:
            value.data.normal_(std=0.5)  # so that scores and boxes differ
        elif "conv_cls.bias" in name:
            value.data.zero_()
    return model


def scene(seed: int, points: int = 200) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand(points, 3, generator=generator) * torch.tensor([1.6, 1.2, 0.8])
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.4, 0.4, 0.4, 0.0], [1.1, 0.6, 0.4, 0.5, 0.3, 0.4, 0.3]])
    colors = torch.rand(points, 3, generator=generator)
    return Scene(f"s{seed}", xyz, colors, Boxes(boxes), torch.tensor([3, 5]))


def on_host(original: Scene) -> Scene:
    def mark(value: Tensor) -> Tensor:
        return value.as_subclass(OnHost)

    return replace(
        original,
        points=mark(original.points),
        colors=mark(original.colors),
        boxes=Boxes(mark(original.boxes.tensor)),
        labels=mark(original.labels),
    )


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendGpu]:
    with pretend_gpu(monkeypatch) as mode:
        yield mode


def test_what_meets_on_two_devices_is_refused(gpu: PretendGpu) -> None:
    here, there = torch.ones(3), torch.ones(3, device="cuda")
    assert (here.device.type, there.device.type, there.is_cuda) == ("cpu", "cuda", True)
    assert (there + 1).device.type == (there + torch.tensor(1.0)).device.type == "cuda"
    with pytest.raises(RuntimeError, match=r"add: tensors on both cuda:0 and cpu"):
        _ = here + there
    with pytest.raises(RuntimeError, match="cat"):
        torch.cat([there, here])
    assert torch.cat([there, here.to("cuda")]).is_cuda
    assert (gpu.waits, len(gpu.uploads)) == ([], 1)


def test_waits_and_copies_are_noticed(gpu: PretendGpu) -> None:
    values = torch.arange(4, device="cuda")
    assert int(values.sum()) == 6
    assert [name.split()[0] for name in gpu.waits] == ["__int__"]
    for wait in (
        lambda: values.tolist(),
        lambda: values[values > 1],
        lambda: values.nonzero(),
        lambda: values.cpu(),
        lambda: values.to("cpu"),
        lambda: bool(values[0] > 2),
        lambda: torch.repeat_interleave(values, values),
    ):
        gpu.waits.clear()
        wait()
        assert len(gpu.waits) == 1
    assert gpu.uploads == []
    for upload in (
        lambda: values[[0, 1]],
        lambda: values[torch.arange(2)],
        lambda: values.new_tensor([1, 2]),
        lambda: torch.tensor([1, 2], device="cuda"),
        lambda: values.copy_(torch.arange(4)),
    ):
        gpu.uploads.clear()
        upload()
        assert len(gpu.uploads) == 1
    gpu.uploads.clear()
    torch.arange(4).pin_memory().to("cuda", non_blocking=True)
    assert (gpu.uploads, len(gpu.copies)) == ([], 1)
    torch.ones(4, 3)[:, :2].pin_memory().to("cuda", non_blocking=True)
    assert (len(gpu.uploads), len(gpu.copies)) == (1, 1)


def test_loaded_scenes_are_copied_without_waiting(rooms: Path, gpu: PretendGpu) -> None:
    scenes = TrainingScenes(PreparedDataset(rooms, "train"), default_config("synthetic").augment, 0)
    (batch,) = load_batches(scenes, [[(0, 0, 0), (0, 1, 1)]], workers=0, pin=True)
    gpu.uploads.clear()
    for loaded in batch:
        for values in (loaded.points, loaded.colors):
            assert on_device(values, GPU).is_cuda
    assert (gpu.uploads, len(gpu.copies)) == ([], 4)


def test_no_upload_falls_into_the_time_of_a_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    model, room = detector("sr3d").eval(), scene(1)
    expected, _ = detect_scene(model, room, generator_for(1))
    done: list[tuple[int, int]] = []
    with functional.engine("torch"), pretend_gpu(monkeypatch) as gpu:
        monkeypatch.setattr(
            evaluation, "synchronise", lambda _: done.append((len(gpu.uploads), len(gpu.copies)))
        )
        for _ in range(2):  # constants are copied to the GPU once
            found, _ = detect_scene(model, on_host(room), generator_for(1))
    started, ended = done[2:]
    assert started == ended
    assert started[1] == 2 * 2  # points and colours
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.boxes, expected.boxes)


@pytest.mark.parametrize("setting", ["sr3d", "fcaf3d"])
def test_detection_by_the_kernels_is_that_of_a_cpu(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, room = detector(setting).eval(), scene(1)
    expected = model.detect(room.points, room.colors)
    room = on_host(room)
    with pretend_gpu(monkeypatch):
        found = model.detect(room.points, room.colors)
        assert found.boxes.is_cuda
    assert len(found.labels) > 20
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.scores, expected.scores)
    torch.testing.assert_close(found.boxes, expected.boxes)


def same(
    found: Mapping[str, Tensor],
    expected: Losses,
    model: Detector[Any, Any],
    gradients: Gradients,
) -> None:
    assert found["positives"] == expected.curves["positives"] > 0
    torch.testing.assert_close(found["loss"], expected.total)
    for name, value in gradients.items():
        grad = model.get_parameter(name).grad
        assert grad is not None
        assert (grad - value).abs().max() <= 1e-3 * value.abs().max() + 1e-6, name


def step(model: Detector[Any, Any], scenes: list[Scene]) -> tuple[Losses, Gradients]:
    model.zero_grad(set_to_none=True)
    terms = batch_losses(model, scenes)
    terms.total.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return terms, found


@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_training_step_is_that_of_a_cpu(
    setting: str, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [scene(1), scene(2)]
    model = detector(setting, dataset).train()
    expected, gradients = step(model, scenes)
    with functional.engine("torch"), pretend_gpu(monkeypatch):
        found, _ = step(model, [on_host(room) for room in scenes])
        assert found.total.is_cuda
    same(found.values(), expected, model, gradients)


@pytest.mark.parametrize("network", ["tr3d", "fcaf3d"])
def test_a_training_and_its_test_from_end_to_end(
    network: str, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thin = THIN if network == "tr3d" else [f"{name}=fcaf3d" for name in PRESETS] + THIN_FCAF3D
    overrides = [*thin, "train.epochs=2", "train.milestones=[]", "train.repeat=1"]
    config = with_overrides(default_config("synthetic"), overrides)

    def run(device: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        out = tmp_path / device
        train(TrainingJob(config, overrides, rooms, out, "mine", 0, device=device))
        record = evaluate(out, rooms, out / "test0", index=0, device=device)
        curve = (out / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in curve], record.metrics

    expected = run("cpu")
    with functional.engine("torch"), pretend_gpu(monkeypatch) as gpu:
        found = run("cuda")
    steps, scenes = 6, 2
    assert len(found[0]) == steps
    trained = steps * (2 * scenes + 3)  # points and colours; boxes, labels and scenes of a batch
    tested = 3 * 2  # points and colours
    assert len(gpu.copies) == trained + tested
    for ours, theirs in zip(found[0], expected[0], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
        assert ours["positives"] == theirs["positives"]
    assert found[1]["AP25"] == pytest.approx(expected[1]["AP25"], abs=0.5)
