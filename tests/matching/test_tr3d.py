import numpy as np
import pytest
import torch

from sr3d.data.datasets import SCANNET
from sr3d.geometry.iou import paired_diou_loss
from sr3d.losses.focal import class_targets, focal_loss
from tests.matching.calls import tr3d_assign
from tests.matching.scenes import make_case
from tests.shared_data import shared


def literal(anchors, anchor_levels, gt, gt_levels, k, variant):
    """The published rule, step by step, one anchor and ground truth at a time."""
    anchors, gt = anchors.tolist(), gt.tolist()
    squares = [
        [(a[0] - g[0]) ** 2 + (a[1] - g[1]) ** 2 + (a[2] - g[2]) ** 2 for g in gt] for a in anchors
    ]
    claims = [[] for _ in anchors]
    for j in range(len(gt)):
        column = [
            squares[i][j] if anchor_levels[i] == gt_levels[j] else 1e8 for i in range(len(anchors))
        ]
        limit = sorted(column)[: k + 1][-1]
        for i, distance in enumerate(column):
            if distance < limit:
                claims[i].append((distance, j))
    assigned = []
    for i, claim in enumerate(claims):
        owner = min(claim)[1] if claim else -1
        if variant == "samsung" and owner >= 0 and squares[i].index(min(squares[i])) != owner:
            owner = -1
        assigned.append(owner)
    return assigned


def on_a_line(positions):
    points = torch.zeros(len(positions), 3)
    points[:, 0] = torch.tensor(positions)
    return points


def boxes_at(positions):
    return torch.cat([on_a_line(positions), torch.ones(len(positions), 4)], dim=1)


def zeros(count):
    return torch.zeros(count, dtype=torch.int64)


def test_nearest_anchors_by_hand():
    # k = 2: the third nearest of the box at 0 is at distance 2, so 0 and 1 qualify; the one at 9
    # takes 9 and 8 (limit 7).
    anchors = on_a_line([0.0, 1, 2, 7, 8, 9])
    assigned = tr3d_assign(anchors, zeros(6), boxes_at([0.0, 9.0]), zeros(2), k=2)
    assert assigned.tolist() == [0, 0, -1, -1, 1, 1]


def test_only_anchors_of_the_level_of_the_class():
    anchors, levels = on_a_line([0.0, 1, 2, 3, 4, 5]), torch.tensor([1, 0, 1, 0, 1, 0])
    assigned = tr3d_assign(anchors, levels, boxes_at([0.0]), torch.tensor([1]), k=2)
    assert assigned.tolist() == [0, -1, 0, -1, -1, -1]


def test_ties_at_the_limit_drop_candidates():
    # Distances 1, 1, 1, 1, 2 with k = 2: the third smallest is 1, nothing is strictly less.
    anchors = on_a_line([1.0, -1, 1, -1, 2])
    assigned = tr3d_assign(anchors, zeros(5), boxes_at([0.0]), zeros(1), k=2)
    assert assigned.tolist() == [-1] * 5


def test_few_anchors():
    anchors = on_a_line([0.0, 1, 2])
    # All on the level: the N-th distance is the limit, so the farthest is lost.
    assert tr3d_assign(anchors, zeros(3), boxes_at([0.0]), zeros(1)).tolist() == [0, 0, -1]
    # Fewer than k on the level, others elsewhere: the limit is that of the others.
    levels = torch.tensor([0, 0, 1])
    assert tr3d_assign(anchors, levels, boxes_at([0.0]), zeros(1)).tolist() == [0, 0, -1]
    # A single anchor is its own limit.
    assert tr3d_assign(anchors[:1], zeros(1), boxes_at([0.0]), zeros(1)).tolist() == [-1]


def test_samsung_drops_what_another_level_is_nearer_to():
    # Box 1, of the other level, is the nearest of the second anchor.
    anchors, levels = on_a_line([0.0, 1, 2, 3]), torch.tensor([0, 0, 0, 1])
    gt, gt_levels = boxes_at([0.0, 1.1]), torch.tensor([0, 1])
    assert tr3d_assign(anchors, levels, gt, gt_levels, k=2).tolist() == [0, 0, -1, 1]
    samsung = tr3d_assign(anchors, levels, gt, gt_levels, k=2, variant="samsung")
    assert samsung.tolist() == [0, -1, -1, 1]


@pytest.mark.parametrize("variant", ["mmdet3d", "samsung"])
def test_equals_the_literal_transcription(variant):
    for seed, (anchors, truths, k) in enumerate(
        [(60, 5, 6), (60, 30, 6), (5, 3, 6), (7, 3, 6), (1, 1, 6), (80, 12, 1), (3, 20, 2)]
    ):
        case = make_case(seed, anchors, truths, rotated=False)
        inputs = case.anchors, case.anchor_levels, case.gt, case.gt_levels
        assigned = tr3d_assign(*inputs, k=k, variant=variant)
        assert assigned.dtype == torch.int64
        assert assigned.tolist() == literal(*inputs, k, variant)


def test_nothing_to_assign():
    case = make_case(0, 20, 0, rotated=False)
    assert (tr3d_assign(case.anchors, case.anchor_levels, case.gt, case.gt_levels) == -1).all()
    none = tr3d_assign(torch.zeros(0, 3), zeros(0), boxes_at([0.0]), zeros(1))
    assert none.shape == (0,)
    with pytest.raises(ValueError, match="variant"):
        tr3d_assign(case.anchors, case.anchor_levels, case.gt, case.gt_levels, variant="other")


@pytest.fixture(scope="module")
def real_scene():
    """mmdet3d's targets and losses on a real scan, and the raw outputs that they come from."""
    targets = np.load(shared("golden/tr3d_mmdet3d_scene0000_00.npz"))
    outputs = np.load(shared("golden/tr3d_minkowski_scene0000_00.npz"))

    def both(name):
        return torch.from_numpy(np.concatenate([outputs[name + "0"], outputs[name + "1"]]))

    anchors = both("coords") * 0.01
    counts = torch.tensor([len(outputs["coords0"]), len(outputs["coords1"])])
    gt_labels = torch.from_numpy(targets["gt_labels"])
    gt = torch.cat([torch.from_numpy(targets["gt_boxes"]).float(), torch.zeros(27, 1)], dim=1)
    assigned = tr3d_assign(
        anchors,
        torch.arange(2).repeat_interleave(counts),
        gt,
        torch.tensor(SCANNET.levels)[gt_labels],
    )
    return targets, anchors, both("reg"), both("cls"), gt, gt_labels, assigned


def test_positives_are_those_of_mmdet3d(real_scene):
    targets, anchors, _, _, gt, gt_labels, assigned = real_scene
    positive = assigned >= 0
    owner = assigned[positive]
    ours = torch.cat([anchors[positive], gt[owner, :6], gt_labels[owner, None].float()], dim=1)
    theirs = np.hstack([targets["pos_points"], targets["pos_boxes"], targets["pos_cls"][:, None]])
    assert ours.shape == theirs.shape == (157, 10)

    def by_anchor(rows):
        return rows[np.lexsort(np.round(rows[:, :3], 3).T)]

    np.testing.assert_allclose(by_anchor(ours.numpy()), by_anchor(theirs), rtol=0, atol=1e-5)


def test_losses_are_those_of_mmdet3d(real_scene):
    targets, anchors, reg, cls, gt, gt_labels, assigned = real_scene
    positive = assigned >= 0
    focal = focal_loss(cls, class_targets(assigned, gt_labels)).sum() / positive.sum()
    assert focal.item() == pytest.approx(float(targets["loss_cls"]), rel=1e-5)

    reg = reg[positive]
    yaw = torch.zeros(len(reg), 1)
    boxes = torch.cat([anchors[positive] + reg[:, :3], reg[:, 3:6].exp(), yaw], dim=1)
    diou = paired_diou_loss(boxes, gt[assigned[positive]], rotated=False).mean()
    assert diou.item() == pytest.approx(float(targets["loss_bbox"]), rel=1e-5)
