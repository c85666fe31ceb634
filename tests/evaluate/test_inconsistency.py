from __future__ import annotations

import pytest
import torch

from sr3d.losses.inconsistency import average_inconsistency
from sr3d.losses.positives import Positives


def positives(*matches: int) -> Positives:
    return Positives.of(torch.tensor(matches, dtype=torch.int64))


def test_is_the_mean_distance_of_score_and_overlap() -> None:
    scores, found = torch.tensor([0.9, 0.5, 0.2], requires_grad=True), positives(0, 1, 0)
    value = average_inconsistency(scores, torch.tensor([0.6, 0.5, 0.8]), found, found.count)
    assert value.item() == pytest.approx((0.3 + 0.0 + 0.6) / 3)
    assert not value.requires_grad


def test_no_positive_is_no_inconsistency() -> None:
    none = positives()
    assert average_inconsistency(torch.zeros(0), torch.zeros(0), none, none.count).item() == 0
