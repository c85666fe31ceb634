import pytest
import torch

from sr3d.losses import positives
from sr3d.losses.positives import Positives


@pytest.mark.parametrize("matches", [[-1, 2, -1, 0, 0], [-1, -2], [3], [], [-2, 0, -1]])
def test_padding_follows_the_positives(matches, monkeypatch):
    matches = torch.tensor(matches, dtype=torch.int64)
    expected = (matches >= 0).nonzero()[:, 0]
    assert torch.equal(Positives.of(matches, 4, 6).rows, expected)  # a CPU needs none
    monkeypatch.setattr(positives, "_needs_padding", lambda _: True)
    assert torch.equal(Positives.of(matches, 4, None).rows, expected)  # nor without a bound
    for size in range(len(expected), 8):
        found = Positives.of(matches, size, 1)
        assert len(found.rows) == min(size, len(matches))
        assert torch.equal(found.rows[: len(expected)], expected)
        assert len(set(found.rows.tolist())) == len(found.rows)
        assert found.count == len(expected)
        assert (found.owner[len(expected) :] == -1).all()


def test_padding_affects_no_result_and_no_gradient(monkeypatch):
    monkeypatch.setattr(positives, "_needs_padding", lambda _: True)
    found = Positives.of(torch.tensor([-1, 1, -2, 1]), 2, 2)
    boxes = torch.full((4, 7), torch.nan).index_fill(0, torch.tensor([1, 3]), 2.0).requires_grad_()
    ours, theirs = found.pairs(boxes, torch.ones(2, 7))
    assert (ours - theirs).tolist() == [[1.0] * 7] * 2 + [[0.0] * 7] * 2
    (gradient,) = torch.autograd.grad((ours - theirs).square().sum(), boxes)
    assert gradient[:, 0].tolist() == [0, 2, 0, 2]
    assert found.masked(torch.tensor([1.0, 2, torch.nan, 4])).tolist() == [1, 2, 0, 0]
    groups = found.groups().tolist()
    assert groups[:2] == [1, 1]
    assert len(set(groups)) == 3
    assert found.groups(torch.tensor([7, 5])).tolist()[:2] == [5, 5]
