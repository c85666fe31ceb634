"""Duplicates among detections: by hand, and against a plain greedy loop."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.geometry.duplicates import without_duplicates
from sr3d.geometry.iou import paired_iou


def box(x: float, size: tuple[float, float, float] = (1, 1, 1)) -> list[float]:
    return [x, 0, 0, *size, 0]


def kept(boxes: list[list[float]], scores: list[float], labels: list[int]) -> list[int]:
    values = torch.tensor(boxes).reshape(-1, 7), torch.tensor(scores), torch.tensor(labels)
    return without_duplicates(*values, rotated=False).tolist()


def test_within_and_across_classes() -> None:
    # Shifted by 0.5 of 1: IoU 1/3. By 0.25: 0.6. By 0.7: 0.18.
    assert kept([box(0), box(0.5)], [0.5, 0.9], [2, 2]) == [1]
    assert kept([box(0), box(0.7)], [0.5, 0.9], [2, 2]) == [1, 0]
    assert kept([box(0), box(0.5)], [0.5, 0.9], [2, 3]) == [1, 0]
    assert kept([box(0), box(0.25)], [0.5, 0.9], [2, 3]) == [1]
    assert kept([], [], []) == []


def test_a_thin_window_found_twice_is_one() -> None:
    thin = (0.02, 1.2, 1.2)  # beside each other without overlap
    assert kept([box(0, thin), box(0.06, thin)], [0.8, 0.7], [6, 6]) == [0]
    assert kept([box(0, thin), box(0.5, thin)], [0.8, 0.7], [6, 6]) == [0, 1]


def test_a_left_out_box_leaves_out_none() -> None:
    # Each overlaps the next alone: the second goes, so the third stays.
    assert kept([box(0), box(0.5), box(1.0)], [0.9, 0.8, 0.7], [1, 1, 1]) == [0, 2]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.booleans())
def test_against_a_plain_greedy_loop(seed: int, count: int, rotated: bool) -> None:
    rng = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 7, generator=rng) * torch.tensor([3, 3, 1, 1, 1, 1, 3.0])
    boxes[:, 3:6] += 0.01
    boxes[:, 6] *= rotated
    scores = torch.rand(count, generator=rng)
    labels = torch.randint(0, 3, (count,), generator=rng)
    thick = boxes.clone()
    thick[:, 3:6] = thick[:, 3:6].maximum(torch.tensor(0.2))
    expected: list[int] = []
    for i in sorted(range(count), key=lambda i: -float(scores[i])):
        overlaps = [
            float(paired_iou(thick[[i]], thick[[j]], rotated)) > (0.25, 0.5)[labels[i] != labels[j]]
            for j in expected
        ]
        if not any(overlaps):
            expected.append(i)
    assert without_duplicates(boxes, scores, labels, rotated).tolist() == expected
