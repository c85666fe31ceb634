"""Our AP is mmdet3d's `indoor_eval`, on the whole validation sets' true boxes, jittered.

mmdet3d computes overlaps in float32, we in float64, so a detection that overlaps its best ground
truth by a threshold, to rounding, could be right for the one alone. None of these is.
"""

import numpy as np
import pytest

pytest.importorskip("mmdet3d", reason="needs the environment of envs/openmmlab.sh")

import torch
from mmdet3d.evaluation import indoor_eval
from mmdet3d.structures import Box3DMode, DepthInstance3DBoxes
from numpy.testing import assert_allclose

from sr3d.data.box_files import read_ground_truth
from sr3d.data.datasets import SCANNET, SUNRGBD, Dataset
from sr3d.evaluate.average_precision import average_precision
from sr3d.evaluate.detection_matches import best_ground_truth
from sr3d.geometry.box_set import BoxSet
from sr3d.interop.mmdet3d.box_conversion import depth_boxes
from sr3d.interop.mmdet3d.metric import SR3DMetric
from tests.shared_data import shared

pytestmark = pytest.mark.openmmlab

THRESHOLDS = (0.25, 0.5)


def scannet_truth() -> BoxSet:
    return read_ground_truth(shared("real/scannet/infos/scannet_infos_val.pkl"), SCANNET.classes)


def sunrgbd_truth() -> BoxSet:
    with np.load(shared("real/sunrgbd/v1_val_gt.npz")) as file:
        return BoxSet(
            scene=file["image_id"].astype(str),
            label=np.array([SUNRGBD.classes.index(name) for name in file["cls"]]),
            box=file["box"].astype(np.float32),
        )


def jittered(truth: BoxSet, rotated: bool, classes: int) -> BoxSet:
    """Up to two guesses at each box, some of another class, and boxes out of the air."""
    draw = np.random.default_rng(0)
    rows = np.repeat(np.arange(len(truth)), draw.integers(0, 3, len(truth)))
    box = truth.box[rows].astype(np.float64)
    box[:, :3] += 0.12 * box[:, 3:6] * draw.standard_normal((len(box), 3))
    box[:, 3:6] *= np.exp(0.15 * draw.standard_normal((len(box), 3)))
    box[:, 6] += 0.2 * draw.standard_normal(len(box)) * rotated
    label = truth.label[rows].copy()
    other = draw.random(len(rows)) < 0.05
    label[other] = draw.integers(0, classes, other.sum())
    scenes = np.unique(truth.scene)
    air = np.column_stack(
        [draw.uniform(-3, 3, (len(scenes), 3)), draw.uniform(0.3, 2, (len(scenes), 4))]
    )
    air[:, 6] *= rotated
    everything = np.concatenate([box, air]).astype(np.float32)
    return BoxSet(
        scene=np.concatenate([truth.scene[rows], scenes]),
        label=np.concatenate([label, draw.integers(0, classes, len(scenes))]),
        box=everything,
        score=(draw.permutation(len(everything)) / len(everything)).astype(np.float32),
    )


def of_mmdet3d(truth: BoxSet, found: BoxSet, kind: Dataset) -> dict[str, float]:
    assert found.score is not None
    truths, guesses = [], []
    for scene in np.unique(truth.scene):
        mine, theirs = truth.scene == scene, found.scene == scene
        truths.append(
            {
                "gt_bboxes_3d": depth_boxes(torch.from_numpy(truth.box[mine]), kind.rotated),
                "gt_labels_3d": truth.label[mine],
            }
        )
        guesses.append(
            {
                "bboxes_3d": depth_boxes(torch.from_numpy(found.box[theirs]), kind.rotated),
                "labels_3d": torch.from_numpy(found.label[theirs]),
                "scores_3d": torch.from_numpy(found.score[theirs]),
            }
        )
    return indoor_eval(
        truths, guesses, THRESHOLDS, kind.classes, logger="silent", box_mode_3d=Box3DMode.DEPTH
    )


def test_overlaps_of_oriented_boxes_are_mmcvs() -> None:
    truth = sunrgbd_truth()
    found = jittered(truth, True, len(SUNRGBD.classes))
    best = best_ground_truth(truth, found, rotated=True)
    pairs = np.flatnonzero(best.index >= 0)
    guesses = depth_boxes(torch.from_numpy(found.box[pairs]), rotated=True)
    truths = depth_boxes(torch.from_numpy(truth.box[best.index[pairs]]), rotated=True)
    for few in np.array_split(np.arange(len(pairs)), 100):
        theirs = DepthInstance3DBoxes.overlaps(guesses[few], truths[few]).diagonal()
        assert_allclose(theirs.numpy(), best.iou[pairs[few]], atol=1e-4)


@pytest.mark.parametrize(
    ("read", "kind"),
    [(scannet_truth, SCANNET), (sunrgbd_truth, SUNRGBD)],
    ids=["scannet", "sunrgbd"],
)
def test_average_precision_is_indoor_eval(read, kind: Dataset) -> None:
    truth = read()
    found = jittered(truth, kind.rotated, len(kind.classes))
    theirs = of_mmdet3d(truth, found, kind)
    ours = average_precision(truth, found, kind.classes, THRESHOLDS, rotated=kind.rotated)
    assert set(ours["per_class"]) == set(kind.classes)
    for key, name in (("AP25", "0.25"), ("AP50", "0.50")):
        assert 5 < ours[key] < 95
        assert ours[key] / 100 == pytest.approx(theirs[f"mAP_{name}"], abs=1e-6)
        for label, values in ours["per_class"].items():
            assert values[key] / 100 == pytest.approx(theirs[f"{label}_AP_{name}"], abs=1e-6)


def test_classes_that_mmdet3d_leaves_out_are_not_counted() -> None:
    """Its data sets keep their boxes, with the label -1."""
    boxes = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0], [5.0, 0, 0, 1, 1, 1, 0]])
    metric = SR3DMetric()
    metric.dataset_meta = {"classes": ("chair", "table")}
    sample = {
        "lidar_points": {"lidar_path": "points/scene0000_00.bin"},
        "eval_ann_info": {
            "gt_bboxes_3d": depth_boxes(boxes, rotated=False),
            "gt_labels_3d": np.array([1, -1]),
        },
        "pred_instances_3d": {
            "bboxes_3d": depth_boxes(boxes[:1], rotated=False),
            "labels_3d": torch.tensor([1]),
            "scores_3d": torch.tensor([0.9]),
        },
    }
    metric.process({}, [sample])
    assert metric.compute_metrics(metric.results)["table_AP50"] == 100
