import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon

from sr3d.geometry.boxes import Boxes
from sr3d.matching import batching as scenes
from sr3d.matching import matches, spota_pruned
from sr3d.matching.spota import SPOTA
from tests.matching.calls import center_prior, spota_assign, spota_cost, vertex_distance
from tests.matching.scenes import make_case

DOUBLE = torch.float64
REG_COSTS = ("iou", "log_iou", "diou")
VERTICES = ("invariant", "literal")


def footprint(box):
    """Four corners counter-clockwise, the maximum corner first."""
    x, y, _, dx, dy, _, yaw = box
    cos, sin = math.cos(yaw), math.sin(yaw)
    halves = [(dx / 2, dy / 2), (-dx / 2, dy / 2), (-dx / 2, -dy / 2), (dx / 2, -dy / 2)]
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in halves]


def labelings(box):
    """The four ways to write a cuboid."""
    x, y, z, dx, dy, dz, yaw = box
    turns = range(4)
    return [
        (x, y, z, *((dx, dy) if n % 2 == 0 else (dy, dx)), dz, yaw + n * math.pi / 2) for n in turns
    ]


def extreme_corners(box):
    """The minimum and the maximum corner as the box is written."""
    base = footprint(box)
    return (*base[2], box[2] - box[5] / 2), (*base[0], box[2] + box[5] / 2)


def diagonal(a, b):
    x, y = zip(*(footprint(a) + footprint(b)), strict=True)
    low = min(a[2] - a[5] / 2, b[2] - b[5] / 2)
    high = max(a[2] + a[5] / 2, b[2] + b[5] / 2)
    return math.dist((min(x), min(y), low), (max(x), max(y), high))


def literal_distance(pred, gt, rotated, vertices):
    """Eq. 3 of one pair."""
    many = rotated and vertices == "invariant"
    least = math.inf
    for a in labelings(pred) if many else [pred]:
        for b in labelings(gt) if many else [gt]:
            (a1, a2), (b1, b2) = extreme_corners(a), extreme_corners(b)
            least = min(least, math.dist(a1, b1) + math.dist(a2, b2))
    return least / (2 * diagonal(pred, gt))


def literal_iou(a, b):
    area = Polygon(footprint(a)).intersection(Polygon(footprint(b))).area
    high = min(a[2] + a[5] / 2, b[2] + b[5] / 2)
    low = max(a[2] - a[5] / 2, b[2] - b[5] / 2)
    shared = area * max(0.0, high - low)
    return shared / (math.prod(a[3:6]) + math.prod(b[3:6]) - shared)


def literal_cost(anchor, pred, gt, *, rotated, mu, reg_cost, with_vertices, vertices):
    """Eq. 4 and 5 of one pair."""
    prior = 1 - math.exp(-mu * math.dist(anchor, gt[:3]) ** 2)
    iou = literal_iou(pred, gt)
    reg = -math.log(max(iou, 1e-8)) if reg_cost == "log_iou" else 1 - iou
    if reg_cost == "diou":
        reg += (math.dist(pred[:3], gt[:3]) / diagonal(pred, gt)) ** 2
    if with_vertices:
        reg += literal_distance(pred, gt, rotated, vertices)
    return prior * reg


def algorithm_1(costs, k, up_for_claims):
    """Algorithm 1 on costs[i][j], and an anchor claimed by several to the least cost."""
    best = [(math.inf, -1)] * len(costs)
    for j in range(len(costs[0]) if costs else 0):
        column = sorted((costs[i][j], i) for i in range(len(costs)) if up_for_claims(i, j))
        for cost, i in column[:k]:
            best[i] = min(best[i], (cost, j))
    return [j for _, j in best]


options = st.fixed_dictionaries(
    {
        "rotated": st.booleans(),
        "mu": st.sampled_from([0.3, 1.0, 10.0]),
        "reg_cost": st.sampled_from(REG_COSTS),
        "with_vertices": st.booleans(),
        "vertices": st.sampled_from(VERTICES),
    }
)


@settings(max_examples=150, deadline=None)
@given(
    options=options,
    seed=st.integers(0, 10**6),
    anchors=st.integers(0, 24),
    truths=st.integers(0, 5),
    k=st.integers(1, 8),
    levels=st.sampled_from(["all", "by_class"]),
    trained=st.booleans(),
)
def test_equals_algorithm_1(options, seed, anchors, truths, k, levels, trained):
    case = make_case(seed, anchors, truths, rotated=options["rotated"], trained=trained)
    costs = [
        [literal_cost(anchor, pred, gt, **options) for gt in case.gt.tolist()]
        for anchor, pred in zip(case.anchors.tolist(), case.pred.tolist(), strict=True)
    ]
    cost = spota_cost(case.anchors, case.pred, case.gt, **options)
    expected = torch.tensor(costs, dtype=DOUBLE).view(anchors, truths)
    torch.testing.assert_close(cost, expected, rtol=1e-6, atol=1e-9)

    def up_for_claims(i, j):
        return levels == "all" or case.anchor_levels[i] == case.gt_levels[j]

    assigned = spota_assign(*case.tensors, k=k, levels=levels, **options)
    assert assigned.dtype == torch.int64
    # The library's own costs: the reference's rounding must not decide near-ties.
    assert assigned.tolist() == algorithm_1(cost.tolist(), k, up_for_claims)
    # The visible algorithm and its pruned form are equal.
    dense = spota_assign(*case.tensors, k=k, levels=levels, kind=SPOTA, **options)
    assert torch.equal(dense, assigned)


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("reg_cost", REG_COSTS)
@pytest.mark.parametrize(("k", "part"), [(1, 1 << 20), (6, 9000), (40, 1)])
def test_pruning_changes_nothing(monkeypatch, rotated, trained, reg_cost, k, part):
    monkeypatch.setattr(scenes, "_PART_CPU", part)
    monkeypatch.setattr(spota_pruned, "_PAIRS", max(part // 50, 70))
    monkeypatch.setattr(matches, "pairs_at_a_time", lambda *_: max(part // 60, 100))
    case = make_case(k, 3000, 9, rotated=rotated, trained=trained)
    case32 = [t.float() if t.is_floating_point() else t for t in case.tensors]
    anchors, _, pred, gt, _ = case32
    costs = spota_cost(anchors, pred, gt, rotated=rotated, reg_cost=reg_cost).tolist()
    assigned = spota_assign(*case32, rotated=rotated, reg_cost=reg_cost, k=k)
    assert assigned.tolist() == algorithm_1(costs, k, lambda i, j: True)


def test_cost_by_hand():
    # Unit of the corners: both differ by 1 m; enclosing box 3 × 2 × 2, diagonal sqrt 17; IoU
    # 4 / (8 + 8 - 4) = 1/3; anchor 1 m from the centre of the ground truth.
    pred = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0]])
    gt = torch.tensor([[1.0, 0, 0, 2, 2, 2, 0]])
    anchor = torch.tensor([[1.0, 1, 0]])
    prior, distance = 1 - math.exp(-1), 1 / math.sqrt(17)

    def cost(**options):
        return spota_cost(anchor, pred, gt, rotated=False, **options).item()

    assert center_prior(anchor, gt[:, :3]).item() == pytest.approx(prior)
    assert vertex_distance(pred, gt, False).item() == pytest.approx(distance)
    assert cost() == pytest.approx(prior * (2 / 3 + distance))
    assert cost(with_vertices=False) == pytest.approx(prior * 2 / 3)
    assert cost(reg_cost="log_iou") == pytest.approx(prior * (math.log(3) + distance))
    assert cost(reg_cost="diou") == pytest.approx(prior * (2 / 3 + 1 / 17 + distance))
    assert cost(mu=2.0) == pytest.approx((1 - math.exp(-2)) * (2 / 3 + distance))


def test_assignment_by_hand():
    # Perfect predictions but for the anchor's distance, so costs rise with it. With k = 2 both
    # ground truths (x = 0 and 2) claim the anchor at 0.9, which costs less for the first.
    anchors = torch.tensor([[0.9, 0, 0], [0.1, 0, 0], [5, 0, 0], [2.3, 0, 0]])
    gt = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0], [2.0, 0, 0, 1, 1, 1, 0]])
    pred = torch.tensor([[9.0, 9, 9, 1, 1, 1, 0]]).expand(4, -1)  # far from both: IoU 0 for all
    levels, gt_levels = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1])

    def assign(**options):
        inputs = anchors, levels, pred, gt, gt_levels
        return spota_assign(*inputs, rotated=False, with_vertices=False, **options).tolist()

    assert assign(k=2) == [0, 0, -1, 1]
    assert assign(k=1) == [-1, 0, -1, 1]
    assert assign(k=2, levels="by_class") == [0, 0, 1, 1]


@pytest.mark.parametrize("anchors", [0, 1, 4])
@pytest.mark.parametrize("truths", [0, 1, 9])
@pytest.mark.parametrize("levels", ["all", "by_class"])
def test_few_anchors_and_few_boxes(anchors, truths, levels):
    case = make_case(2, anchors, truths, rotated=True)
    assigned = spota_assign(*case.tensors, rotated=True, levels=levels)
    assert assigned.shape == (anchors,)
    if truths == 0:
        assert (assigned == -1).all()
    elif levels == "all":  # fewer anchors than k: each is claimed by all, and goes to the cheapest
        cost = spota_cost(case.anchors, case.pred, case.gt, rotated=True)
        assert assigned.tolist() == cost.argmin(dim=1).tolist()


def test_equal_costs_go_to_the_lowest_index():
    anchors = torch.ones(50, 3)
    pred = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]]).expand(50, -1)
    gt = torch.tensor([[0.5, 0, 0, 1, 1, 1, 0]]).expand(3, -1)
    levels, gt_levels = torch.zeros(50, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    assigned = spota_assign(anchors, levels, pred, gt, gt_levels, rotated=False)
    assert assigned.tolist() == [0] * 6 + [-1] * 44
    # All at the centre of the ground truth: every cost is 0.
    assigned = spota_assign(gt[:1, :3].expand(50, -1), levels, pred, gt, gt_levels, rotated=True)
    assert assigned.tolist() == [0] * 6 + [-1] * 44


@pytest.mark.parametrize("rotated", [False, True])
def test_order_of_anchors_and_boxes_does_not_matter(rotated):
    case = make_case(5, 400, 12, rotated=rotated)
    assigned = spota_assign(*case.tensors, rotated=rotated)
    generator = torch.Generator().manual_seed(0)
    i = torch.randperm(400, generator=generator)
    j = torch.randperm(12, generator=generator)
    shuffled = case.anchors[i], case.anchor_levels[i], case.pred[i], case.gt[j], case.gt_levels[j]
    again = spota_assign(*shuffled, rotated=rotated)
    owner = torch.where(again >= 0, j[again], -1)
    assert torch.equal(owner, assigned[i])


def moves(rotated):
    """Motions of the whole scene that leave every cost as it is."""
    offset = torch.tensor([3.5, -7.25, 1.5], dtype=DOUBLE)
    yield lambda boxes: boxes.translated(offset)
    if rotated:
        yield lambda boxes: boxes.rotated(math.pi / 2)
        yield lambda boxes: boxes.flipped(0)


@pytest.mark.parametrize("rotated", [False, True])
def test_moving_the_scene_changes_nothing(rotated):
    case = make_case(6, 400, 12, rotated=rotated)
    dummy = torch.cat([case.anchors, torch.ones(400, 3), torch.zeros(400, 1)], dim=1)
    assigned = spota_assign(*case.tensors, rotated=rotated)
    assert (assigned >= 0).any()
    for move in moves(rotated):
        anchors, pred, gt = (move(Boxes(b)).tensor for b in (dummy, case.pred, case.gt))
        moved = anchors[:, :3], case.anchor_levels, pred, gt, case.gt_levels
        assert torch.equal(spota_assign(*moved, rotated=rotated), assigned)


def relabelled(boxes, turns):
    rows = [labelings(b)[n] for b, n in zip(boxes.tolist(), turns.tolist(), strict=True)]
    return torch.tensor(rows, dtype=DOUBLE)


def test_how_a_cuboid_is_written_does_not_matter():
    case = make_case(7, 300, 8, rotated=True, trained=True)
    generator = torch.Generator().manual_seed(0)
    pred = relabelled(case.pred, torch.randint(0, 4, (300,), generator=generator))
    gt = relabelled(case.gt, torch.randint(0, 4, (8,), generator=generator))
    before = vertex_distance(case.pred, case.gt, True)
    torch.testing.assert_close(vertex_distance(pred, gt, True), before)
    inputs = case.anchors, case.anchor_levels, pred, gt, case.gt_levels
    assert torch.equal(
        spota_assign(*inputs, rotated=True), spota_assign(*case.tensors, rotated=True)
    )
    assert (vertex_distance(pred, gt, True, "literal") - before).abs().max() > 0.1


def test_a_perfect_prediction_has_no_distance():
    gt = make_case(8, 1, 40, rotated=True).gt
    for n in range(4):
        pred = relabelled(gt, torch.full((40,), n))
        assert vertex_distance(pred, gt, True).diagonal().abs().max() < 1e-12
        literal = vertex_distance(pred, gt, True, "literal").diagonal()
        assert (literal.max() < 1e-12) == (n == 0)
    upright = gt.clone()
    upright[:, 6] = 0
    assert vertex_distance(upright, upright, False).diagonal().max() == 0


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("reg_cost", REG_COSTS)
def test_huge_and_tiny_boxes_stay_finite(rotated, reg_cost):
    case = make_case(9, 200, 4, rotated=rotated)
    anchors, levels, pred, gt, gt_levels = (
        t.float() if t.is_floating_point() else t for t in case.tensors
    )
    sizes = torch.tensor([0.0, 1e-30, 1e-6, 1e6, 1e18, 1e30, torch.inf])
    generator = torch.Generator().manual_seed(0)
    pred[20:, 3:6] = sizes[torch.randint(0, 7, (180, 3), generator=generator)]
    gt[0, 3:6] = 1e-6
    cost = spota_cost(anchors, pred, gt, rotated=rotated, reg_cost=reg_cost)
    assert cost.isfinite().all()
    assert (cost >= 0).all()
    inputs = anchors, levels, pred, gt, gt_levels
    assigned = spota_assign(*inputs, rotated=rotated, reg_cost=reg_cost)
    assert assigned.tolist() == algorithm_1(cost.tolist(), 6, lambda i, j: True)


def test_a_box_of_infinite_size_is_as_far_as_can_be():
    gt = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0.3]])
    pred = torch.tensor([[0.0, 0, 0, torch.inf, 1, 1, 0.3]])
    for rotated in (False, True):
        assert vertex_distance(pred, gt, rotated).item() == 1


def test_no_gradient():
    case = make_case(1, 20, 3, rotated=False)
    pred = case.pred.requires_grad_()
    assert not spota_cost(case.anchors, pred, case.gt, rotated=False).requires_grad


def test_unknown_options_are_refused():
    case = make_case(1, 20, 3, rotated=True)
    for option in ("levels", "reg_cost", "vertices"):
        with pytest.raises(ValueError, match=option):
            spota_assign(*case.tensors, rotated=True, **{option: "other"})
