"""mmdet3d's own TR3D beside ours, on a real scan: its weights here, our head there.

Its `projects` are not in the wheel. MMDETECTION3D names a checkout that has them.
"""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmdet3d", reason="needs the environment of envs/openmmlab.sh")
pytest.importorskip("MinkowskiEngine", reason="needs the environment of envs/openmmlab.sh")

import numpy as np
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import load_checkpoint
from mmengine.structures import InstanceData
from numpy.testing import assert_allclose

import sr3d.interop.mmdet3d  # noqa: F401
from sr3d.data.datasets import SCANNET
from sr3d.detectors.configuration import default_config
from sr3d.detectors.weights import write_foreign
from sr3d.interop.mmdet3d.box_conversion import depth_boxes
from tests.detectors.golden.comparing import Golden
from tests.detectors.golden.tr3d import golden_model
from tests.shared_data import shared

pytestmark = pytest.mark.openmmlab

OURS = dict(
    type="SR3DHead",
    dataset="scannet",
    voxel_size=0.01,
    assigner=dict(name="tr3d"),
    loss=dict(cls="focal"),
)
THEIRS = dict(
    type="TR3DHead",
    in_channels=128,
    voxel_size=0.01,
    pts_center_threshold=6,
    num_reg_outs=6,
    label2level=SCANNET.levels,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our network's weights as `sr3d convert --to mmdet3d` writes them."""
    path = tmp_path_factory.mktemp("tr3d") / "tr3d.pth"
    write_foreign(path, golden_model(), default_config("scannet"), "mmdet3d")
    return path


def tr3d(head: dict[str, Any], checkpoint: Path) -> Any:
    if folder := os.environ.get("MMDETECTION3D"):
        sys.path.append(folder)
    reason = "needs mmdetection3d's folder projects/TR3D; MMDETECTION3D names a checkout"
    pytest.importorskip("projects.TR3D.tr3d", reason=reason)
    init_default_scope("mmdet3d")
    planes = (64, 128, 128, 128)
    backbone = dict(type="TR3DMinkResNet", in_channels=3, depth=34, norm="batch", num_planes=planes)
    model = MODELS.build(
        ConfigDict(
            type="MinkSingleStage3DDetector",
            data_preprocessor=dict(type="Det3DDataPreprocessor"),
            backbone=backbone,
            neck=dict(type="TR3DNeck", in_channels=planes, out_channels=128),
            bbox_head=head,
            train_cfg=dict(),
            test_cfg=dict(nms_pre=1000, iou_thr=0.5, score_thr=0.01),
        )
    )
    load_checkpoint(model, str(checkpoint), strict=True)
    return model.eval()


def golden(kind: str) -> Golden:
    return Golden(shared(f"golden/{kind}_scene0000_00.npz"))


def inputs() -> dict[str, list[torch.Tensor]]:
    return {"points": [torch.from_numpy(golden("tr3d_minkowski")["points"])]}


def sample() -> Det3DDataSample:
    reference, found = golden("tr3d_mmdet3d"), Det3DDataSample()
    found.gt_instances_3d = InstanceData(
        bboxes_3d=depth_boxes(torch.from_numpy(reference["gt_boxes"]).float(), rotated=False),
        labels_3d=torch.from_numpy(reference["gt_labels"]),
    )
    return found


@torch.no_grad()
def test_mmdet3ds_checkpoint_in_our_detector_has_its_losses(checkpoint: Path) -> None:
    init_default_scope("mmdet3d")
    config = dict(type="SR3D", data_preprocessor=dict(type="Det3DDataPreprocessor"), bbox_head=OURS)
    model = MODELS.build(config).eval()
    load_checkpoint(model, str(checkpoint), strict=True)
    found, reference = (
        model(inputs(), [sample()], mode="loss"),
        golden("tr3d_mmdet3d"),
    )
    assert_allclose(float(found["bbox_loss"]), reference["loss_bbox"], rtol=1e-4)
    assert_allclose(float(found["cls_loss"]), reference["loss_cls"], rtol=1e-4)


@torch.no_grad()
def test_our_weights_in_mmdet3ds_tr3d_give_its_outputs(checkpoint: Path) -> None:
    model, reference = (
        tr3d(THEIRS, checkpoint),
        golden("tr3d_minkowski"),
    )
    _, logits, points = model(inputs(), mode="tensor")
    for i in range(2):
        cells = np.round(points[i][0].numpy() / 0.01).astype(np.int32)
        order = np.lexsort(cells.T[::-1])
        assert np.array_equal(cells[order], reference[f"coords{i}"])
        assert_allclose(logits[i][0].numpy()[order], reference[f"cls{i}"], atol=1e-4)


@torch.no_grad()
def test_our_head_in_mmdet3ds_tr3d_has_its_losses(checkpoint: Path) -> None:
    ours = tr3d(OURS, checkpoint)(inputs(), [sample()], mode="loss")
    theirs = tr3d(THEIRS, checkpoint)(inputs(), [sample()], mode="loss")
    reference = golden("tr3d_mmdet3d")
    for name, key in (("bbox_loss", "loss_bbox"), ("cls_loss", "loss_cls")):
        assert_allclose(float(ours[name]), float(theirs[name]), rtol=1e-4)
        assert_allclose(float(ours[name]), float(reference[key]), rtol=1e-4)


@torch.no_grad()
def test_our_head_in_mmdet3ds_tr3d_detects_on_a_cpu(checkpoint: Path) -> None:
    (found,) = tr3d(OURS, checkpoint)(inputs(), [sample()], mode="predict")
    expected = golden_model().detect(inputs()["points"][0])
    assert len(expected.scores) > 100
    assert_allclose(found.pred_instances_3d.scores_3d, expected.scores, atol=1e-4)
    assert torch.equal(found.pred_instances_3d.labels_3d, expected.labels)
