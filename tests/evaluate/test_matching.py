from __future__ import annotations

import numpy as np
import pytest

from sr3d.evaluate.average_precision import average_precision, score_matches
from sr3d.evaluate.detection_matches import DetectionMatches, best_ground_truth, true_positives
from tests.evaluate.reference_average_precision import iou
from tests.evaluate.test_average_precision import box_set, random_case


@pytest.mark.parametrize("seed", range(12))
def test_equals_the_search_written_out(seed: int) -> None:
    rotated = seed % 2 == 1
    truth, detections = random_case(seed, rotated)
    matching = best_ground_truth(truth, detections, rotated)
    for i in range(len(detections)):
        same = [
            j
            for j in range(len(truth))
            if (truth.scene[j], truth.label[j]) == (detections.scene[i], detections.label[i])
        ]
        if not same:
            assert (matching.index[i], matching.iou[i]) == (-1, 0)
            continue
        overlap = [iou(truth.box[j].tolist(), detections.box[i].tolist()) for j in same]
        assert matching.iou[i] == pytest.approx(max(overlap), abs=1e-6)
        assert overlap[same.index(matching.index[i])] == pytest.approx(max(overlap), abs=1e-6)


def test_a_taken_ground_truth_is_still_the_best() -> None:
    truth = box_set([("s", 0, 0.0, 0.0), ("s", 0, 10.0, 0.0)], scored=False)
    found = box_set([("s", 0, 10.0, 0.1), ("s", 0, 10.2, 0.9), ("s", 0, 50.0, 0.5)])
    matching = best_ground_truth(truth, found, rotated=False)
    assert matching.index.tolist() == [1, 1, 0]  # without any overlap: the first of equals
    assert matching.iou == pytest.approx([1, 0.8 / 1.2, 0])


def test_the_choice_does_not_depend_on_the_order_of_detections() -> None:
    truth, detections = random_case(3, rotated=True)
    order = np.random.default_rng(0).permutation(len(detections))
    there = best_ground_truth(truth, detections, rotated=True)[order]
    here = best_ground_truth(truth, detections[order], rotated=True)
    assert here.index.tolist() == there.index.tolist()
    assert here.iou == pytest.approx(there.iou)


def test_nothing_matches_nothing() -> None:
    some, none = box_set([("s", 0, 0.0, 0.5)]), box_set([])
    assert best_ground_truth(none, some, rotated=False).index.tolist() == [-1]
    assert len(best_ground_truth(some, none, rotated=False)) == 0


def test_each_ground_truth_is_taken_once_and_only_above_the_threshold() -> None:
    ranked = DetectionMatches(np.array([0, 1, 0, -1, 1]), np.array([0.5, 0.9, 0.6, 0.0, 0.95]))
    assert true_positives(ranked, 0.5).tolist() == [False, True, True, False, False]
    assert true_positives(ranked, 0.25).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("rotated", [False, True])
def test_a_matching_at_hand_gives_the_same_average_precision(rotated: bool) -> None:
    truth, detections = random_case(10, rotated)
    matching = best_ground_truth(truth, detections, rotated)
    result = score_matches(truth, detections, matching, "abcd", (0.25, 0.4))
    assert result == average_precision(truth, detections, "abcd", (0.25, 0.4), rotated=rotated)
    assert 0 < result["AP40"] < 100
    with pytest.raises(ValueError, match="matching"):
        score_matches(truth, detections, matching[1:], "abcd")
