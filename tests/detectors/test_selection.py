from __future__ import annotations

import pytest
import torch

from sr3d.config import InferenceConfig
from sr3d.detectors.common.selection import suppress
from sr3d.geometry.nms import nms
from tests.geometry.strategies import random_boxes


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("overlap", ["bev", "3d"])
def test_equals_suppression_class_by_class(rotated: bool, overlap: str) -> None:
    boxes = random_boxes(120, 0, spread=1.0)
    scores = torch.randint(0, 30, (120, 6), generator=torch.Generator().manual_seed(0)) / 30
    scores[:, 4] = 0  # a class that nothing is
    config = InferenceConfig(score_thr=0.3, iou_thr=0.2, nms=overlap)  # type: ignore[arg-type]
    found = suppress(boxes, scores, config, rotated)
    expected: list[tuple[int, int]] = []
    for label in range(6):
        rows = (scores[:, label] > 0.3).nonzero().squeeze(1)
        alone = torch.zeros(len(rows)).long()
        kept = nms(boxes[rows], scores[rows, label], alone, 0.2, rotated, overlap == "bev")
        expected += [(int(row), label) for row in rows[kept]]
    rows, labels = (torch.tensor(column) for column in zip(*expected, strict=True))
    assert torch.equal(found.labels, labels)
    assert torch.equal(found.boxes, boxes[rows])
    assert torch.equal(found.scores, scores[rows, labels])
    assert 30 < len(rows) < 400


def test_no_score_above_the_threshold_is_no_detection() -> None:
    found = suppress(random_boxes(5, 0), torch.zeros(5, 3), InferenceConfig(), rotated=False)
    assert [part.shape for part in found] == [(0, 7), (0,), (0,)]
    assert found.labels.dtype == torch.long
