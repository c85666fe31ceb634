"""mmdet3d's own train.py and test.py, as a person runs them, on rooms and on real scans."""

import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

pytest.importorskip("mmdet3d", reason="needs the environment of envs/openmmlab.sh")

import mmdet3d

from sr3d.data.mmdet3d.export import export_mmdet3d
from sr3d.study.external_boxes import evaluate_files
from tests.interop.mmdet3d.samples import CONFIGS
from tests.shared_data import ROOT, shared

pytestmark = pytest.mark.openmmlab

TOOLS = Path(mmdet3d.__file__).parent / ".mim" / "tools"
THIN = [
    "model.network.voxel_size=0.04",
    "model.network.stem_channels=8",
    "model.network.planes=[8,8,8,8]",
    "model.network.blocks=[1,1,1,1]",
    "model.network.neck_channels=16",
    "model.test_cfg.nms_pre=300",
    "optim_wrapper.optimizer.lr=4e-3",
    "param_scheduler.0.end=5",
    "train_dataloader.batch_size=2",
    *(
        f"{split}_dataloader.{option}"
        for split in ("train", "val", "test")
        for option in ("num_workers=0", "persistent_workers=False")
    ),
]


def tool(name: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """Run it in a folder; what it logged, a row a line."""
    work = folder / name
    command = [sys.executable, str(TOOLS / f"{name}.py"), *arguments, "--work-dir", str(work)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = [json.loads(line) for path in work.glob("*/2*.json") for line in path.open()]
    rows += [json.loads(line) for path in work.glob("*/vis_data/2*.json") for line in path.open()]
    return {"rows": rows, "work": work}


def train_and_test(folder: Path, config: str, dataset: str, epochs: int, *options: str) -> None:
    """The loss falls, and what test.py prints is what `sr3d evaluate` finds of the same boxes."""
    file = str(CONFIGS / config)
    loop = [
        f"train_cfg.max_epochs={epochs}",
        f"train_cfg.val_interval={epochs}",
        "default_hooks.logger.interval=1",
    ]
    trained = tool("train", folder, file, "--cfg-options", *loop, *options)
    losses = [row["loss"] for row in trained["rows"] if "loss" in row]
    assert len(losses) >= 20
    assert mean(losses[-5:]) < 0.95 * mean(losses[:5])

    checkpoint = str(trained["work"] / f"epoch_{epochs}.pth")
    boxes = "test_evaluator.1.out=boxes"
    tested = tool("test", folder, file, checkpoint, "--cfg-options", boxes, *options)
    (printed,) = [row for row in tested["rows"] if "mAP_0.25" in row]
    truth, found = (folder / "boxes" / name for name in ("ground_truth.npz", "detections.npz"))
    scored = evaluate_files(truth, [found], dataset).files[0].result
    assert scored["AP25"] > 0
    for ours, theirs in (("AP25", "0.25"), ("AP50", "0.50")):
        by_class = {label: values[ours] for label, values in scored["per_class"].items()}
        same = {label: 100 * printed[f"{label}_AP_{theirs}"] for label in by_class}
        assert same == pytest.approx(by_class, abs=1e-4)
        # mmdet3d's mean is NaN where a class was detected that no scene has.
        whole = 100 * printed[f"mAP_{theirs}"]
        assert math.isnan(whole) or whole == pytest.approx(scored[ours], abs=1e-4)
        assert printed[f"sr3d/{ours}"] == pytest.approx(scored[ours], abs=1e-9)


def test_procedural_rooms(rooms: Path, tmp_path: Path) -> None:
    export_mmdet3d(rooms, tmp_path / "data" / "rooms_mmdet3d")
    train_and_test(tmp_path, "sr3d_rooms.py", "synthetic", 20)


def test_real_scans(tmp_path: Path) -> None:
    data, clouds = tmp_path / "data" / "scannet", shared("real/scannet/points")
    data.mkdir(parents=True)
    (data / "points").symlink_to(clouds)
    there = {path.name for path in clouds.glob("*.bin")}
    content = pickle.loads(shared("real/scannet/infos/scannet_infos_train.pkl").read_bytes())
    some = [row for row in content["data_list"] if row["lidar_points"]["lidar_path"] in there]
    assert len(some) == 2
    for split in ("train", "val"):
        (data / f"scannet_infos_{split}.pkl").write_bytes(
            pickle.dumps({**content, "data_list": some})
        )
    options = [*THIN, "train_dataloader.dataset.times=10"]
    train_and_test(tmp_path, "sr3d_scannet.py", "scannet", 3, *options)


def test_real_frames_with_oriented_boxes(tmp_path: Path) -> None:
    data, source = tmp_path / "data" / "sunrgbd", shared("real/sunrgbd/points")
    data.mkdir(parents=True)
    (data / "points").symlink_to(source)
    for split in ("train", "val"):
        (data / f"sunrgbd_infos_{split}.pkl").symlink_to(source / "sunrgbd_000017_infos.pkl")
    options = [*THIN, "train_dataloader.dataset.times=20"]
    train_and_test(tmp_path, "sr3d_sunrgbd.py", "sunrgbd", 3, *options)
