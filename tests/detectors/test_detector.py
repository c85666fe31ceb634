import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import sr3d
from sr3d.data.loader import generator_for
from sr3d.detectors import build_detector
from sr3d.detectors.common.selection import select_detections
from sr3d.detectors.common.sparse_config import SparseInferenceConfig
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.configuration import default_config
from sr3d.detectors.outputs import Detections, Predictions
from sr3d.detectors.tr3d.network import decode_boxes
from sr3d.detectors.weights import load_weights
from sr3d.errors import InputError, Kind
from sr3d.geometry.iou import paired_iou
from sr3d.matching.assigner import Anchors
from tests.detectors.thin import thin_model
from tests.refusals import refuses


def cloud(n: int = 3000, seed: int = 0) -> torch.Tensor:
    points = torch.rand(n, 6, generator=torch.Generator().manual_seed(seed))
    points[:, :3] = points[:, :3] * 4 - 2
    return points


def test_parameters() -> None:
    counts = {
        dataset: sum(p.numel() for p in sr3d.load("tr3d", dataset, untrained=True).parameters())
        for dataset in ("scannet", "sunrgbd")
    }
    assert counts == {"scannet": 14_661_464, "sunrgbd": 14_660_690}


def test_decode_six_outputs() -> None:
    anchors = torch.tensor([[1.0, 2, 3]])
    reg = torch.tensor([[0.5, 0, -0.5, 0.0, math.log(2), math.log(3)]])
    assert torch.allclose(decode_boxes(anchors, reg), torch.tensor([[1.5, 2, 2.5, 1, 2, 3, 0]]))


def test_decode_eight_outputs() -> None:
    # Worked by hand: s = 1 + 3 = 4, q = exp(|(0, ln 3)|) = 3, so 1 x 3; height = 2 + 3; yaw = 0.
    reg = torch.tensor([[0, 0, 0, 0.0, math.log(3), math.log(2), 0, math.log(3)]])
    box = decode_boxes(torch.zeros(1, 3), reg)
    assert torch.allclose(box, torch.tensor([[0, 0, 0, 1.0, 3.0, 5.0, 0]]), atol=1e-6)
    # Turning (r6, r7) by pi turns the yaw by a quarter: the same rectangle, its axes exchanged.
    turned = reg.clone()
    turned[:, 6:] = -turned[:, 6:]
    other = decode_boxes(torch.zeros(1, 3), turned)
    assert other[0, 6].abs() == pytest.approx(math.pi / 2)
    swapped = torch.tensor([[0, 0, 0, 3.0, 1.0, 5.0, 0]])
    assert float(paired_iou(other, swapped, rotated=True)) == pytest.approx(1, abs=1e-5)


def test_voxels_floor_towards_minus_infinity_and_keep_the_first_point() -> None:
    xyz = torch.tensor([[0.5, 0.5, 0.5], [-0.1, 0.0, 0.9], [0.6, 0.4, 0.7]])
    x = voxelize([xyz], [torch.eye(3)], voxel_size=1.0)
    assert x.sites.coords.tolist() == [[0, -1, 0, 0], [0, 0, 0, 0]]
    assert x.features.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_random_representative_is_seeded_and_fair() -> None:
    xyz = torch.zeros(4, 3)
    colors = torch.arange(4.0)[:, None].expand(4, 3)

    def pick(seed: int) -> int:
        order = torch.randperm(4, generator=generator_for(seed))
        return int(voxelize([xyz], [colors], 1.0, order).features[0, 0])

    picks = [pick(seed) for seed in range(400)]
    assert picks[:50] == [pick(seed) for seed in range(50)]
    assert min(picks.count(i) for i in range(4)) > 60


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
def test_detect_and_raw_outputs(dataset: str) -> None:
    model = sr3d.load("sr3d", dataset=dataset, untrained=True)
    points = cloud()
    levels = model.raw_outputs(points.numpy())
    assert [level.coords.shape[1] for level in levels] == [3, 3]
    outputs = 8 if dataset == "synthetic_rotated" else 6
    for level in levels:
        assert level.reg.shape == (len(level.coords), outputs)
        assert level.cls.shape == (len(level.coords), len(model.dataset.classes))
    boxes, scores, labels = model.detect(points)
    assert boxes.shape == (len(scores), 7)
    assert len(labels) == len(scores)
    again = model.detect(points[:, :3], points[:, 3:])
    assert torch.equal(boxes, again.boxes)


@pytest.mark.parametrize(
    ("points", "kind", "mentions"),
    [
        (np.zeros((0, 6), np.float32), Kind.EMPTY, []),
        (np.zeros((5, 4), np.float32), Kind.VALUE, ["(N, 6)", "(5, 4)"]),
        (np.full((5, 6), np.nan, np.float32), Kind.VALUE, ["NaN"]),
    ],
)
def test_bad_scans_get_one_sentence(points: np.ndarray, kind: Kind, mentions: list[str]) -> None:
    with refuses(kind, field="points", mentions=mentions):
        sr3d.load("sr3d", dataset="synthetic", untrained=True).detect(points)


def hand_made(logits: list[list[float]], centers: list[float]) -> Predictions:
    n = len(centers)
    anchors = torch.zeros(n, 3)
    anchors[:, 0] = torch.tensor(centers)
    zero = torch.zeros(n, dtype=torch.int64)
    boxes = decode_boxes(anchors, torch.zeros(n, 6))
    places = Anchors(anchors, zero, torch.ones(n), zero, 1)
    return Predictions(places, boxes, torch.tensor(logits))


def test_selection_thresholds_classes_and_suppresses_within_a_class() -> None:
    # Unit boxes at x = 0, 0.1 and 5; two classes.
    pred = hand_made([[2.0, -9], [1.0, 3.0], [0.5, -9]], [0, 0.1, 5])
    found: Detections = select_detections(pred, SparseInferenceConfig(), rotated=False)
    assert found.labels.tolist() == [0, 0, 1]
    assert found.boxes[:, 0].tolist() == pytest.approx([0, 5, 0.1])
    assert found.scores.tolist() == pytest.approx(torch.tensor([2.0, 0.5, 3.0]).sigmoid().tolist())
    one = select_detections(pred, SparseInferenceConfig(nms_pre=1), rotated=False)
    assert one.boxes[:, 0].tolist() == pytest.approx(
        [0.1, 0.1]
    )  # class 0 and class 1 of one anchor


def test_bev_nms_ignores_height_and_3d_nms_does_not() -> None:
    pred = hand_made([[2.0], [1.0]], [0, 0])
    pred.boxes[1, 2] = 3.0  # stacked, far apart in z
    bev = select_detections(pred, SparseInferenceConfig(nms="bev"), rotated=False)
    full = select_detections(pred, SparseInferenceConfig(nms="3d"), rotated=False)
    assert (len(bev.scores), len(full.scores)) == (1, 2)


def test_weights_in_every_naming(tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(5)
    model = build_detector(default_config("synthetic"))
    state = model.state_dict()
    samsung = {
        name.replace("bbox_head.conv_reg", "head.bbox_conv").replace(
            "bbox_head.conv_cls", "head.cls_conv"
        ): value
        for name, value in state.items()
    }
    save_file(state, tmp_path / "own.safetensors")
    torch.save({"meta": {"epoch": 12}, "state_dict": state}, tmp_path / "mmdet3d.pth")
    torch.save({"state_dict": samsung, "optimizer": {}}, tmp_path / "samsung.pth")
    points = cloud()
    expected = model.detect(points)
    for name in ("own.safetensors", "mmdet3d.pth", "samsung.pth"):
        loaded = sr3d.load("tr3d", dataset="synthetic", checkpoint=tmp_path / name)
        with pytest.raises(InputError) as caught:
            sr3d.load(str(tmp_path / name), checkpoint=tmp_path / "other.pth")
        assert (caught.value.file, caught.value.field) == (tmp_path / "other.pth", "checkpoint")
        assert torch.equal(loaded.detect(points).boxes, expected.boxes)


def test_bad_checkpoints_get_one_sentence(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = build_detector(default_config("synthetic"))
    with refuses(Kind.MISSING, file="absent.pth"):
        load_weights(model, tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("hello")
    with refuses(Kind.UNREADABLE, file="text.pth"):
        load_weights(model, tmp_path / "text.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00")
    with refuses(Kind.UNREADABLE, file="cut.safetensors"):
        load_weights(model, tmp_path / "cut.safetensors")
    torch.save({"state_dict": {"a": 1}}, tmp_path / "odd.pth")
    with refuses(Kind.UNREADABLE, file="odd.pth"):
        load_weights(model, tmp_path / "odd.pth")
    other = sr3d.load("tr3d", dataset="synthetic_rotated", untrained=True)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    with refuses(Kind.CONFLICT, file="other.pth", mentions=["bbox_head.conv_reg", "24"]):
        load_weights(model, tmp_path / "other.pth")
    state = model.state_dict()
    state["bbox_head.conv_clss.bias"] = state.pop("bbox_head.conv_cls.bias")
    torch.save(state, tmp_path / "typo.pth")
    with refuses(Kind.CONFLICT, file="typo.pth"):
        load_weights(model, tmp_path / "typo.pth")


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.system, ("echo unsafe",)


def test_a_checkpoint_that_runs_code_is_refused(tmp_path, capfd) -> None:  # type: ignore[no-untyped-def]
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with refuses(Kind.UNREADABLE, file="evil.pth"):
        load_weights(build_detector(default_config("synthetic")), tmp_path / "evil.pth")
    assert "unsafe" not in capfd.readouterr().out


def test_load_names_what_it_knows() -> None:
    with refuses(Kind.UNKNOWN, mentions=["fcaf3d"]):
        sr3d.load("fcaf", dataset="synthetic")
    with refuses(Kind.UNKNOWN, mentions=["sr3d"]):
        sr3d.load("sr3", dataset="synthetic")
    with refuses(Kind.UNKNOWN, field="dataset", mentions=["'kitti'", "scannet"]):
        sr3d.load("sr3d", dataset="kitti")


@pytest.mark.parametrize("name", ["sr3d", "tr3d", "fcaf3d"])
def test_a_network_has_random_weights_only_on_request(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        sr3d.load(name, dataset="synthetic")
    assert (caught.value.field, caught.value.kind) == ("model", Kind.EMPTY)
    models = [sr3d.load(name, dataset="synthetic", untrained=True) for _ in range(2)]
    states = [model.state_dict() for model in models]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    torch.save(states[0], tmp_path / "model.pth")
    with pytest.raises(InputError) as caught:
        sr3d.load(name, "synthetic", tmp_path / "model.pth", untrained=True)
    assert (caught.value.field, caught.value.kind) == ("untrained", Kind.CONFLICT)


@pytest.mark.parametrize("far", [(-5e7, -5.4e7, -300.0), (3e9, 0.0, 0.0)])
def test_a_stray_point_that_voxels_cannot_reach_is_told(far: tuple[float, float, float]) -> None:
    points = torch.rand(300, 6)
    points[7, :3] = torch.tensor(far)
    with refuses(Kind.VALUE):
        thin_model("scannet").detect(points)
    found = thin_model("scannet").detect(torch.cat([points[:7], points[8:]]))
    assert len(found.labels) > 0
