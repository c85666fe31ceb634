from __future__ import annotations

import pytest
import torch

from sr3d.losses.inconsistency import average_inconsistency


def test_is_the_mean_distance_of_score_and_overlap() -> None:
    scores = torch.tensor([0.9, 0.5, 0.2], requires_grad=True)
    value = average_inconsistency(scores, torch.tensor([0.6, 0.5, 0.8]))
    assert value.item() == pytest.approx((0.3 + 0.0 + 0.6) / 3)
    assert not value.requires_grad


def test_no_positive_is_no_inconsistency() -> None:
    assert average_inconsistency(torch.zeros(0), torch.zeros(0)).item() == 0


def test_what_fills_the_positives_up_counts_for_nothing() -> None:
    scores, ious = torch.tensor([0.9, 0.5, torch.nan]), torch.tensor([0.6, 0.4, 1.0])
    value = average_inconsistency(scores, ious, torch.tensor([True, True, False]))
    assert value.item() == pytest.approx((0.3 + 0.1) / 2)
    assert average_inconsistency(scores, ious, torch.zeros(3, dtype=torch.bool)).item() == 0


def test_refuses_what_would_broadcast() -> None:
    with pytest.raises(ValueError, match="scores"):
        average_inconsistency(torch.zeros(3), torch.zeros(3, 1))
