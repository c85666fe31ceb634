"""The matrices of a batch against one scene, one ground truth at a time."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from sr3d.matching import batching as module
from sr3d.matching.batching import Rows, Scenes


def batch(seed, anchor_counts, truth_counts):
    """Anchors on a coarse grid (many ties), scenes and levels in any order."""
    g = torch.Generator().manual_seed(seed)

    def owners(sizes):
        order = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        return order[torch.randperm(len(order), generator=g)] * 1000

    of_anchor, of_truth = owners(anchor_counts), owners(truth_counts)
    anchors = torch.randint(0, 3, (len(of_anchor), 3), generator=g).float()
    points = torch.randint(0, 6, (len(of_truth), 3), generator=g) / 2
    levels = (
        torch.randint(0, 3, (len(of_anchor),), generator=g),
        torch.randint(0, 3, (len(of_truth),), generator=g),
    )
    return anchors, points, Scenes(of_anchor, of_truth), levels


@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=6),
    by_level=st.booleans(),
    part=st.sampled_from([1, 7, 1000]),
    count=st.integers(1, 8),
    reach=st.sampled_from([0.0, 1.0, 1.5]),
)
def test_rows_hold_each_scenes_anchors(seed, sizes, by_level, part, count, reach):
    anchors, points, scenes, levels = batch(seed, *zip(*sizes, strict=True))
    assume(len(anchors) and len(points))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PART_CPU", part)
        rows = Rows.make(anchors, scenes, levels if by_level else None)
        near, first = rows.nearest(points, count), rows.nearest(points, 1)
        pairs = rows.within(points, torch.full((len(points),), reach))
        squares = torch.cat([rows.squares(part, points) for part in rows.parts()])
    assert near[0].shape == near[1].shape == (len(points), min(count, rows.width))

    expected_pairs = []
    for j, point in enumerate(points):
        same = scenes.anchors == scenes.truths[j]
        assert rows.in_scene[j] == same.sum()
        if by_level:
            same &= levels[0] == levels[1][j]
        mine = same.nonzero()[:, 0].tolist()
        pad = [-1] * (rows.width - len(mine))
        assert rows.anchor[rows.of[j]].tolist() == mine + pad
        assert rows.column[mine].tolist() == list(range(len(mine)))

        distance = [float(((anchors[i] - point) ** 2).sum()) for i in mine]
        assert squares[j].tolist() == distance + [torch.inf] * len(pad)
        nearest = sorted(distance)[:count]
        assert near[0][j, : len(nearest)].tolist() == nearest
        assert near[0][j, len(nearest) :].isinf().all()
        found = near[1][j, : len(nearest)].tolist()
        assert [distance[mine.index(i)] for i in found] == nearest
        assert len(set(found)) == len(found)
        assert (near[1][j, len(nearest) :] == -1).all()
        assert first[1][j].item() == (mine[distance.index(min(distance))] if mine else -1)
        expected_pairs += [(j, i) for i, d in zip(mine, distance, strict=True) if d <= reach**2]
    assert list(zip(*(x.tolist() for x in pairs), strict=True)) == expected_pairs


def test_a_mask_of_a_part_names_pairs():
    anchors = torch.arange(12.0).reshape(4, 3)
    scenes = Scenes(torch.tensor([7, 3, 7, 7]), torch.tensor([3, 7]))
    rows = Rows.make(anchors, scenes)
    mask = torch.tensor([[True, False, True]])
    gt, anchor = rows.pairs(slice(1, 2), mask)
    assert (gt.tolist(), anchor.tolist()) == ([1, 1], [0, 3])
    assert rows.table(torch.arange(4.0), -5.0)[rows.of].tolist() == [[1, -5, -5], [0, 2, 3]]


def test_an_infinite_reach_takes_no_more_than_there_is():
    scenes = Scenes(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]))
    rows = Rows.make(torch.zeros(3, 3), scenes)
    gt, anchor = rows.within(torch.zeros(3, 3), torch.full((3,), torch.inf))
    assert (gt.tolist(), anchor.tolist()) == ([0, 0, 1], [0, 1, 2])
