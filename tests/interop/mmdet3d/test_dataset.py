"""Exported scenes reach mmdet3d as they were, and its results reach `sr3d evaluate`."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmdet3d", reason="needs the environment of envs/openmmlab.sh")

import numpy as np
import torch
from mmdet3d.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.testing import assert_close

from sr3d.data.datasets import SYNTHETIC
from sr3d.data.mmdet3d.export import export_mmdet3d
from sr3d.data.mmdet3d.reader import prepare_mmdet3d
from sr3d.data.prepared import PreparedDataset
from sr3d.errors import Kind
from sr3d.interop.mmdet3d.box_conversion import depth_boxes, from_mmdet3d
from sr3d.study.external_boxes import evaluate_files
from tests.interop.mmdet3d.samples import CONFIGS
from tests.refusals import refuses
from tests.shared_data import shared

pytestmark = pytest.mark.openmmlab

PIPELINE = [
    dict(
        type="LoadPointsFromFile",
        coord_type="DEPTH",
        load_dim=6,
        use_dim=[0, 1, 2, 3, 4, 5],
        use_color=True,
    ),
    dict(type="LoadAnnotations3D"),
    dict(type="Pack3DDetInputs", keys=["points", "gt_bboxes_3d", "gt_labels_3d"]),
]


def build_dataset(root: Path, **fields: Any) -> Any:
    init_default_scope("mmdet3d")
    name = next(path.name for path in root.glob("*_infos_train.pkl"))
    return DATASETS.build(
        dict(type="SR3DDataset", data_root=str(root), ann_file=name, pipeline=PIPELINE, **fields)
    )


@pytest.mark.parametrize("folder", ["rooms", "rotated_rooms"])
def test_scenes_are_the_prepared_ones(
    folder: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    prepared = PreparedDataset(request.getfixturevalue(folder), "train")
    export_mmdet3d(request.getfixturevalue(folder), tmp_path)
    theirs = build_dataset(tmp_path, filter_empty_gt=False)
    assert theirs.metainfo["classes"] == tuple(prepared.manifest.classes)
    assert len(theirs) == len(prepared)
    for row, scene in zip(theirs, prepared, strict=True):
        points, truth = row["inputs"]["points"], row["data_samples"].gt_instances_3d
        assert torch.equal(points, torch.cat([scene.points, scene.colors], dim=1))
        assert truth.bboxes_3d.with_yaw == prepared.manifest.rotated
        assert_close(from_mmdet3d(truth.bboxes_3d), scene.boxes.tensor)
        assert torch.equal(truth.labels_3d, scene.labels)


@pytest.mark.parametrize(
    ("name", "kind", "scenes", "infos"),
    [
        ("scannet", "ScanNetDataset", ["scene0000_00", "scene0113_00"], None),
        ("sunrgbd", "SUNRGBDDataset", ["000017"], "points/sunrgbd_000017_infos.pkl"),
    ],
)
def test_mmdet3ds_own_data_sets_read_exported_scans(
    name: str, kind: str, scenes: list[str], infos: str | None, tmp_path: Path
) -> None:
    root = shared(f"real/{name}")
    files = {"train": [root / infos], "val": []} if infos else None
    prepare_mmdet3d(root, tmp_path / "prepared", dataset=name, infos=files, scenes=scenes)
    export_mmdet3d(tmp_path / "prepared", tmp_path / "exported")
    config = Config.fromfile(CONFIGS / f"sr3d_{name}.py")
    fields = dict(config.val_dataloader.dataset)
    align_and_normalise = [
        step for step in config.test_pipeline[1:-1] if step["type"] != "PointSample"
    ]
    fields |= {
        "data_root": str(tmp_path / "exported"),
        "ann_file": f"{name}_infos_train.pkl",
        "test_mode": False,
        "pipeline": [*PIPELINE[:2], *align_and_normalise, PIPELINE[-1]],
    }
    init_default_scope("mmdet3d")
    prepared = PreparedDataset(tmp_path / "prepared", "train")
    for row, scene in zip(DATASETS.build(fields), prepared, strict=True):
        points, truth = row["inputs"]["points"], row["data_samples"].gt_instances_3d
        assert_close(points, torch.cat([scene.points, scene.colors], dim=1))
        assert_close(from_mmdet3d(truth.bboxes_3d), scene.boxes.tensor)
        assert torch.equal(truth.labels_3d, scene.labels)


def test_other_info_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "infos_train.pkl").symlink_to(
        shared("real/sunrgbd/points/sunrgbd_000017_infos.pkl")
    )
    with refuses(Kind.UNREADABLE, file="infos_train.pkl", mentions=["sr3d export mmdet3d"]):
        DATASETS.build(
            dict(type="SR3DDataset", data_root=str(tmp_path), ann_file="infos_train.pkl")
        )


def result(scene: str, truth: list, found: list) -> dict[str, Any]:
    """What mmengine hands a metric. Rows: x, label."""

    def boxes(rows: list) -> Any:
        at = torch.tensor([[x, 0, 0, 1, 1, 1, 0] for x, *_ in rows]).reshape(-1, 7).float()
        return depth_boxes(at, rotated=False)

    return {
        "lidar_points": {"lidar_path": f"data/points/{scene}.bin"},
        "eval_ann_info": {
            "gt_bboxes_3d": boxes(truth),
            "gt_labels_3d": np.array([label for _, label in truth], dtype=np.int64),
        },
        "pred_instances_3d": {
            "bboxes_3d": boxes(found),
            "labels_3d": torch.tensor([label for _, label, _ in found], dtype=torch.int64),
            "scores_3d": torch.tensor([score for *_, score in found]),
        },
    }


def test_metric_and_files_agree(tmp_path: Path) -> None:
    metric = METRICS.build(dict(type="SR3DMetric", out=str(tmp_path)))
    metric.dataset_meta = {"classes": SYNTHETIC.classes}
    # One of two chairs found, after a false one; a table found; an empty scene.
    rows = [
        result("a", [(0, 2), (5, 2)], [(9, 2, 0.9), (0.1, 2, 0.8)]),
        result("b", [(0, 4)], [(0, 4, 0.3)]),
        result("c", [], []),
    ]
    metric.process(None, rows)
    found = metric.evaluate(size=3)
    assert found["sr3d/chair_AP25"] == pytest.approx(25)
    assert found["sr3d/table_AP50"] == pytest.approx(100)
    assert found["sr3d/AP25"] == pytest.approx(62.5)
    files = [tmp_path / name for name in ("ground_truth.npz", "detections.npz")]
    scored = evaluate_files(files[0], [files[1]], "synthetic").files[0].result
    assert scored["AP25"] == pytest.approx(62.5)
    with np.load(files[0]) as truth:
        assert truth["scenes"].tolist() == ["a", "b", "c"]


def test_a_sample_must_name_its_cloud() -> None:
    metric = METRICS.build(dict(type="SR3DMetric"))
    row = result("a", [], [])
    del row["lidar_points"]
    with refuses(Kind.MISSING, mentions=["lidar_points", "meta_keys"]):
        metric.process(None, [row])
