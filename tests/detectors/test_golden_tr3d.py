"""The network and the whole of TR3D against what MinkowskiEngine and mmdet3d compute."""

import dataclasses
from functools import cache

import numpy as np
import torch
from numpy.testing import assert_allclose

import sr3d
from sr3d.data.datasets import SCANNET
from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.common.selection import select_detections
from sr3d.detectors.outputs import Level, Predictions
from sr3d.detectors.tr3d.config import AssignerConfig, LossConfig
from sr3d.detectors.tr3d.network import decode_boxes
from sr3d.geometry.boxes import Boxes
from sr3d.matching.assigner import Anchors
from tests.detectors.golden_tr3d import golden, golden_model
from tests.detectors.test_criterion import assign, loss_of
from tests.family_configs import tr3d_config
from tests.shared_data import shared

TR3D = AssignerConfig(name="tr3d")


@cache
def raw_outputs() -> list[Level]:
    points = golden("tr3d_minkowski_scene0000_00.npz")["points"]
    return golden_model().raw_outputs(points)


def predictions() -> Predictions:
    levels = raw_outputs()
    anchors = torch.cat([level.coords for level in levels]) * 0.01
    places = Anchors(
        anchors,
        levels=torch.cat([torch.full((len(level.reg),), i) for i, level in enumerate(levels)]),
        strides=torch.cat([torch.full((len(x.reg),), 0.16 * 2**i) for i, x in enumerate(levels)]),
        scenes=torch.zeros(sum(len(level.reg) for level in levels), dtype=torch.int64),
        batch_size=1,
    )
    return Predictions(
        places,
        boxes=decode_boxes(anchors, torch.cat([level.reg for level in levels])),
        logits=torch.cat([level.cls for level in levels]),
    )


def truth() -> GroundTruth:
    reference = golden("tr3d_mmdet3d_scene0000_00.npz")
    boxes = Boxes.from_array(reference["gt_boxes"].astype(np.float32)).tensor
    return GroundTruth.collate([boxes], [torch.from_numpy(reference["gt_labels"])])


def test_parameters_and_names() -> None:
    networks = {name: sr3d.load("tr3d", name, untrained=True) for name in ("scannet", "sunrgbd")}
    counts = {
        dataset: sum(p.numel() for p in network.parameters())
        for dataset, network in networks.items()
    }
    assert counts == {"scannet": 14_661_464, "sunrgbd": 14_660_690}


def test_state_dict_is_that_of_the_published_model() -> None:
    rows = shared("notes/tr3d_state_dict_scannet.txt").read_text().splitlines()
    published = dict(row.split("\t") for row in rows)
    renamed = {
        name.replace("head.bbox_conv", "bbox_head.conv_reg").replace(
            "head.cls_conv", "bbox_head.conv_cls"
        ): shape
        for name, shape in published.items()
    }
    own = {name: str(tuple(t.shape)) for name, t in golden_model().state_dict().items()}
    assert own == renamed


def test_raw_outputs_equal_minkowski_engine() -> None:
    reference = golden("tr3d_minkowski_scene0000_00.npz")
    for i, level in enumerate(raw_outputs()):
        assert np.array_equal(level.coords.numpy(), reference[f"coords{i}"])
        assert_allclose(level.reg.numpy(), reference[f"reg{i}"], atol=1e-4)
        assert_allclose(level.cls.numpy(), reference[f"cls{i}"], atol=1e-4)


def test_positives_equal_mmdet3d() -> None:
    reference = golden("tr3d_mmdet3d_scene0000_00.npz")
    assigned = assign(predictions(), truth(), SCANNET, TR3D)
    positive = assigned >= 0
    ours = np.column_stack(
        [
            predictions().anchors.positions[positive].numpy(),
            truth().labels[assigned[positive]].numpy(),
            truth().boxes[assigned[positive], :6].numpy(),
        ]
    )
    theirs = np.column_stack(
        [reference["pos_points"], reference["pos_cls"], reference["pos_boxes"]]
    )
    assert len(ours) == len(theirs)
    assert_allclose(_sorted(ours), _sorted(theirs), atol=1e-5)


def test_losses_equal_mmdet3d() -> None:
    reference = golden("tr3d_mmdet3d_scene0000_00.npz")
    terms = loss_of(predictions(), truth(), SCANNET, TR3D, LossConfig(cls="focal"))
    assert_allclose(float(terms.terms["box"]), reference["loss_bbox"], rtol=1e-4)
    assert_allclose(float(terms.terms["cls"]), reference["loss_cls"], rtol=1e-4)


def test_detections_equal_mmdet3d() -> None:
    reference = golden("tr3d_mmdet3d_scene0000_00.npz")
    sharp = dataclasses.replace(predictions(), logits=6 * predictions().logits - 2)
    inference = tr3d_config("scannet").test
    found = select_detections(sharp, inference, rotated=False)
    assert np.array_equal(found.labels.numpy(), reference["det_labels"])
    assert_allclose(found.scores.numpy(), reference["det_scores"], atol=1e-4)
    # Scores that differ by less than float32 can tell may stand in either order.
    size = reference["det_boxes"].shape[1]
    ours = np.column_stack([found.labels.numpy(), found.boxes.numpy()[:, :size]])
    theirs = np.column_stack([reference["det_labels"], reference["det_boxes"]])
    assert_allclose(_sorted(ours), _sorted(theirs), atol=1e-4)


def _sorted(rows: np.ndarray) -> np.ndarray:
    """Rows in an order that rounding does not change: by rounded columns."""
    return rows[np.lexsort(np.round(rows, 3).T[::-1])]
