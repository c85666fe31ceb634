import itertools
import math

import pytest
import torch

from sr3d.geometry.boxes import centerness
from tests.matching.calls import fcaf3d_assign
from tests.matching.scenes import make_case


def faces(point, box):
    """Distances to the six faces, seen in the box's frame: -x, +x, -y, +y, -z, +z."""
    x, y, z, dx, dy, dz, yaw = box
    east, north, up = point[0] - x, point[1] - y, point[2] - z
    along = math.cos(yaw) * east + math.sin(yaw) * north
    across = math.cos(yaw) * north - math.sin(yaw) * east
    pairs = ((along, dx), (across, dy), (up, dz))
    return [side for shift, size in pairs for side in (size / 2 + shift, size / 2 - shift)]


def literal(anchors, anchor_levels, gt, limit, top, levels):
    """The published conditions, one after the other, one anchor and ground truth at a time."""
    anchors, gt, anchor_levels = anchors.tolist(), gt.tolist(), anchor_levels.tolist()
    claims = [[] for _ in anchors]
    for j, box in enumerate(gt):
        distances = [faces(a, box) for a in anchors]
        inside = [min(d) > 0 for d in distances]
        counts = [
            sum(within for within, own in zip(inside, anchor_levels, strict=True) if own == level)
            for level in range(levels)
        ]
        few = [level for level, count in enumerate(counts) if count < limit]
        best = max(few[0] - 1, 0) if few else levels - 1
        central = [
            math.sqrt(math.prod(min(d[i : i + 2]) / max(d[i : i + 2]) for i in (0, 2, 4)))
            if inside[n] and anchor_levels[n] == best
            else -1.0
            for n, d in enumerate(distances)
        ]
        last = sorted(central, reverse=True)[: top + 1][-1]
        volume = box[3] * box[4] * box[5]
        for i, value in enumerate(central):
            if value > last:
                claims[i].append((volume, j))
    return [min(claim)[1] if claim else -1 for claim in claims]


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize(
    ("seed", "anchors", "truths", "limit", "top"),
    [
        (0, 2500, 12, 27, 18),
        (1, 900, 30, 27, 18),
        (2, 1500, 20, 8, 5),
        (3, 300, 40, 3, 1),
        (4, 12, 5, 2, 18),  # fewer anchors than claims
        (5, 1, 3, 1, 18),
        (6, 400, 0, 27, 18),
    ],
)
def test_equals_the_published_rule(rotated, seed, anchors, truths, limit, top):
    case = make_case(seed, anchors, truths, rotated=rotated)
    args = case.anchors, case.anchor_levels, case.gt
    assigned = fcaf3d_assign(*args, limit=limit, top=top)
    assert assigned.tolist() == literal(*args, limit, top, levels=2)
    assert assigned.dtype == torch.int64
    if anchors >= 300 and truths:
        assert (assigned >= 0).any()


def test_a_scene_without_anchors():
    assert fcaf3d_assign(*make_case(0, 0, 3, rotated=False).tensors[:2], unit_box()).shape == (0,)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rotated", [False, True])
def test_four_levels_and_all_sorts_of_boxes(seed, rotated):
    generator = torch.Generator().manual_seed(seed)
    case = make_case(seed, 3000, 15, rotated=rotated)
    levels = torch.randint(4, (3000,), generator=generator)
    levels[torch.rand(3000, generator=generator) < 0.5] = 0  # finer levels have more
    args = case.anchors, levels, case.gt
    found = fcaf3d_assign(*args, limit=6)
    assert found.tolist() == literal(*args, 6, 18, levels=4)
    used = {int(levels[i]) for i in (found >= 0).nonzero()}
    assert len(used) >= 2


def grid(n, spacing, origin=0.0):
    """n³ anchors, centred on the origin."""
    steps = [(i - (n - 1) / 2) * spacing + origin for i in range(n)]
    return torch.tensor(list(itertools.product(steps, repeat=3)))


def unit_box(size=1.0):
    return torch.tensor([[0.0, 0, 0, size, size, size, 0]])


@pytest.mark.parametrize(("missing", "level"), [(0, 1), (1, 0)])
def test_a_level_is_fit_with_27_anchors_and_not_with_26(missing, level):
    fine, coarse = grid(4, 0.2), grid(3, 0.3)[missing:]
    anchors = torch.cat([fine, coarse])
    levels = torch.tensor([0] * len(fine) + [1] * len(coarse))
    assigned = fcaf3d_assign(anchors, levels, unit_box())
    assert set(levels[assigned == 0].tolist()) == {level}


def test_levels_count_from_the_finest_without_a_gap():
    # Level 1 has too few, so level 2 is not asked, however many it has.
    anchors = torch.cat([grid(4, 0.2), grid(2, 0.3), grid(3, 0.3)])
    levels = torch.tensor([0] * 64 + [1] * 8 + [2] * 27)
    assigned = fcaf3d_assign(anchors, levels, unit_box())
    assert set(levels[assigned == 0].tolist()) == {0}


def test_too_few_everywhere_leaves_the_finest():
    anchors = torch.cat([grid(2, 0.3), grid(2, 0.3)])
    assigned = fcaf3d_assign(anchors, torch.tensor([0] * 8 + [1] * 8), unit_box())
    # Eight corners, all as central, and eight others that count -1: all are above the 19th or last.
    assert assigned.tolist() == [0] * 8 + [-1] * 8


def test_enough_everywhere_takes_the_coarsest():
    anchors = torch.cat([grid(3, 0.3)] * 3)
    levels = torch.arange(3).repeat_interleave(27)
    assigned = fcaf3d_assign(anchors, levels, unit_box())
    assert set(levels[assigned == 0].tolist()) == {2}


def test_ties_at_the_limit_drop_candidates():
    # On a 3³ grid: the centre, 6 faces, 12 edges, 8 corners. The 19th is an edge, and no edge is
    # strictly more central, so 7 stay of 18.
    anchors = grid(3, 0.3)
    assigned = fcaf3d_assign(anchors, torch.zeros(27, dtype=torch.int64), unit_box())
    near = (anchors != 0).sum(dim=1) <= 1
    assert assigned.tolist() == torch.where(near, 0, -1).tolist()
    # With top = 19 the 20th is a corner, and all edges are above it.
    assigned = fcaf3d_assign(anchors, torch.zeros(27, dtype=torch.int64), unit_box(), top=19)
    assert int((assigned == 0).sum()) == 19


def test_a_scene_of_few_anchors_loses_its_least_central():
    anchors = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0.3, 0, 0]])
    assigned = fcaf3d_assign(anchors, torch.zeros(3, dtype=torch.int64), unit_box())
    assert assigned.tolist() == [0, 0, -1]


def test_the_smallest_box_gets_the_anchor_and_the_first_of_equals():
    anchors = torch.cat([grid(3, 0.1), torch.tensor([[0.45, 0.45, 0.45], [5.0, 5, 5]])])
    boxes = torch.cat([unit_box(1.0), unit_box(0.5), unit_box(0.5)])
    assigned = fcaf3d_assign(anchors, torch.zeros(29, dtype=torch.int64), boxes, top=28)
    assert assigned[:27].tolist() == [1] * 27
    assert assigned[27:].tolist() == [0, -1]


def test_a_face_is_outside():
    anchors = torch.tensor([[0.5, 0, 0], [0.0, 0, 0], [0.25, 0, 0]])
    levels = torch.zeros(3, dtype=torch.int64)
    assert fcaf3d_assign(anchors, levels, unit_box()).tolist() == [-1, 0, 0]


def test_centerness_by_hand():
    box = torch.tensor([1.0, 2, 3, 4, 2, 1, math.pi / 2])
    points = torch.tensor([[1.0, 2, 3], [1, 3, 3], [1.5, 2, 3], [1, 2, 3.5], [9, 9, 9]])
    # Turned by a quarter, y is along the 4 m and x along the 2 m: (2 - 1) / (2 + 1), .5 / 1.5.
    expected = torch.tensor([1, math.sqrt(1 / 3), math.sqrt(1 / 3), 0, 0])
    assert torch.allclose(centerness(points, box), expected, atol=1e-6)
