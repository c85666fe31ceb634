"""The models that come with the package: small, described, and as good as their card says."""

from pathlib import Path

import numpy as np
import pytest
import torch

import sr3d
from sr3d.cli import main
from sr3d.data.rooms.generate import generate_room
from sr3d.geometry.iou import pairwise_iou
from sr3d.runs.files import read_json, sha256
from sr3d.runs.pretrained import PRETRAINED, PRETRAINED_MODELS
from sr3d.runs.record import read_run


def test_every_folder_is_a_model_and_has_a_card() -> None:
    assert {folder.name for folder in PRETRAINED.iterdir()} == set(PRETRAINED_MODELS)
    for name in PRETRAINED_MODELS:
        assert (PRETRAINED / name / "README.md").is_file()


@pytest.mark.parametrize("name", PRETRAINED_MODELS)
def test_weights_are_those_of_the_record_and_small(name: str) -> None:
    weights = PRETRAINED / name / "model.safetensors"
    assert weights.stat().st_size < 5 * 2**20
    assert "checksum" in read_json(PRETRAINED / name / "run.json")
    assert read_run(PRETRAINED / name).files["model.safetensors"] == sha256(weights)


def test_it_finds_most_things_in_rooms_that_it_has_not_seen() -> None:
    model = sr3d.load("sr3d_rooms")
    found = known = 0
    for seed in range(10**6, 10**6 + 6):
        room = generate_room(seed)
        detections = model.detect(room.points, room.colors)
        confident = detections.scores > 0.3
        boxes, labels = detections.boxes[confident], detections.labels[confident]
        overlap = pairwise_iou(room.boxes.tensor, boxes, rotated=False)
        overlap = overlap.where(room.labels[:, None] == labels, torch.zeros(()))
        found += int((overlap.amax(dim=1) > 0.25).sum())
        known += len(room.labels)
    assert known > 40
    assert found / known > 0.7


def test_detect_takes_it_by_default_and_says_what_it_has_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["detect", "--demo", "--out", str(tmp_path)]) == 0
    assert read_json(tmp_path / "demo.json")["detections"]
    assert not caplog.records
    room = generate_room(10**6)
    np.save(tmp_path / "room.npy", torch.cat([room.points, room.colors], dim=1).numpy())
    assert main(["detect", str(tmp_path / "room.npy"), "--out", str(tmp_path)]) == 0
    (warning,) = caplog.records
    for name in ("--model", "sr3d_rooms"):
        assert name in warning.message
    assert read_json(tmp_path / "room.npy.json")["detections"]
