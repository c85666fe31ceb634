import pytest
import torch

from sr3d.losses.positives import Positives


@pytest.mark.parametrize("matches", [[-1, 2, -1, 0, 0], [-1, -2], [3], [], [-2, 0, -1]])
def test_positives_are_the_matched_anchors_in_their_order(matches):
    found = Positives.of(torch.tensor(matches, dtype=torch.int64))
    assert found.rows.tolist() == [i for i, match in enumerate(matches) if match >= 0]
    assert found.owner.tolist() == [match for match in matches if match >= 0]
    assert (int(found.count), found.count.dtype) == (len(found.rows), torch.int64)


def test_groups_are_of_a_ground_truth_or_of_what_it_belongs_to():
    found = Positives.of(torch.tensor([-1, 1, -2, 1, 0]))
    assert found.groups().tolist() == [1, 1, 0]
    assert found.groups(torch.tensor([7, 5])).tolist() == [5, 5, 7]
    boxes = torch.arange(5.0)[:, None].expand(-1, 7)
    ours, theirs = found.pairs(boxes, -torch.arange(2.0)[:, None].expand(-1, 7))
    assert ours[:, 0].tolist() == [1, 3, 4]
    assert theirs[:, 0].tolist() == [-1, -1, 0]
