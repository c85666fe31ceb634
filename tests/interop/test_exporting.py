"""The whole detector as a saved program: equal boxes, without this package's code."""

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import sr3d
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.deploy.static_pass import Capacity
from sr3d.detectors.outputs import Detections
from sr3d.errors import Kind
from sr3d.interop import onnx_files
from sr3d.interop.exporting import PortableDetector, capacity_like, export_detector
from tests.detectors.thin import clouds, thin_fcaf3d, thin_model
from tests.refusals import refuses

ROOMS = [generate_room(seed, points=3000) for seed in (1, 2, 3)]


def capacity() -> Capacity:
    model = sr3d.load("sr3d_rooms")
    first, *rest = [capacity_like(model, room.points, room.colors) for room in ROOMS]  # type: ignore[arg-type]
    for other in rest:
        first = first.joined(other)
    return first


def padded(room: Scene, size: int) -> tuple[Tensor, Tensor, Tensor]:
    points, colors = torch.zeros(size, 3), torch.zeros(size, 3)
    points[: len(room)], colors[: len(room)] = room.points, room.colors
    return points, colors, torch.tensor(len(room))


def assert_equal(expected: Detections, boxes: Tensor, scores: Tensor, keep: Tensor) -> None:
    """As sets: scores that differ in the last bit may stand in either order."""
    rows, labels = keep.nonzero().unbind(dim=1)
    assert len(rows) == len(expected.scores) > 5

    def table(boxes: Tensor, scores: Tensor, labels: Tensor) -> np.ndarray:
        rows = torch.cat([labels[:, None].to(boxes), scores[:, None], boxes], dim=1).numpy()
        return rows[np.lexsort(np.round(rows, 3).T[::-1])]

    ours = table(boxes[rows], scores[rows, labels], labels)
    np.testing.assert_allclose(ours, table(*expected[:2], expected.labels), atol=1e-4)


@pytest.mark.slow  # tracing takes a quarter of a minute, on busy cores much more
def test_an_exported_detector_finds_the_same_boxes_in_a_process_of_its_own(tmp_path: Path) -> None:
    model, room_for = sr3d.load("sr3d_rooms"), capacity()
    program = export_detector(model, room_for)  # type: ignore[arg-type]
    torch.export.save(program, tmp_path / "detector.pt2")
    torch.save([padded(room, room_for.points) for room in ROOMS], tmp_path / "inputs.pt")
    code = (
        "import sys, torch; run = torch.export.load('detector.pt2').module(); "
        "torch.save([run(*x) for x in torch.load('inputs.pt')], 'outputs.pt'); "
        "assert not any(name.startswith('sr3d') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    outputs = torch.load(tmp_path / "outputs.pt")
    for room, (boxes, scores, keep, overflow) in zip(ROOMS, outputs, strict=True):
        assert not overflow
        assert_equal(model.detect(room.points, room.colors), boxes, scores, keep)


def test_a_scene_that_does_not_fit_is_told() -> None:
    model = sr3d.load("sr3d_rooms")
    portable = PortableDetector(model, capacity())  # type: ignore[arg-type]
    points, colors, count = padded(ROOMS[0], capacity().points)
    assert not portable(points, colors, count)[3]
    assert portable(points * 4, colors, count)[3]


@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
def test_gathered_layers_equal_the_inference_runners(dataset: str) -> None:
    """With a stem that pools, and with rotated boxes."""
    model = thin_model(dataset)
    (points,), colors = clouds(400), torch.rand(400, 3)
    room_for = capacity_like(model, points, colors)
    filler = torch.zeros(room_for.points - 400, 3)
    inputs = torch.cat([points, filler]), torch.cat([colors, filler]), torch.tensor(400)
    expected = model.compile().static_pass(room_for)(*inputs)
    boxes, scores, keep, overflow = PortableDetector(model, room_for)(*inputs)
    assert not overflow
    assert not expected.overflow
    assert_equal(expected.detections(), boxes, scores, keep)


@pytest.mark.slow
def test_fcaf3d_exports_too(tmp_path: Path) -> None:
    model, (points,), colors = thin_fcaf3d("sunrgbd"), clouds(400), torch.rand(400, 3)
    model.inference = replace(model.inference, nms_pre=50)
    room_for = capacity_like(model, points, colors)
    torch.export.save(export_detector(model, room_for), tmp_path / "detector.pt2")
    filler = torch.zeros(room_for.points - 400, 3)
    inputs = torch.cat([points, filler]), torch.cat([colors, filler]), torch.tensor(400)
    found = torch.export.load(tmp_path / "detector.pt2").module()(*inputs)
    boxes, scores, keep, overflow = found
    assert not overflow
    assert_equal(model.detect(points, colors), boxes, scores, keep)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "find_spec", lambda name: None)
    with refuses(Kind.MISSING, file="a.onnx", mentions=["sr3d[export]"]):
        onnx_files.write_onnx(None, tmp_path / "a.onnx")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.skipif(
    not all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="needs onnx, onnxscript and onnxruntime: pip install 'sr3d[export]'",
)
def test_onnx_runtime_finds_the_same_boxes(tmp_path: Path) -> None:
    import onnxruntime  # type: ignore[import-not-found]

    model, room_for = sr3d.load("sr3d_rooms"), capacity()
    onnx_files.write_onnx(export_detector(model, room_for), tmp_path / "detector.onnx")  # type: ignore[arg-type]
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    for room in ROOMS:
        points, colors, count = (part.numpy() for part in padded(room, room_for.points))
        outputs = session.run(None, {"points": points, "colors": colors, "count": count})
        boxes, scores, keep, overflow = map(torch.from_numpy, map(np.asarray, outputs))
        assert not overflow
        assert_equal(model.detect(room.points, room.colors), boxes, scores, keep)
