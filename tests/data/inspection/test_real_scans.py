"""Real scans are upright, and are found out when they are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sr3d.data.box_files import read_ground_truth
from sr3d.data.datasets import SCANNET
from sr3d.data.inspection import Sign, facts, inspect
from sr3d.data.prepared import PreparedWriter
from sr3d.data.safe_pickle import load_pickle
from sr3d.data.scene import Scene
from sr3d.geometry.boxes import Boxes
from tests.data.inspection.making import (
    swapped,
)
from tests.shared_data import shared

# ---------------------------------------------------------------- real scans


def real_scan(name: str) -> Scene:
    root = shared("real/scannet")
    entry = next(
        e for e in load_pickle(root / "infos" / "scannet_infos_train.pkl")["data_list"]
        if e["lidar_points"]["lidar_path"] == f"{name}.bin"
    )  # fmt: skip
    truth = read_ground_truth(root / "infos" / "scannet_infos_train.pkl", SCANNET.classes)
    own = truth.scene == name
    rows = np.fromfile(root / "points" / f"{name}.bin", "<f4").reshape(-1, 6)
    turn = np.array(entry["axis_align_matrix"])
    return Scene(
        name,
        torch.from_numpy((rows[:, :3] @ turn[:3, :3].T + turn[:3, 3]).astype(np.float32)),
        torch.from_numpy(rows[:, 3:] / np.float32(255)),
        Boxes.from_array(truth.box[own]),
        torch.from_numpy(truth.label[own]),
    )


@pytest.mark.parametrize("name", ["scene0000_00", "scene0113_00"])
def test_real_scans_upright_and_turned(tmp_path: Path, name: str) -> None:
    scene = real_scan(name)
    turned = {"z": (0, 1, 2), "x": (2, 0, 1), "y": (0, 2, 1)}
    for up, order in turned.items():
        writer = PreparedWriter(tmp_path / up, "scannet", SCANNET.classes, False, "a test")
        writer.add("train", swapped(order)(scene))
        writer.finish()
        (split,) = inspect(tmp_path / up).splits
        signs = {"x": [Sign.X_UP], "y": [Sign.Y_UP], "z": []}
        assert [one.sign for one in split.suspicions] == signs[up]
    bare = replace(scene, boxes=scene.boxes[:0], labels=scene.labels[:0])  # points alone tell too
    assert facts.scene_facts(bare).up == 2
    assert facts.scene_facts(swapped((0, 2, 1))(bare)).up == 1


def test_a_real_frame_upright_and_turned() -> None:
    rows = np.fromfile(shared("real/sunrgbd/points/000017.bin"), "<f4").reshape(-1, 6)
    points, none = torch.from_numpy(rows[:, :3]), torch.zeros(0, dtype=torch.int64)
    frame = Scene("17", points, torch.from_numpy(rows[:, 3:]), Boxes.empty(), none)
    assert facts.scene_facts(frame).up == 2
    assert facts.scene_facts(swapped((2, 1, 0))(frame)).up == 0


def test_furniture_of_all_real_scans_stands_on_one_level() -> None:
    """The surest sign: boxes alone name z in nearly every scene, and hardly ever another axis."""
    path = shared("real/scannet/infos/scannet_infos_train.pkl")
    truth = read_ground_truth(path, SCANNET.classes)
    order = np.argsort(truth.scene, kind="stable")
    _, starts = np.unique(truth.scene[order], return_index=True)
    named = []
    for boxes in np.split(truth.box[order], starts[1:]):
        if len(boxes) >= 3:
            ends = (boxes[:, :3] + side * boxes[:, 3:6] / 2 for side in (-1, 1))
            levels = [[facts.on_one_level(v, 0.1) for v in end.T] for end in ends]
            votes = facts.vote(np.max(levels, axis=0))
            named.append(int(votes.argmax()) if votes.any() else -1)
    assert len(named) > 1000
    assert np.mean(np.array(named) == 2) > 0.85
    assert np.mean(np.isin(named, (0, 1))) < 0.05
