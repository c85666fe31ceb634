"""FCAF3D's network: names, sizes, levels, pruning, box coding."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sr3d
from sr3d.detectors import build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.fcaf3d.detector import FCAF3D
from sr3d.detectors.fcaf3d.network import decode_distances, prune
from sr3d.geometry.iou import paired_iou
from sr3d.sparse import Sites, SparseTensor
from sr3d.sparse.nn import SparseBatchNorm, SparseConv, SparseConvTranspose, SparseELU
from sr3d.sparse.sites import best_rows
from tests.detectors.test_detector import cloud
from tests.sparse.brute_force import random_coords

PLANES, BLOCKS = (64, 128, 256, 512), (3, 4, 6, 3)


def load(dataset: str, checkpoint: Path | None = None) -> Any:
    """FCAF3D with the weights of seed 0; its parts are looked into by name."""
    return sr3d.load("fcaf3d", dataset, checkpoint, untrained=checkpoint is None)


def kernel_size(kernel: int, inputs: int, outputs: int) -> int:
    return kernel**3 * inputs * outputs


def backbone_parameters() -> int:
    total = kernel_size(3, 3, 64) + 2 * 64  # stem and its instance norm
    before = 64
    for planes, blocks in zip(PLANES, BLOCKS, strict=True):
        norm = 2 * planes
        total += (
            kernel_size(3, before, planes) + kernel_size(1, before, planes) + norm
        )  # strided, and shortcut
        total += (2 * blocks - 1) * kernel_size(3, planes, planes) + 2 * blocks * norm
        before = planes
    return total


def head_parameters(classes: int, outputs: int) -> int:
    total = 128 * (1 + outputs + classes) + classes + 4  # three 1³, one bias, four scales
    for i, planes in enumerate(PLANES):
        total += kernel_size(3, planes, 128) + 2 * 128
        if i > 0:
            finer = PLANES[i - 1]
            total += kernel_size(2, planes, finer) + kernel_size(3, finer, finer) + 2 * 2 * finer
    return total


def test_parameters() -> None:
    for dataset, classes, outputs in (("scannet", 18, 6), ("sunrgbd", 10, 8)):
        model = load(dataset)
        counts = [
            sum(p.numel() for p in part.parameters()) for part in (model.backbone, model.bbox_head)
        ]
        assert counts == [backbone_parameters(), head_parameters(classes, outputs)]
        # 70.48 million: 63.46 and 7.02 of mmdetection3d's model.
        assert [round(c / 1e6, 2) for c in (*counts, sum(counts))] == [63.46, 7.02, 70.48]


def test_names_and_shapes_are_mmdetection3ds() -> None:
    model = build_detector(with_overrides(default_config("scannet"), ["model=fcaf3d"]))
    shapes = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    assert {name.split(".")[0] for name in shapes} == {"backbone", "bbox_head"}
    expected: dict[str, tuple[int, ...]] = {
        "backbone.conv1.kernel": (27, 3, 64),
        "backbone.norm1.weight": (1, 64),
        "backbone.norm1.bias": (1, 64),
        "backbone.layer4.2.conv2.kernel": (27, 512, 512),
        "bbox_head.conv_center.kernel": (128, 1),
        "bbox_head.conv_reg.kernel": (128, 6),
        "bbox_head.conv_cls.kernel": (128, 18),
        "bbox_head.conv_cls.bias": (1, 18),
        "bbox_head.up_block_3.0.kernel": (8, 512, 256),
        "bbox_head.up_block_3.1.bn.weight": (256,),
        "bbox_head.up_block_3.3.kernel": (27, 256, 256),
        "bbox_head.up_block_3.4.bn.running_var": (256,),
        "bbox_head.out_block_0.0.kernel": (27, 64, 128),
        "bbox_head.out_block_3.1.bn.num_batches_tracked": (),
        "bbox_head.scales.3.scale": (),
    }
    assert {name: shapes.get(name) for name in expected} == expected
    head = [name for name in shapes if name.startswith("bbox_head.")]
    # A kernel and five of each norm, twice in each of 3 up blocks and once in each of 4 out blocks.
    assert len(head) == 3 * 2 * 6 + 4 * 6 + 4 + 4
    assert not {"bbox_head.conv_center.bias", "bbox_head.conv_reg.bias"} & shapes.keys()


def test_the_neck_is_of_generative_steps_and_elu() -> None:
    head = load("scannet").bbox_head
    grow, *rest = head.up_block_1
    assert isinstance(grow, SparseConvTranspose)
    assert (grow.kernel_size, grow.stride, grow.generative) == (2, 2, True)
    norm_act_conv = [SparseBatchNorm, SparseELU, SparseConv, SparseBatchNorm, SparseELU]
    assert [type(layer) for layer in rest] == norm_act_conv
    assert [type(layer) for layer in head.out_block_1] == norm_act_conv[2:]


def test_outputs_equal_the_network_written_out() -> None:
    model = load("synthetic").train()
    points = cloud()
    x = model.voxels([points[:, :3]], [points[:, 3:]])
    found = model.levels(x)
    head, stages = model.bbox_head, model.backbone(x)
    middle = stages[1] + head.up_block_2(stages[2])
    fine = stages[0] + head.up_block_1(middle)
    for i, features in enumerate([fine, middle, stages[2]]):
        out = getattr(head, f"out_block_{i}")(features)
        raw = [conv(out).features for conv in (head.conv_reg, head.conv_cls, head.conv_center)]
        assert torch.equal(found[i][0].sites.coords, out.sites.coords)
        for ours, reference in zip(found[i][1:], raw, strict=True):
            assert torch.allclose(ours, reference, atol=1e-5)


@pytest.mark.parametrize("prefix", ["bbox_head.", "head."])
def test_weights_of_mmdetection3d_old_and_new(prefix: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = build_detector(with_overrides(default_config("synthetic"), ["model=fcaf3d"]))
    state = {n.replace("bbox_head.", prefix): t for n, t in model.state_dict().items()}
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "theirs.pth")
    loaded = load("synthetic", checkpoint=tmp_path / "theirs.pth")
    assert torch.equal(loaded.raw_outputs(cloud())[0].cls, model.raw_outputs(cloud())[0].cls)


def test_every_score_starts_low_and_every_distance_near_a_metre() -> None:
    torch.manual_seed(0)
    model = load("synthetic")
    for level in model.raw_outputs(cloud()):
        assert level.cls.mean() == pytest.approx(-math.log(99), abs=0.3)
        assert level.reg.exp().mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
def test_detect_and_raw_outputs(dataset: str) -> None:
    model = load(dataset)
    assert isinstance(model, FCAF3D)
    points = cloud()
    levels = model.raw_outputs(points.numpy())
    assert len(levels) == 3
    for i, level in enumerate(levels):
        cells = len(level.coords)
        assert level.centerness is not None
        assert level.centerness.shape == (cells, 1)
        assert level.reg.shape == (cells, 8 if model.dataset.rotated else 6)
        assert level.cls.shape == (cells, len(model.dataset.classes))
        assert not (level.coords % (2 * 2**i)).any()
    predictions = model(model.voxels([points[:, :3]], [points[:, 3:]]))
    counts = torch.bincount(predictions.anchors.levels)
    assert counts.tolist() == [len(level.coords) for level in levels]
    assert predictions.anchors.strides.unique().tolist() == pytest.approx([0.16, 0.32, 0.64])
    first = levels[0].coords[0] * model.config.voxel_size
    assert torch.equal(predictions.anchors.positions[0], first)  # the cell's minimum corner
    with torch.no_grad():
        bias: Any = model.bbox_head.conv_cls.bias
        bias += 3
    boxes, scores, labels = model.detect(points)
    assert len(boxes) == len(scores) == len(labels) > 0
    again = model.detect(points[:, :3], points[:, 3:])
    assert torch.equal(boxes, again.boxes)


def test_each_level_has_its_own_scale_on_distances_but_not_on_the_turn() -> None:
    model = load("synthetic_rotated")
    before = model.raw_outputs(cloud())
    model.bbox_head.scales[1].scale.data.fill_(3)
    after = model.raw_outputs(cloud())
    for i, (one, other) in enumerate(zip(before, after, strict=True)):
        factor = torch.tensor([3.0 if i == 1 else 1.0] * 6 + [1.0] * 2)
        assert torch.allclose(other.reg, one.reg * factor, rtol=1e-5)


def faces(box: list[float], point: list[float]) -> list[float]:
    """Distances from a point to the faces of an axis-aligned box: -x, +x, -y, +y, -z, +z."""
    return [
        side
        for p, c, size in zip(point, box[:3], box[3:6], strict=True)
        for side in (p - (c - size / 2), (c + size / 2) - p)
    ]


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=50)
def test_six_outputs_are_the_distances_to_the_faces(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    anchor, reg = torch.randn(1, 3, generator=g), torch.randn(1, 6, generator=g)
    box = decode_distances(anchor, reg)
    assert box[0, 6] == 0
    distances = faces(box[0].tolist(), anchor[0].tolist())
    assert distances == pytest.approx([math.exp(r) for r in reg[0].tolist()], rel=1e-4, abs=1e-5)


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=50)
def test_eight_outputs_against_a_literal_reference(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    anchors, reg = torch.randn(5, 3, generator=g), torch.randn(5, 8, generator=g)
    boxes = decode_distances(anchors, reg)
    rows = zip(anchors.tolist(), reg.tolist(), boxes.tolist(), strict=True)
    for (x, y, z), r, box in rows:
        west, east, south, north, down, up = (math.exp(v) for v in r[:6])
        ratio = math.exp(math.hypot(r[6], r[7]))
        both = west + east + south + north
        expected = [
            x + (east - west) / 2,
            y + (north - south) / 2,
            z + (up - down) / 2,
            both / (1 + ratio),
            both * ratio / (1 + ratio),
            down + up,
            0.5 * math.atan2(r[6], r[7]),
        ]
        assert box == pytest.approx(expected, rel=1e-4, abs=1e-5)
    # Turning (r6, r7) by pi exchanges the axes: the same solid.
    turned = reg.clone()
    turned[:, 6:] = -turned[:, 6:]
    other = decode_distances(anchors, turned)
    other[:, [3, 4]] = other[:, [4, 3]]
    assert paired_iou(other, boxes, rotated=True) == pytest.approx(torch.ones(5), abs=1e-3)


def test_best_rows_by_hand() -> None:
    scores = torch.tensor([3.0, 1, 2, 2, 9, 8, 7])
    assert best_rows(scores, [4, 3], 2).tolist() == [0, 2, 4, 5]
    assert best_rows(scores, [4, 3], 3).tolist() == [0, 2, 3, 4, 5, 6]
    assert best_rows(scores, [4, 0, 3], 9).tolist() == list(range(7))


def two_scenes(seed: int, n: int, stride: int, channels: int) -> SparseTensor:
    coords = random_coords(n, 2, -5, 6, seed, stride=stride)
    sites = Sites.from_coords(coords, stride, batch_size=2)
    g = torch.Generator().manual_seed(seed)
    return SparseTensor(torch.randn(len(sites), channels, generator=g), sites)


@given(seed=st.integers(0, 10_000), most=st.integers(1, 80))
@settings(deadline=None, max_examples=50)
def test_pruning_keeps_exactly_the_best_cells_of_each_scene(seed: int, most: int) -> None:
    x, coarse = two_scenes(seed, 120, 2, 3), two_scenes(seed + 1, 90, 4, 1)
    score = coarse.at(x.sites)[:, 0].tolist()
    pruned = prune(x, coarse, most)
    kept = {tuple(c) for c in pruned.sites.coords.tolist()}
    for scene in range(2):
        rows = [i for i, c in enumerate(x.sites.coords.tolist()) if c[0] == scene]
        best = sorted(rows, key=lambda i: (-score[i], i))[:most]
        expected = {tuple(x.sites.coords[i].tolist()) for i in best}
        assert {c for c in kept if c[0] == scene} == expected
    assert pruned.sites.stride == 2
    assert pruned.sites.counts == [min(most, count) for count in x.sites.counts]
    assert sum(pruned.sites.counts) == len(kept)
    if max(x.sites.counts) <= most:
        assert pruned is x


def test_every_level_but_the_coarsest_is_pruned_in_training_and_test() -> None:
    def outputs(most: int, training: bool) -> list[Any]:
        torch.manual_seed(0)
        config = with_overrides(
            default_config("synthetic"), ["model=fcaf3d", f"model.pts_prune={most}"]
        )
        model = build_detector(config).train(training)
        clouds = [cloud(seed=0), cloud(n=200, seed=1)]
        return list(
            model.levels(model.voxels([c[:, :3] for c in clouds], [c[:, 3:] for c in clouds]))  # type: ignore[operator]
        )

    for training in (True, False):
        whole, cut = outputs(10**6, training), outputs(100, training)
        for one, other in zip(whole[:-1], cut[:-1], strict=True):
            assert other[0].sites.counts == [min(100, c) for c in one[0].sites.counts]
            assert max(one[0].sites.counts) > 100
        assert torch.equal(whole[-1][1], cut[-1][1])
        # A threshold that nothing exceeds changes nothing at all.
        largest = max(c for level in whole for c in level[0].sites.counts)
        for one, other in zip(whole, outputs(largest, training), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one[1:], other[1:], strict=True))


def test_fewer_levels_have_fewer_stages() -> None:
    config = with_overrides(
        default_config("synthetic"), ["model=fcaf3d", "model.planes=[8, 8]", "model.blocks=[1, 1]"]
    )
    assert len(build_detector(config).eval().raw_outputs(cloud())) == 2
