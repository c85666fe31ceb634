import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.geometry.iou import pairwise_iou
from sr3d.matching import batching as scenes
from tests.matching.calls import align_ota_assign
from tests.matching.test_simota import literal_near, literal_nearest, literal_ota, make_scene


def literal_inside(anchor, box, rotated):
    x, y, z = (anchor[axis] - box[axis] for axis in range(3))
    yaw = box[6] if rotated else 0.0
    along = x * math.cos(yaw) + y * math.sin(yaw)
    across = y * math.cos(yaw) - x * math.sin(yaw)
    return abs(along) <= box[3] / 2 and abs(across) <= box[4] / 2 and abs(z) <= box[5] / 2


def literal_cls_cost(logits, label, iou):
    total = 0.0
    for c, logit in enumerate(logits):
        p, y = 1 / (1 + math.exp(-logit)), iou if c == label else 0.0
        bce = -y * math.log(p) - (1 - y) * math.log(1 - p)
        total += bce * abs(y - p) ** 2
    return total


def literal_align_ota(scene, *, rotated, radius, top_n, cls_weight, reg_weight):
    anchors, strides, _, logits, gt, labels = (tensor.tolist() for tensor in scene)
    # Overlaps are the library's own, tested elsewhere: their rounding must not decide near-ties.
    ious = pairwise_iou(scene[4], scene[2], rotated).tolist()
    candidates, costs = set(), []
    every = range(len(anchors))
    for j, box in enumerate(gt):
        inside = {i for i in every if literal_inside(anchors[i], box, rotated)}
        near = {i for i in every if literal_near(anchors[i], strides[i], box, radius)}
        nearest = {literal_nearest(anchors, box)}
        candidates |= inside | near | nearest
        costs.append([])
        for i in every:
            cost = cls_weight * literal_cls_cost(logits[i], labels[j], ious[j][i])
            cost += reg_weight * -math.log(ious[j][i] + 1e-7)
            costs[j].append(cost if i in inside & near | nearest else cost + 1e8)
    return literal_ota(sorted(candidates), costs, ious, top_n)


@settings(max_examples=200, deadline=None)
@given(
    options=st.fixed_dictionaries(
        {
            "rotated": st.booleans(),
            "radius": st.sampled_from([0.5, 1.5, 2.5]),
            "top_n": st.sampled_from([1, 3, 10]),
            "cls_weight": st.sampled_from([0.0, 1.0]),
            "reg_weight": st.sampled_from([1.0, 3.0]),
        }
    ),
    seed=st.integers(0, 10**6),
    anchors=st.integers(1, 120),
    truths=st.integers(1, 6),
    trained=st.booleans(),
)
def test_equals_the_literal_rule(options, seed, anchors, truths, trained):
    scene = make_scene(seed, anchors, truths, rotated=options["rotated"], trained=trained)
    assigned = align_ota_assign(*scene, **options)
    assert assigned.dtype == torch.int64
    assert assigned.tolist() == literal_align_ota(scene, **options)


@pytest.mark.parametrize("part", [1 << 20, 100])
def test_the_defaults_are_the_rule_of_damo_yolo(monkeypatch, part):
    monkeypatch.setattr(scenes, "_PART_CPU", part)
    scene = make_scene(3, 350, 6, rotated=True, trained=True)
    expected = literal_align_ota(
        scene, rotated=True, radius=2.5, top_n=10, cls_weight=1.0, reg_weight=3.0
    )
    assert max(expected.count(j) for j in range(6)) > 2  # k is dynamic here
    assert align_ota_assign(*scene, rotated=True).tolist() == expected


# By hand: a prediction of size (f, 1, 1) inside a unit cube has IoU f.


def cube(x=0.0, f=1.0):
    return [x, 0.0, 0.0, f, 1.0, 1.0, 0.0]


def assign(anchors, predictions, truths, *, scores=None, labels=None, rotated=False, **options):
    """Anchors of stride 0.16 (radius 0.4 m); scores: probability of each class, 1/2 by default."""
    points = [[*anchor, 0.0, 0.0][:3] for anchor in anchors]
    scores = torch.tensor(scores or [[0.5]] * len(points))
    return align_ota_assign(
        torch.tensor(points),
        torch.full((len(points),), 0.16),
        torch.tensor(predictions),
        scores.logit(),
        torch.tensor(truths),
        torch.tensor(labels or [0] * len(truths)),
        rotated=rotated,
        **options,
    ).tolist()


@pytest.mark.parametrize(("cls_weight", "winner"), [(1.6, 0), (1.7, 1)])
def test_soft_label_cost_by_hand(cls_weight, winner):
    # IoU 0.5, score 0.9: (-0.5 ln 0.9 - 0.5 ln 0.1) · 0.4² = 0.1926. IoU 0.45, score 0.45: 0.
    # The overlaps part them by 3 ln (0.5 / 0.45) = 0.3161, which is 1.641 · 0.1926.
    predictions, scores = [cube(f=0.5), cube(f=0.45)], [[0.9], [0.45]]
    anchors = [(0.0,), (0.1,)]
    assigned = assign(anchors, predictions, [cube()], scores=scores, cls_weight=cls_weight)
    assert assigned.index(0) == winner


@pytest.mark.parametrize(("score", "winner"), [(0.6, 0), (0.7, 1)])
def test_the_other_classes_labels_are_zero(score, winner):
    # A score of p for another class costs -ln(1 - p) · p²: 0.330 for 0.6, 0.590 for 0.7; half
    # the difference in overlap, 1.5 ln (0.5 / 0.4) = 0.335, is between them.
    predictions, scores = [cube(f=0.5), cube(f=0.4)], [[score, 0.5], [0.0001, 0.4]]
    anchors = [(0.0,), (0.1,)]
    assigned = assign(anchors, predictions, [cube()], scores=scores, labels=[1], reg_weight=1.5)
    assert assigned.index(0) == winner


@pytest.mark.parametrize(("cls_weight", "winner"), [(2.9, 0), (3.1, 1)])
def test_no_overlap_costs_as_much_as_1e_7(cls_weight, winner):
    # 3 ln (0.001 / 1e-7) = 27.63 parts the overlaps; another class costs 9.21 at a score of 0.9999.
    predictions, scores = [cube(f=0.001), cube(9.0)], [[0.9999, 0.001], [0.0001, 0.001]]
    anchors, options = [(0.0,), (0.1,)], {"labels": [1], "cls_weight": cls_weight}
    assigned = assign(anchors, predictions, [cube()], scores=scores, **options)
    assert assigned.index(0) == winner


@pytest.mark.parametrize("score", [0.3, 0.99])
def test_a_score_that_tells_the_overlap_beats_others(score):
    # Equal overlaps: not the highest score wins, as in simOTA, but the calibrated one.
    predictions, scores = [cube(f=0.6), cube(f=0.6)], [[score], [0.6]]
    assert assign([(0.0,), (0.1,)], predictions, [cube()], scores=scores) == [-1, 0]


def test_an_anchor_must_be_both_in_the_box_and_near_its_centre():
    # A board of 4 × 1 × 0.1 m. In the box but 1 m from its centre; near but above the box; both.
    board = [0.0, 0.0, 0.0, 4.0, 1.0, 0.1, 0.0]
    anchors = [(1.0,), (0.0, 0.0, 0.2), (0.3,), (0.0,)]
    worst = [0.0, 0.0, 0.0, 0.4, 1.0, 0.1, 0.0]  # IoU 0.1
    worse = [0.0, 0.0, 0.0, 0.2, 1.0, 0.1, 0.0]
    assert assign(anchors, [board[:], cube(9.0), worst, worse], [board]) == [-1, -1, 0, -1]
    assert assign(anchors, [cube(9.0), board[:], worst, worse], [board]) == [-1, -1, 0, -1]


def test_an_anchor_in_the_box_or_near_its_centre_counts_towards_k():
    board = [0.0, 0.0, 0.0, 4.0, 1.0, 0.1, 0.0]
    half = [0.0, 0.0, 0.0, 2.4, 1.0, 0.1, 0.0]  # IoU 0.6
    both = [(0.0,), (0.1,)]
    assert assign([*both, (3.0,), (3.0,)], [half] * 4, [board]) == [0, -1, -1, -1]  # 1.2
    assert assign([*both, (1.9,), (1.9,)], [half] * 4, [board]) == [0, 0, -1, -1]  # 2.4
    above = (0.0, 0.0, 0.2)
    assert assign([*both, above, above], [half] * 4, [board]) == [0, 0, -1, -1]


def test_the_penalty_keeps_the_order_of_costs():
    # k = int(0.9 + 0.4 + 0.7), and only the first anchor is free of penalty: the other is the
    # cheaper of the two outside. 1e8 in float32 would have swallowed the difference.
    board = [0.0, 0.0, 0.0, 4.0, 1.0, 0.1, 0.0]
    predictions = [[0.0, 0.0, 0.0, 4.0 * f, 1.0, 0.1, 0.0] for f in (0.9, 0.4, 0.71)]
    assert assign([(0.0,), (1.0,), (1.1,)], predictions, [board]) == [0, -1, 0]


@pytest.mark.parametrize(("yaw", "positive"), [(0.0, 0), (math.pi / 2, 1), (-math.pi / 2, 1)])
def test_the_yaw_counts_only_where_boxes_are_rotated(yaw, positive):
    # A stick of 2 × 0.1 m; one anchor lies in it along x, the other along y. The nearest is off.
    stick = [0.0, 0.0, 0.0, 2.0, 0.1, 0.1, yaw]
    anchors = [(0.3, 0.0), (0.0, 0.3), (0.06, 0.06)]
    off = [5.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]
    assigned = assign(anchors, [stick, stick, off], [stick], rotated=True)
    assert assigned.index(0) == positive
    assert assign(anchors, [stick, stick, off], [stick], rotated=False).index(0) == 0


@pytest.mark.parametrize(("yaw", "positive"), [(math.pi / 4, 0), (-math.pi / 4, 1)])
def test_the_yaw_turns_counter_clockwise(yaw, positive):
    stick = [0.0, 0.0, 0.0, 2.0, 0.1, 0.1, yaw]
    anchors = [(0.3, 0.3), (0.3, -0.3), (0.0, 0.1)]
    off = [5.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]
    assigned = assign(anchors, [stick, stick, off], [stick], rotated=True)
    assert assigned.index(0) == positive


def test_the_nearest_anchor_counts_as_both():
    # A tiny box without an anchor in it: of two that are near the centre, the nearest is free of
    # the penalty, whatever the other predicts.
    tiny = [0.0, 0.0, 0.0, 0.02, 0.02, 0.02, 0.0]
    assert assign([(0.2,), (0.1,)], [tiny, cube(5.0)], [tiny]) == [-1, 0]
    # Neither in the box nor near: it is a candidate none the less, and the only one.
    assert assign([(3.0,), (2.0,), (-2.0,)], [tiny, cube(5.0), tiny], [tiny]) == [-1, 0, -1]


def test_an_object_loses_its_only_anchor_in_a_conflict_and_gets_no_substitute():
    # Both claim the first anchor, with IoU 0.8 and less; the loser's second choice stays negative.
    anchors, predictions = [(0.0,), (0.1,)], [cube(f=0.8), cube(3.0)]
    assert assign(anchors, predictions, [cube(), cube(0.1)]) == [0, -1]
    assert assign(anchors, predictions, [cube(0.1), cube()]) == [1, -1]
    assert assign(anchors, predictions, [cube(), cube()]) == [0, -1]  # equal costs: the first


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_ground_truths_does_not_matter(rotated, seed):
    truths = 7
    scene = make_scene(seed, 400, truths, rotated=rotated, trained=seed % 2 == 0, classes=truths)
    *rest, gt, _ = scene
    labels = torch.arange(truths)  # no two of a class: without overlap, costs would be equal
    assigned = align_ota_assign(*rest, gt, labels, rotated=rotated)
    order = torch.randperm(truths, generator=torch.Generator().manual_seed(seed))
    shuffled = align_ota_assign(*rest, gt[order], labels[order], rotated=rotated)
    assert (assigned >= 0).sum() >= 3
    assert torch.equal(torch.where(shuffled < 0, -1, order[shuffled]), assigned)


@pytest.mark.parametrize(("anchors", "truths"), [(0, 3), (5, 0), (0, 0)])
def test_nothing_to_assign(anchors, truths):
    scene = make_scene(0, anchors, truths, rotated=False, trained=False)
    assigned = align_ota_assign(*scene, rotated=False)
    assert assigned.dtype == torch.int64
    assert assigned.tolist() == [-1] * anchors


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_predictions_that_are_not_finite_overlap_nothing(rotated, value):
    anchors, strides, pred, *rest = make_scene(2, 300, 5, rotated=rotated, trained=True)
    broken, far = pred.clone(), pred.clone()
    broken[::3, :6] = value
    far[::3, :3] = 1e3
    assigned = align_ota_assign(anchors, strides, broken, *rest, rotated=rotated)
    assert torch.equal(assigned, align_ota_assign(anchors, strides, far, *rest, rotated=rotated))
    assert (assigned[::3] >= 0).sum() < (assigned >= 0).sum()


@pytest.mark.parametrize("score", [math.nan, 0.0, 1.0])
def test_logits_that_are_not_finite_are_claimed_last(score):
    predictions, anchors = [cube(f=0.9), cube(f=0.1)], [(0.0,), (0.1,)]
    assert assign(anchors, predictions, [cube()], scores=[[score], [0.01]]) == [-1, 0]
    assert assign(anchors, predictions, [cube()], scores=[[score], [score]]) == [0, -1]
