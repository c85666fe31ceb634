"""Sampling equals the indices that the detectors' original code chose on real scans."""

import pickle

import numpy as np
import pytest
import torch

from sr3d.points import furthest_points
from tests.shared_data import shared


def sample(points, count, **options):
    cloud = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32))
    return furthest_points(cloud[None], count, **options)[0].numpy()


@pytest.mark.parametrize(
    "name",
    ["votenet_scene0000_00", "votenet_sunrgbd_000001", "mlcvnet_scene0000_00"],
)
def test_votenet_and_mlcvnet(name):
    with np.load(shared(f"golden/{name}.npz")) as golden:
        points = golden["points"][:, :3]
        first, second = golden["test_sa1_inds"], golden["test_sa2_inds"]
        np.testing.assert_array_equal(sample(points, 2048), first)
        np.testing.assert_array_equal(sample(points[first], 1024), second)
        votes = sample(golden["vote_xyz"], 256)
        np.testing.assert_array_equal(votes, golden["train_aggregated_vote_inds"])


@pytest.mark.parametrize("name", ["brnet_scene0000_00", "brnet_sunrgbd_000001"])
def test_brnet_keeps_points_near_the_origin(name):
    with np.load(shared(f"golden/{name}.npz")) as golden:
        chosen = sample(golden["points"][:, :3], 1024, skip_origin=False, tie_threads=1024)
        np.testing.assert_array_equal(chosen, golden["test_seed_indices"])


def test_vdetr_has_ties_at_most_steps():
    with np.load(shared("golden/vdetr_scene0000_00.npz")) as golden:
        voxels = golden["out_C"].astype(np.float32) * np.float32(0.01)
        np.testing.assert_array_equal(sample(voxels, 4096), golden["seed_inds"])
        on_a_gpu = sample(voxels, 4096, tie_threads=512)
        np.testing.assert_array_equal(on_a_gpu, golden["fps_cudatie"])
        assert (golden["fps_cudatie"] != golden["seed_inds"]).any()


@pytest.fixture(scope="module")
def scan():
    """scene0000_00: points (N, 3) float32, and the 4 × 4 matrix of its axis alignment."""
    name = "scene0000_00.bin"
    points = np.fromfile(shared(f"real/scannet/points/{name}"), np.float32).reshape(-1, 6)
    infos = pickle.loads(shared("real/scannet/infos/scannet_infos_train.pkl").read_bytes())
    (info,) = (i for i in infos["data_list"] if i["lidar_points"]["lidar_path"].endswith(name))
    return points[:, :3], np.array(info["axis_align_matrix"])


@pytest.mark.parametrize(
    ("name", "key"),
    [("groupfree", "sa1_inds"), ("3detr", "preenc_inds"), ("3detr_vanilla", "preenc_inds")],
)
def test_groupfree_and_3detr(name, key, scan):
    points, matrix = scan  # aligned in float64
    aligned = np.column_stack([points, np.ones(len(points), np.float32)]) @ matrix.T
    with np.load(shared(f"golden/{name}_scene0000_00.npz")) as golden:
        chosen = sample(aligned[golden["choice"], :3], 2048)
        np.testing.assert_array_equal(chosen, golden[key])


@pytest.mark.parametrize("stage", ["test", "train"])
def test_rbgnet(stage, scan):
    points, matrix = scan  # aligned in float32
    rotation, shift = matrix[:3, :3].astype(np.float32), matrix[:3, 3].astype(np.float32)
    aligned = points @ rotation.T + shift
    with np.load(shared("golden/rbgnet_scene0000_00.npz")) as golden:
        chosen = sample(aligned[golden["sample_idx"]], 2048, skip_origin=False)
        np.testing.assert_array_equal(chosen, golden[f"{stage}_sa1_indices"])
        votes = golden[f"{stage}_vote_points"]
        clusters = votes[sample(votes, 256, skip_origin=False)]
        np.testing.assert_array_equal(clusters, golden[f"{stage}_aggregated_points"])
