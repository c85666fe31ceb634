"""FCAF3D against what SamsungLabs/fcaf3d and mmdetection3d's core compute on real scans.

The network has 70 million weights and takes seconds a scan on one core, so each scan is run once.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.spatial import KDTree
from torch import Tensor

import sr3d
from sr3d.data.datasets import SCANNET, SUNRGBD, Dataset
from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.common.checkpoint_names import own_name
from sr3d.detectors.fcaf3d import network as fcaf3d_network
from sr3d.detectors.fcaf3d.detector import FCAF3D, CentredPredictions
from sr3d.detectors.fcaf3d.network import prune
from sr3d.detectors.outputs import Detections
from sr3d.detectors.tr3d.config import AssignerConfig
from sr3d.geometry.boxes import Boxes, centerness
from sr3d.sparse import SparseTensor
from tests.detectors.golden_fcaf3d import built, ours, scannet_cloud, sunrgbd_cloud, theirs
from tests.detectors.golden_tr3d import golden
from tests.detectors.test_criterion import assign

Golden = dict[str, np.ndarray]
CLOSE = 1e-5  # of the largest value; float32 sums in another order differ by a tenth of it
CORE, FORK = "fcaf3d_core_sunrgbd_000017.npz", "fcaf3d_sunrgbd_000017.npz"


class Run(NamedTuple):
    """One scan through a network. raw: per level its coordinates (M, 3) and raw outputs.

    pruned: per pruned level, finest first, its cells before and after.
    """

    model: FCAF3D
    predictions: CentredPredictions
    raw: list[dict[str, np.ndarray]]
    pruned: list[tuple[int, int]]


def run(model: FCAF3D, cloud: tuple[Tensor, Tensor]) -> Run:
    pruned = []

    def noted(x: SparseTensor, scores: SparseTensor, most: int) -> SparseTensor:
        kept = prune(x, scores, most)
        pruned.append((len(x.sites), len(kept.sites)))
        return kept

    points, colors = cloud
    with torch.no_grad(), patch.object(fcaf3d_network, "prune", noted):
        x = model.voxels([points], [colors])
        levels = model.run_network(x)
        with patch.object(model, "run_network", return_value=levels):
            predictions = model(x)
    raw = [
        {
            "coords": out.sites.coords[:, 1:].numpy(),
            "bbox": torch.cat([reg[:, :6].exp(), reg[:, 6:]], dim=1).numpy(),
            "cls": cls.numpy(),
            "ctr": center.numpy(),
        }
        for out, reg, cls, center in levels
    ]
    return Run(model, predictions, raw, pruned[::-1])


@pytest.fixture(scope="module")
def scannet() -> Run:
    cloud = scannet_cloud(golden("fcaf3d_scene0000_00.npz")["point_idx"])
    return run(built("scannet", ours(theirs("fcaf3d_keys.txt"))), cloud)


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """SamsungLabs/fcaf3d's checkpoint of SUN RGB-D, as a user would load it."""
    path = tmp_path_factory.mktemp("fork") / "fcaf3d_sunrgbd.pth"
    torch.save({"state_dict": theirs("fcaf3d_sunrgbd_keys.txt")}, path)
    model = sr3d.load(path)
    path.unlink()
    assert isinstance(model, FCAF3D)
    return run(model, sunrgbd_cloud(golden(FORK)["point_idx"]))


@pytest.fixture(scope="module")
def core() -> Run:
    """The same tensors as mmdetection3d names them, and so with its meaning of yaw."""
    model = built("sunrgbd", ours(theirs("fcaf3d_sunrgbd_keys.txt")))
    return run(model, sunrgbd_cloud(golden(CORE)["point_idx"]))


def close(found: Any, expected: np.ndarray) -> None:
    assert_allclose(found, expected, rtol=0, atol=CLOSE * np.abs(expected).max())


def sorted_cells(coords: np.ndarray) -> np.ndarray:
    return np.lexsort(coords.T[::-1])


def expect_raw_outputs(found: Run, expected: Golden, prefix: str = "", turn: int = 1) -> None:
    """Every step-th row of each level, and the means of all. turn: -1 if yaw is the opposite."""
    for i, level in enumerate(found.raw):
        own = f"{prefix}l{i}"
        assert len(level["coords"]) == expected[f"{own}_n"]
        order = sorted_cells(level["coords"])[:: int(expected[f"{own}_step"])]
        assert np.array_equal(level["coords"][order], expected[f"{own}_coords"])
        for name in ("ctr", "cls", "bbox"):
            sign = np.ones(level[name].shape[1], dtype=np.float32)
            if name == "bbox":
                sign[6:7] = turn
            values = sign * level[name]
            close(values[order], expected[f"{own}_{name}"])
            mean = values.astype(np.float64).mean(axis=0)
            assert_allclose(mean, expected[f"{own}_{name}_colmean"], rtol=1e-5, atol=1e-5)


def expect_boxes(found: Run, expected: Golden, turn: int = 1) -> None:
    boxes = found.predictions.boxes.numpy() * [1, 1, 1, 1, 1, 1, turn]
    for i, level in enumerate(found.raw):
        order = sorted_cells(level["coords"])[:: int(expected[f"l{i}_step"])]
        box = expected[f"l{i}_box"]
        close(boxes[found.predictions.anchors.levels == i][order][:, : box.shape[1]], box)


def truth_of(expected: Golden) -> GroundTruth:
    boxes = Boxes.from_array(expected["gt_boxes"]).tensor
    return GroundTruth.collate([boxes], [torch.from_numpy(expected["gt_labels"])])


def expect_positives(found: Run, expected: Golden, dataset: Dataset) -> None:
    """The same cells; and if the file has them, the same ground truths and centerness."""
    truth = truth_of(expected)
    assigned = assign(found.predictions, truth, dataset, AssignerConfig(name="fcaf3d"))
    cells = np.concatenate([level["coords"] for level in found.raw])
    positive = (assigned >= 0).numpy()
    rows = np.column_stack([found.predictions.anchors.levels.numpy(), cells])[positive]
    order = sorted_cells(rows)
    assert np.array_equal(
        rows[order], np.column_stack([expected["pos_level"], expected["pos_coords"]])
    )
    if "pos_gt" in expected:
        owner = assigned[positive][order]
        assert np.array_equal(owner.numpy(), expected["pos_gt"])
        assert np.array_equal(truth.labels[owner].numpy(), expected["pos_label"])
        anchors = found.predictions.anchors.positions[positive][order]
        close(centerness(anchors, truth.boxes[owner]).numpy(), expected["pos_centerness"])


def losses(found: Run, expected: Golden) -> dict[str, float]:
    parts = found.model.loss(found.predictions, truth_of(expected)).terms
    return {name: float(value) for name, value in parts.items()}


def expect_detections(found: Detections, expected: Golden) -> None:
    """One to one; scores that float32 cannot tell apart may stand in either order."""
    assert np.array_equal(found.labels.numpy(), expected["det_labels"])
    assert_allclose(found.scores.numpy(), expected["det_scores"], atol=5e-6)
    width = expected["det_boxes"].shape[1]
    rows = [
        np.column_stack([1000.0 * labels, 100.0 * scores, boxes])
        for labels, scores, boxes in (
            (found.labels.numpy(), found.scores.numpy(), found.boxes[:, :width].numpy()),
            (expected["det_labels"], expected["det_scores"], expected["det_boxes"]),
        )
    ]
    distance, partner = KDTree(rows[1]).query(rows[0])
    assert len(np.unique(partner)) == len(rows[1])
    assert distance.max() < 2e-3


def turned(predictions: CentredPredictions) -> CentredPredictions:
    """Every box mirrored about its own centre."""
    boxes = predictions.boxes * torch.tensor([1.0] * 6 + [-1.0])
    return dataclasses.replace(predictions, boxes=boxes)


def test_scannet_network_and_boxes(scannet: Run) -> None:
    expected = golden("fcaf3d_scene0000_00.npz")
    expect_raw_outputs(scannet, expected)
    expect_boxes(scannet, expected)
    assert scannet.pruned == [tuple(sizes) for sizes in expected["prune_sizes"].tolist()]
    assert scannet.pruned[0] == (243_712, 100_000)


def test_scannet_training(scannet: Run) -> None:
    expected = golden("fcaf3d_scene0000_00.npz")
    expect_positives(scannet, expected, SCANNET)
    assert losses(scannet, expected) == pytest.approx(
        {
            "cls": float(expected["loss_cls"]),
            "box": float(expected["loss_bbox"]),
            "center": float(expected["loss_centerness"]),
        },
        rel=1e-6,
    )


def test_scannet_detections(scannet: Run) -> None:
    expected = golden("fcaf3d_scene0000_00.npz")
    expect_detections(scannet.model.select(scannet.predictions), expected)


def test_a_checkpoint_of_samsunglabs_turns_the_other_way(fork: Run) -> None:
    """Its boxes are the golden's with the sign of yaw changed, and nothing else."""
    expected = golden(FORK)
    expect_raw_outputs(fork, expected, turn=-1)
    expect_boxes(fork, expected, turn=-1)
    assert np.abs(expected["l0_box"][:, 6]).max() > 1
    expect_positives(fork, expected, SUNRGBD)


def test_detections_of_a_checkpoint_of_samsunglabs(fork: Run) -> None:
    expected = golden(FORK)
    found = fork.model.select(fork.predictions)
    assert len(found.labels) == expected["det_n_cw_nms"]
    per_class = torch.bincount(found.labels, minlength=10).numpy()
    assert np.array_equal(per_class, expected["det_per_class_cw_nms"])
    # Its own NMS takes the clockwise angle for a counter-clockwise one.
    expect_detections(fork.model.select(turned(fork.predictions)), expected)


def test_losses_of_a_checkpoint_of_samsunglabs(fork: Run) -> None:
    expected = golden(FORK)
    found = losses(fork, expected)
    assert found["cls"] == pytest.approx(float(expected["loss_cls"]), rel=1e-6)
    assert found["center"] == pytest.approx(float(expected["loss_centerness"]), rel=1e-6)
    # Its loss, as its NMS, reads yaw the wrong way round; this is what it is with the right sign.
    assert found["box"] == pytest.approx(0.86731, abs=1e-5)


def test_sunrgbd_as_mmdetection3d_has_it(core: Run) -> None:
    expected = golden(CORE)
    expect_raw_outputs(core, expected)
    expect_positives(core, expected, SUNRGBD)
    expect_detections(core.model.select(core.predictions), expected)
    assert losses(core, expected) == pytest.approx(
        {
            "cls": float(expected["cls_loss"]),
            "box": float(expected["bbox_loss"]),
            "center": float(expected["center_loss"]),
        },
        rel=1e-6,
    )


@pytest.mark.slow  # a further 5 s; that pruning keeps the best cells is tested on small clouds
def test_every_level_pruned_on_a_real_scan() -> None:
    expected = golden("fcaf3d_scene0000_00.npz")
    model = built("scannet", ours(theirs("fcaf3d_keys.txt")))
    model.bbox_head.pts_prune = 3000
    found = run(model, scannet_cloud(expected["point_idx"]))
    assert found.pruned == [tuple(sizes) for sizes in expected["p3000_prune_sizes"].tolist()]
    for i, level in enumerate(found.raw):
        cells = level["coords"][sorted_cells(level["coords"])]
        assert np.array_equal(cells, expected[f"p3000_l{i}_coords_all"])
    expect_raw_outputs(found, expected, prefix="p3000_")
    labels = model.select(found.predictions).labels
    assert len(labels) == expected["p3000_det_n"]
    assert np.array_equal(torch.bincount(labels, minlength=18), expected["p3000_det_per_class"])


@pytest.mark.slow  # the backward pass of 70 million weights: some 20 s and 4 GB each
@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
def test_gradients_of_every_parameter(dataset: str) -> None:
    if dataset == "scannet":
        expected, keys = golden("fcaf3d_scene0000_00.npz"), "fcaf3d_keys.txt"
        cloud = scannet_cloud(expected["point_idx"])
    else:
        expected, keys = golden(CORE), "fcaf3d_sunrgbd_keys.txt"
        cloud = sunrgbd_cloud(expected["point_idx"])
    model = built(dataset, ours(theirs(keys)))
    points, colors = cloud
    model.loss(model(model.voxels([points], [colors])), truth_of(expected)).total.backward()
    norms = {
        name: float(p.grad.double().norm())
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    names = [str(own_name(name)) for name in expected["grad_names"].tolist()]
    assert len(names) == 149
    expected_norms = dict(zip(names, expected["grad_norms"].tolist(), strict=True))
    assert norms == pytest.approx(expected_norms, rel=1e-4)
