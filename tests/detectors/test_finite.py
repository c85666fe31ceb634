"""NaN and infinity that a network gives are refused, where a threshold and NMS would hide them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sr3d.data.loader import generator_for
from sr3d.data.scans import read_scan
from sr3d.data.scene import Scene
from sr3d.deploy.detection import ScanDetections, detect_files
from sr3d.detectors.common.sparse_detector import SparseDetector
from sr3d.detectors.fcaf3d.detector import CentredPredictions
from sr3d.detectors.outputs import require_finite_predictions
from sr3d.errors import InputError
from sr3d.evaluate.loop import detect_scene
from sr3d.geometry.boxes import Boxes
from tests.data.scans.making import room, write_any
from tests.detectors.test_compiled import capacity_for, run_static, scan
from tests.detectors.test_criterion import predictions
from tests.detectors.thin import thin_fcaf3d, thin_model
from tests.family_configs import tr3d_config

# Of the head: of all classes, and of one; of boxes; of FCAF3D's centerness.
BROKEN = [
    (thin_model, "conv_cls.bias", 3, torch.nan),
    (thin_model, "conv_cls.kernel", 0, torch.inf),
    (thin_model, "conv_reg.kernel", 0, torch.nan),
    (thin_model, "conv_reg.bias", 3, 1e3),  # a size beyond float32
    (thin_fcaf3d, "conv_cls.bias", 3, torch.nan),
    (thin_fcaf3d, "conv_reg.kernel", 6, torch.nan),
    (thin_fcaf3d, "conv_center.kernel", 0, torch.nan),
]
Make = Callable[[str], SparseDetector[Any]]


def broken(make: Make, name: str, column: int, value: float) -> SparseDetector[Any]:
    model = make("sunrgbd")
    with torch.no_grad():
        model.get_parameter(f"bbox_head.{name}")[..., column] = value
    return model


@pytest.mark.parametrize(("make", "name", "column", "value"), BROKEN)
def test_every_way_to_detect_refuses_them(make: Make, name: str, column: int, value: float) -> None:
    sound, points = make("sunrgbd"), scan()
    capacity = capacity_for(sound, points)
    assert not run_static(sound, capacity, points).overflow
    model = broken(make, name, column, value)
    for runner in (model, model.compile()):
        with pytest.raises(InputError) as error:
            runner.detect(points)
        assert "checkpoint" in str(error.value)
    assert run_static(model, capacity, points).overflow  # the free path says why


def test_one_value_of_one_anchor_is_enough() -> None:
    sound = predictions([7], thin_model("sunrgbd").dataset)
    center = CentredPredictions(**vars(sound), centerness=torch.zeros(7))
    require_finite_predictions(center)
    for field in ("logits", "boxes", "centerness"):
        for bad in (torch.nan, torch.inf, -torch.inf):
            value = getattr(center, field).detach().clone()
            value.view(-1)[-1] = bad
            with pytest.raises(InputError):
                require_finite_predictions(dataclasses.replace(center, **{field: value}))


@pytest.mark.parametrize("oracle", ["none", "iou"])
def test_an_evaluation_names_the_scene(oracle: Any) -> None:
    model = broken(thin_model, "conv_cls.bias", 3, torch.nan)
    model.inference = dataclasses.replace(tr3d_config("sunrgbd").test, oracle=oracle)
    points = scan()
    boxes = Boxes(torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]]))
    scene = Scene("frame_42", points[:, :3], points[:, 3:], boxes, torch.tensor([3]))
    with torch.inference_mode(), pytest.raises(InputError) as error:
        detect_scene(model, scene, generator_for(0))
    assert "frame_42" in str(error.value)
    assert "checkpoint" in str(error.value)


def test_detecting_in_files_names_the_file(tmp_path: Path) -> None:
    write_any(tmp_path / "kitchen.npz", *room())
    model = broken(thin_model, "conv_cls.bias", 3, torch.nan)
    scans = [(tmp_path / "kitchen.npz", Path("kitchen"))]
    found: list[ScanDetections] = []
    with pytest.raises(InputError) as error:
        detect_files(model, model.classes, scans, read_scan, 0.3, found.append)
    assert found == []
    assert str(tmp_path / "kitchen.npz") in str(error.value)
