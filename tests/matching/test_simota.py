import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.geometry.iou import pairwise_iou
from tests.matching.calls import simota_assign
from tests.matching.scenes import make_case

DOUBLE = torch.float64
STRIDES = torch.tensor([0.16, 0.32], dtype=DOUBLE)


def make_scene(seed, anchors, truths, *, rotated, trained, classes=4):
    """Anchors, strides, predictions, logits, ground truth, labels."""
    case = make_case(seed, anchors, truths, rotated=rotated, trained=trained)
    generator = torch.Generator().manual_seed(seed + 1)
    logits = torch.randn(anchors, classes, generator=generator, dtype=DOUBLE) * 2 - 1
    labels = torch.randint(0, classes, (truths,), generator=generator)
    return case.anchors, STRIDES[case.anchor_levels], case.pred, logits, case.gt, labels


def literal_near(anchor, stride, gt, radius):
    return all(abs(anchor[axis] - gt[axis]) < radius * stride for axis in range(3))


def literal_nearest(anchors, gt):
    return min(
        range(len(anchors)), key=lambda i: sum((anchors[i][a] - gt[a]) ** 2 for a in (0, 1, 2))
    )


def literal_ota(candidates, costs, ious, top_n):
    """Dynamic k and its conflicts, on costs[j][i] and ious[j][i] of every anchor i."""
    claims = {i: [] for i in candidates}
    for j in range(len(costs)):
        largest = sorted((ious[j][i] for i in candidates), reverse=True)[:top_n]
        k = max(1, int(sum(largest)))
        for i in sorted(candidates, key=lambda i: costs[j][i])[:k]:
            claims[i].append(j)
    match = [-1] * len(costs[0])
    for i, claimants in claims.items():
        if len(claimants) == 1:
            match[i] = claimants[0]
        elif claimants:
            match[i] = min(range(len(costs)), key=lambda j: costs[j][i])
    return match


def literal_simota(scene, *, rotated, radius, top_n, cls_weight, reg_weight):
    anchors, strides, _, logits, gt, labels = (tensor.tolist() for tensor in scene)
    # Overlaps are the library's own, tested elsewhere: their rounding must not decide near-ties.
    ious = pairwise_iou(scene[4], scene[2], rotated).tolist()
    candidates, costs = set(), []
    for j, box in enumerate(gt):
        region = {
            i for i in range(len(anchors)) if literal_near(anchors[i], strides[i], box, radius)
        }
        region.add(literal_nearest(anchors, box))
        candidates |= region
        costs.append([])
        for i in range(len(anchors)):
            scores = [1 / (1 + math.exp(-x)) for x in logits[i]]
            bce = sum(-math.log(p if c == labels[j] else 1 - p) for c, p in enumerate(scores))
            cost = cls_weight * bce + reg_weight * -math.log(ious[j][i] + 1e-8)
            costs[j].append(cost if i in region else cost + 1e6)
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
    assigned = simota_assign(*scene, **options)
    assert assigned.dtype == torch.int64
    assert assigned.tolist() == literal_simota(scene, **options)


def test_the_defaults_are_the_rule_of_yolox():
    scene = make_scene(3, 400, 6, rotated=True, trained=True)
    expected = literal_simota(
        scene, rotated=True, radius=1.5, top_n=10, cls_weight=1.0, reg_weight=3.0
    )
    assert max(expected.count(j) for j in range(6)) > 2  # k is dynamic here
    assert simota_assign(*scene, rotated=True).tolist() == expected


# By hand: ground truths are unit cubes; a prediction of size (f, 1, 1) inside one has IoU f.


def cube(x=0.0, f=1.0):
    return [x, 0.0, 0.0, f, 1.0, 1.0, 0.0]


def assign(positions, predictions, truths, *, scores=None, labels=None, stride=0.16, **options):
    """Anchors on the x axis at `positions`; scores: probability of each class, 1/2 by default."""
    anchors = torch.zeros(len(positions), 3)
    anchors[:, 0] = torch.tensor(positions)
    scores = torch.tensor(scores or [[0.5]] * len(positions))
    return simota_assign(
        anchors,
        torch.full((len(positions),), stride),
        torch.tensor(predictions),
        scores.logit(),
        torch.tensor(truths),
        torch.tensor(labels or [0] * len(truths)),
        rotated=False,
        **options,
    ).tolist()


@pytest.mark.parametrize(
    ("overlaps", "top_n", "positive"),
    [
        ((0.9, 0.9, 0.15), 10, [0, -1, -1]),  # sum 1.95
        ((0.9, 0.9, 0.25), 10, [0, 0, -1]),  # sum 2.05
        ((0.9, 0.9, 0.25), 2, [0, -1, -1]),  # the two largest: 1.8
        ((0.1, 0.2, 0.3), 10, [-1, -1, 0]),  # sum 0.6, but at least 1
    ],
)
def test_k_is_the_sum_of_the_largest_overlaps_rounded_down(overlaps, top_n, positive):
    predictions = [cube(f=f) for f in overlaps]
    # The second anchor's score makes the first the cheaper of the two of equal overlap.
    scores = [[0.5], [0.4], [0.5]]
    assigned = assign([0.0, 0.1, 0.2], predictions, [cube()], scores=scores, top_n=top_n)
    assert assigned == positive


@pytest.mark.parametrize(("far", "positives"), [(0.25, 1), (0.2, 2)])
def test_only_candidates_count_towards_k(far, positives):
    assigned = assign([0.0, 0.1, far], [cube(f=0.9), cube(f=0.8), cube(f=0.7)], [cube()])
    assert assigned.count(0) == positives  # 1.7 without the third anchor, 2.4 with it


def test_candidates_of_other_objects_count_towards_k():
    # Anchors 1 and 2 lie near the second object, and predict the first: k = int(0.9 + 0.8 + 0.7).
    predictions = [cube(f=0.9), cube(f=0.8), cube(f=0.7)]
    truths = [cube(), cube(5.0)]
    # The second object has no overlap with any, and claims the anchor with its label.
    scores = [[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]]
    assert assign([0.0, 5.0, 5.1], predictions, truths, scores=scores, labels=[0, 1]) == [0, 0, 1]


@pytest.mark.parametrize(("score", "winner"), [(0.25, 0), (0.28, 1)])
def test_cost_by_hand(score, winner):
    # -ln 0.9 + 3 ln 3 = 3.401 of the first; 3 ln 2 = 2.079, and -ln 0.267 = 1.322 makes it equal.
    predictions = [cube(f=1 / 3), cube(f=0.5)]
    assigned = assign([0.0, 0.1], predictions, [cube()], scores=[[0.9], [score]])
    assert assigned.index(0) == winner


@pytest.mark.parametrize(("other", "winner"), [(0.1, 1), (0.2, 0)])
def test_every_class_counts(other, winner):
    # As above, and 0.105 more of the first, against 2.079 - ln 0.29 of the second: 0.189 is left
    # for its other class, which is that of a score of 0.172.
    predictions = [cube(f=1 / 3), cube(f=0.5)]
    scores = [[0.9, 0.1], [0.29, other]]
    assigned = assign([0.0, 0.1], predictions, [cube()], scores=scores)
    assert assigned.index(0) == winner


@pytest.mark.parametrize(("reg_weight", "winner"), [(1.0, 0), (3.0, 1)])
def test_weights(reg_weight, winner):
    # Scores part the two by ln 3 = 1.099, overlaps by ln 2 = 0.693 times the weight.
    predictions = [cube(f=0.3), cube(f=0.6)]
    scores = [[0.9], [0.3]]
    for factor in (1.0, 10.0):
        options = {"cls_weight": factor, "reg_weight": reg_weight * factor}
        assigned = assign([0.0, 0.1], predictions, [cube()], scores=scores, **options)
        assert assigned.index(0) == winner


def test_a_conflict_goes_to_the_least_cost_and_the_loser_gets_no_substitute():
    # Both objects' cheapest anchor is the first, whose overlap is 0.8 with the first object, less
    # with the second, which stays without an anchor although the second anchor is a candidate.
    assigned = assign([0.0, 0.1], [cube(f=0.8), cube(3.0)], [cube(), cube(0.1)])
    assert assigned == [0, -1]
    assigned = assign([0.0, 0.1], [cube(f=0.8), cube(3.0)], [cube(0.1), cube()])
    assert assigned == [1, -1]


def test_of_equal_costs_the_first_object_wins():
    assert assign([0.0, 0.1], [cube(f=0.8), cube(3.0)], [cube(), cube()]) == [0, -1]


def test_of_equal_costs_the_first_anchors_are_claimed():
    many = 3000
    assigned = assign([0.0] * many, [cube(f=0.95)] * many, [cube()])
    assert assigned == [0] * 9 + [-1] * (many - 9)


def test_a_conflict_may_go_to_an_object_that_did_not_claim():
    # Alone or with the third object, the first has the first anchor (IoU 0.4) for its own.
    predictions = [cube(f=0.7), cube(f=0.95)]
    assert assign([0.0, 0.1], predictions, [cube(f=0.28), cube(f=1.0)]) == [0, 1]
    # The second object claims it too (IoU 0.5). Then it goes to the least cost among all, to the
    # third object (IoU 0.7), which claims the second anchor alone (0.95; k = int(1.65)).
    truths = [cube(f=0.28), cube(f=0.35), cube(f=1.0)]
    assert assign([0.0, 0.1], predictions, truths) == [2, 2]


@pytest.mark.parametrize(("stride", "positive"), [(0.16, [0, -1, -1]), (0.32, [-1, 0, -1])])
def test_the_region_grows_with_the_stride(stride, positive):
    # 0.24 m of the fine level, 0.48 m of the coarse one; the best prediction is out of both.
    predictions = [cube(f=0.3), cube(f=0.4), cube(f=0.9)]
    # The third anchor is a candidate, of the second object.
    truths = [cube(), cube(1.0)]
    predictions += [cube(1.0)]
    assert assign([0.2, 0.3, 0.6, 1.0], predictions, truths, stride=stride) == [*positive, 1]


def test_outside_of_its_region_an_object_claims_only_what_its_k_leaves():
    # Without the penalty, the first object would claim the second anchor for its overlap.
    predictions = [cube(f=0.01), cube(f=0.9), cube(5.0)]
    truths = [cube(), cube(5.0)]
    assert assign([0.0, 5.1, 5.0], predictions, truths) == [0, -1, 1]


def test_an_object_without_an_anchor_in_its_region_claims_its_nearest():
    # At 2 m nothing is in reach. The nearest is no candidate otherwise, and the best prediction
    # of a farther anchor does not count.
    predictions = [cube(7.0), cube(7.0), cube()]
    assert assign([3.0, 2.0, 2.5], predictions, [cube()]) == [-1, 0, -1]
    assert assign([3.0, 2.0, -2.0], predictions, [cube()]) == [-1, 0, -1]  # the first of equals


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_ground_truths_does_not_matter(rotated, seed):
    truths = 7
    scene = make_scene(seed, 400, truths, rotated=rotated, trained=seed % 2 == 0, classes=truths)
    *rest, gt, _ = scene
    labels = torch.arange(truths)  # no two of a class: without overlap, costs would be equal
    assigned = simota_assign(*rest, gt, labels, rotated=rotated)
    order = torch.randperm(truths, generator=torch.Generator().manual_seed(seed))
    shuffled = simota_assign(*rest, gt[order], labels[order], rotated=rotated)
    assert (assigned >= 0).sum() >= 3
    assert torch.equal(torch.where(shuffled < 0, -1, order[shuffled]), assigned)


@pytest.mark.parametrize(("anchors", "truths"), [(0, 3), (5, 0), (0, 0)])
def test_nothing_to_assign(anchors, truths):
    scene = make_scene(0, anchors, truths, rotated=False, trained=False)
    assigned = simota_assign(*scene, rotated=False)
    assert assigned.dtype == torch.int64
    assert assigned.tolist() == [-1] * anchors


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_predictions_that_are_not_finite_overlap_nothing(rotated, value):
    anchors, strides, pred, *rest = make_scene(2, 300, 5, rotated=rotated, trained=True)
    broken, far = pred.clone(), pred.clone()
    broken[::3, :6] = value
    far[::3, :3] = 1e3
    assigned = simota_assign(anchors, strides, broken, *rest, rotated=rotated)
    assert torch.equal(assigned, simota_assign(anchors, strides, far, *rest, rotated=rotated))
    assert (assigned[::3] >= 0).sum() < (assigned >= 0).sum()


@pytest.mark.parametrize("score", [math.nan, 0.0, 1.0])
def test_logits_that_are_not_finite_are_claimed_last(score):
    predictions = [cube(f=0.9), cube(f=0.1)]
    assert assign([0.0, 0.1], predictions, [cube()], scores=[[score], [0.01]]) == [-1, 0]
    assert assign([0.0, 0.1], predictions, [cube()], scores=[[score], [score]]) == [0, -1]
