"""Draws of scenes against data sets in which scenes really are repeated, and odd inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sr3d.evaluate.scene_bootstrap as module
from sr3d.evaluate.average_precision import average_precision
from sr3d.evaluate.detection_matches import best_ground_truth
from sr3d.evaluate.scene_bootstrap import (
    ScoredScenes,
    half_width,
    resampled_ap,
    scene_draws,
)
from sr3d.geometry.box_set import BoxSet
from tests.evaluate.test_average_precision import box_set, random_case

CLASSES = ["a", "b", "c", "d"]
SCENES = ("elsewhere", "room", "scene0", "scene1")  # of random_case; a case may lack some


def scored(truth: BoxSet, detections: BoxSet, rotated: bool = False) -> ScoredScenes:
    matching = best_ground_truth(truth, detections, rotated)
    return ScoredScenes.from_boxes(truth, detections, matching)


def repeated(boxes: BoxSet, times: dict[str, int]) -> BoxSet:
    """The boxes with each scene `times` over under new names, copies of a box side by side."""
    count = [times[scene] for scene in boxes.scene.tolist()]
    copy = [f"copy {k} of " for n in count for k in range(n)]
    rows = boxes[np.repeat(np.arange(len(boxes)), count)]
    scene = np.char.add(np.array(copy, dtype=str), rows.scene)
    return BoxSet(scene, rows.label, rows.box, rows.score)


@pytest.mark.parametrize("seed", range(20))
def test_every_scene_once_is_average_precision(seed: int) -> None:
    rotated = seed % 2 == 1
    truth, detections = random_case(seed, rotated)
    test = scored(truth, detections, rotated)
    once = np.ones((2, len(test.scenes)), dtype=int)
    expected = average_precision(truth, detections, CLASSES, (0.25, 0.4), rotated=rotated)
    for threshold, key in ((0.25, "AP25"), (0.4, "AP40")):
        assert resampled_ap(test, 4, threshold, once) == pytest.approx([expected[key]] * 2)


@given(
    seed=st.integers(0, 2**32 - 1),
    weights=st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=4),
    chunk=st.sampled_from([1, 60, 1 << 22]),
)
def test_weights_are_scenes_repeated_under_new_names(
    seed: int, weights: list[tuple[int, ...]], chunk: int
) -> None:
    truth, detections = random_case(seed, rotated=False)
    truth = BoxSet(truth.scene, truth.label, truth.box, None, SCENES)
    test = scored(truth, detections)
    assert test.scenes == SCENES
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        result = resampled_ap(test, 4, 0.25, np.array(weights))
    for value, row in zip(result, weights, strict=True):
        times = dict(zip(SCENES, row, strict=True))
        expected = average_precision(
            repeated(truth, times), repeated(detections, times), CLASSES, rotated=False
        )
        assert value == pytest.approx(expected["AP25"], abs=1e-9)


def test_copies_may_lie_anywhere_if_no_two_detections_score_the_same() -> None:
    rng = np.random.default_rng(0)
    truth, detections = random_case(10, rotated=False)
    score = rng.permutation(len(detections)).astype(np.float32)
    detections = BoxSet(detections.scene, detections.label, detections.box, score)
    test = scored(truth, detections)
    weights = scene_draws(len(test.scenes), 20, seed=1)
    values = []
    for row in weights.tolist():
        times = dict(zip(test.scenes, row, strict=True))
        found = repeated(detections, times)
        mixed = found[rng.permutation(len(found))]
        values.append(average_precision(repeated(truth, times), mixed, CLASSES, rotated=False))
    expected = [value["AP50"] for value in values]
    assert resampled_ap(test, 4, 0.5, weights) == pytest.approx(expected, abs=1e-9)
    assert len(set(expected)) > 5


def test_a_class_not_drawn_is_left_out_of_the_mean() -> None:
    truth = box_set([("s", 0, 0.0, 0.0), ("t", 1, 0.0, 0.0)], scored=False)
    test = scored(truth, box_set([("s", 0, 0.0, 0.9)]))  # class 0 found, class 1 missed
    weights = np.array([[1, 1], [2, 0], [0, 2], [0, 0]])
    assert resampled_ap(test, 3, 0.5, weights) == pytest.approx([50, 100, 0, 0])


def test_without_detections_or_ground_truth_ap_is_zero() -> None:
    truth, none = box_set([("s", 0, 0.0, 0.5)]), box_set([])
    once = np.ones((1, 1), dtype=int)
    assert resampled_ap(scored(truth, none), 1, 0.5, once).tolist() == [0]
    assert resampled_ap(scored(none, truth), 1, 0.5, once).tolist() == [0]


def test_draws_are_seeded_and_hold_as_many_scenes_as_there_are() -> None:
    draws = scene_draws(50, 400, seed=3)
    assert (draws.sum(axis=1) == 50).all()
    assert (draws == scene_draws(50, 400, seed=3)).all()
    assert (draws != scene_draws(50, 400, seed=4)).any()
    assert np.mean(draws == 0) == pytest.approx((1 - 1 / 50) ** 50, abs=0.02)


def test_half_an_interval_is_196_standard_deviations() -> None:
    # Of 1 2 3 4 5 the variance is 10 / 4.
    assert half_width([3.0, 1.0, 5.0, 2.0, 4.0]) == pytest.approx(1.959964 * np.sqrt(2.5))
    assert half_width([70.0, 70.0]) == 0.0
    with pytest.raises(ValueError, match="draws"):
        half_width([70.0])


def test_draws_of_two_scenes_worked_by_hand() -> None:
    """AP is 100 · (share of s in the draw): both scenes are s in a quarter of the draws."""
    truth = box_set([("s", 0, 0.0, 0.0), ("t", 0, 0.0, 0.0)], scored=False)
    one = scored(truth, box_set([("s", 0, 0.0, 0.9)]))
    found = resampled_ap(one, 1, 0.5, scene_draws(2, 2000, seed=0))
    assert set(found.tolist()) == {0.0, 50.0, 100.0}
    assert np.mean(found == 100) == pytest.approx(0.25, abs=0.04)
    # The share is binomial of two: a variance of 100² · 0.5 · 0.5 / 2.
    assert half_width(found) == pytest.approx(1.96 * np.sqrt(1250), rel=0.05)


def test_refuses_what_cannot_be_compared() -> None:
    truth = box_set([("s", 0, 0.0, 0.0), ("t", 0, 0.0, 0.0)], scored=False)
    found = box_set([("s", 0, 0.0, 0.9)])
    both = scored(truth, found)
    with pytest.raises(ValueError, match="weights"):
        resampled_ap(both, 1, 0.5, np.ones((5, 3), dtype=int))
    matching = best_ground_truth(truth, found, rotated=False)
    with pytest.raises(ValueError, match="scores"):
        ScoredScenes.from_boxes(truth, truth, matching)
    with pytest.raises(ValueError, match="matching"):
        ScoredScenes.from_boxes(truth, found, matching[:0])
