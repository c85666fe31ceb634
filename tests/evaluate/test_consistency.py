from __future__ import annotations

import json
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr3d.evaluate.consistency import most_confident, prediction_consistency

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)))


def test_takes_the_best_of_each_class_over_the_data_set() -> None:
    label = [1, 0, 1, 1, 0]
    score = [0.2, 0.4, 0.9, 0.5, 0.6]
    assert most_confident(label, score, top_n=2).tolist() == [4, 1, 2, 3]


def test_of_equal_scores_the_first_is_taken() -> None:
    assert most_confident([0] * 4, [0.1, 0.5, 0.5, 0.5], top_n=2).tolist() == [1, 2]


def test_thirty_by_default() -> None:
    assert most_confident(np.zeros(100, dtype=int), np.arange(100)).tolist() == [*range(99, 69, -1)]


@given(rows=ROWS, top_n=st.integers(0, 3))
def test_equals_the_choice_written_out(rows: list[tuple[int, int]], top_n: int) -> None:
    groups = defaultdict(list)
    for i, (label, score) in enumerate(rows):
        groups[label].append((-score, i))
    expected = [i for key in sorted(groups) for _, i in sorted(groups[key])[:top_n]]
    labels, scores = ([row[k] for row in rows] for k in range(2))
    assert most_confident(labels, scores, top_n).tolist() == expected


def test_error_is_the_distance_of_score_and_overlap() -> None:
    result = prediction_consistency([0.9, 0.5, 0.2, 0.4, 1.0], [0.8, 0.5, 0.6, 0.7, 0.0])
    # Errors in order: 0, 0.1, 0.3, 0.4, 1; the 0.9 quantile lies 0.6 of the way to the last.
    assert result == {
        "mean": pytest.approx(0.36),
        "median": pytest.approx(0.3),
        "q25": pytest.approx(0.1),
        "q75": pytest.approx(0.4),
        "q90": pytest.approx(0.4 + 0.6 * 0.6),
        "count": 5,
    }
    json.dumps(result, allow_nan=False)


def test_scores_of_single_precision_are_compared_in_double() -> None:
    score = np.array([0.1], dtype=np.float32)
    assert prediction_consistency(score, score.astype(np.float64))["mean"] == 0


def test_nothing_detected_has_no_error_rather_than_error_zero() -> None:
    assert most_confident([], []).tolist() == []
    result = prediction_consistency([], [])
    assert result.pop("count") == 0
    assert result == dict.fromkeys(("mean", "median", "q25", "q75", "q90"))


def test_refuses_what_would_broadcast_or_spoil_the_mean() -> None:
    with pytest.raises(ValueError, match="scores"):
        most_confident([0, 1], [0.5])
    with pytest.raises(ValueError, match="top_n"):
        most_confident([0], [0.5], top_n=-1)
    with pytest.raises(ValueError, match="scores"):
        prediction_consistency([0.5, 0.5], [0.5])
    with pytest.raises(ValueError, match="finite"):
        prediction_consistency([0.5, float("nan")], [0.5, 0.5])
