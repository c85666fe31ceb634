from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import sr3d.evaluate.detection_matches as module
from sr3d.data.box_files import read_ground_truth
from sr3d.data.datasets import SCANNET
from sr3d.evaluate.average_precision import average_precision
from sr3d.geometry.box_set import BoxSet
from tests.evaluate.reference_average_precision import reference
from tests.shared_data import shared

Row = tuple[str, int, float, float]  # scene, label, x of a cube of 1 m, score


def box_set(rows: list[Row], scored: bool = True) -> BoxSet:
    box = np.array([[row[2], 0, 0, 1, 1, 1, 0] for row in rows], dtype=np.float32)
    return BoxSet(
        scene=np.array([row[0] for row in rows], dtype=str),
        label=np.array([row[1] for row in rows], dtype=np.int64),
        box=box.reshape(-1, 7),
        score=np.array([row[3] for row in rows], dtype=np.float32) if scored else None,
    )


def evaluate(truth: list[Row], detections: list[Row], classes: str = "abc") -> dict[str, Any]:
    result = average_precision(
        box_set(truth, scored=False), box_set(detections), list(classes), rotated=False
    )
    json.dumps(result, allow_nan=False)
    return result


A, B = ("s", 0, 0.0, 0.0), ("s", 0, 10.0, 0.0)  # two ground-truth cubes of class a


def test_a_duplicate_is_wrong() -> None:
    result = evaluate([A, B], [("s", 0, 0, 0.9), ("s", 0, 0, 0.8), ("s", 0, 10, 0.7)])
    # Precision 1 at recall 1/2, then 2/3 at recall 1.
    assert result["AP25"] == pytest.approx(100 * (0.5 + 0.5 * 2 / 3))
    assert result["per_class"] == {"a": {"AP25": result["AP25"], "AP50": result["AP50"]}}


def test_the_better_score_takes_the_ground_truth_not_the_better_overlap() -> None:
    result = evaluate([A], [("s", 0, 0.4, 0.9), ("s", 0, 0, 0.8)])  # IoU 0.6 / 1.4 = 0.43 first
    assert result["AP25"] == pytest.approx(100)
    assert result["AP50"] == pytest.approx(50)  # there the first is wrong, and frees the cube


@pytest.mark.parametrize(("length", "ap50"), [(1.0, 0.0), (1.0001, 100.0)])
def test_the_threshold_is_strict(length: float, ap50: float) -> None:
    truth, found = box_set([A], scored=False), box_set([("s", 0, 0.0, 0.9)])
    truth.box[0, 3] = 2
    found.box[0, 3] = length  # within the truth: the IoU is length / 2
    result = average_precision(truth, found, ["a"], rotated=False)
    assert result["AP50"] == ap50
    assert result["AP25"] == 100


def test_the_second_best_ground_truth_is_not_used() -> None:
    truth = [("s", 0, 0.0, 0.0), ("s", 0, 0.3, 0.0)]
    # Both detections overlap both cubes by more than a quarter, but prefer the first.
    result = evaluate(truth, [("s", 0, 0.0, 0.9), ("s", 0, 0.1, 0.8)])
    assert result["AP25"] == pytest.approx(50)


def test_of_equal_overlaps_the_first_counts() -> None:
    truth = [("s", 0, -0.25, 0.0), ("s", 0, 0.25, 0.0)]
    # The first detection, between both, takes the first cube; the second finds it taken.
    first_taken = evaluate(truth, [("s", 0, 0.0, 0.9), ("s", 0, -0.25, 0.8)])
    other_free = evaluate(truth, [("s", 0, 0.0, 0.9), ("s", 0, 0.25, 0.8)])
    assert first_taken["AP25"] == pytest.approx(50)
    assert other_free["AP25"] == pytest.approx(100)


def test_of_equal_scores_the_first_counts() -> None:
    right, wrong = ("s", 0, 0.0, 0.5), ("s", 0, 50.0, 0.5)
    assert evaluate([A], [right, wrong])["AP50"] == pytest.approx(100)
    assert evaluate([A], [wrong, right])["AP50"] == pytest.approx(50)


def test_scenes_and_classes_do_not_meet() -> None:
    result = evaluate([A, ("t", 1, 0.0, 0.0)], [("t", 0, 0.0, 0.9), ("s", 1, 0.0, 0.9)])
    assert result["per_class"] == {"a": {"AP25": 0, "AP50": 0}, "b": {"AP25": 0, "AP50": 0}}


def test_classes_without_ground_truth_are_left_out_and_named() -> None:
    result = evaluate([A, ("s", 1, 0.0, 0.0)], [("s", 0, 0.0, 0.9), ("s", 2, 0.0, 0.9)], "abcd")
    assert result["per_class"]["b"] == {"AP25": 0, "AP50": 0}  # never detected
    assert result["AP25"] == pytest.approx(50)
    assert result["without_ground_truth"] == ["c", "d"]
    assert result["detected_without_ground_truth"] == ["c"]


@pytest.mark.parametrize("detections", [[], [("s", 1, 0.0, 0.5)]])
def test_without_ground_truth_the_mean_is_zero(detections: list[Row]) -> None:
    result = evaluate([], detections)
    assert (result["AP25"], result["AP50"], result["per_class"]) == (0, 0, {})
    assert result["without_ground_truth"] == ["a", "b", "c"]


def test_without_detections_the_mean_is_zero() -> None:
    assert evaluate([A, B], [])["per_class"] == {"a": {"AP25": 0, "AP50": 0}}


def test_refuses_missing_scores_and_unknown_labels() -> None:
    truth = box_set([A], scored=False)
    with pytest.raises(ValueError, match="scores"):
        average_precision(truth, truth, ["a"], rotated=False)
    with pytest.raises(ValueError, match="labels"):
        average_precision(truth, box_set([("s", 1, 0, 0.5)]), ["a"], rotated=False)


def random_case(seed: int, rotated: bool) -> tuple[BoxSet, BoxSet]:
    """A few scenes with ground truth close together, detections near it, and equal scores."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 40))
    box = np.zeros((count, 7), dtype=np.float32)
    box[:, :2] = rng.integers(-3, 4, (count, 2)) / 2
    box[:, 3:6] = rng.integers(2, 6, (count, 3)) / 4
    box[:, 6] = rng.uniform(-4, 4, count) * rotated
    scene = rng.choice(["scene0", "scene1", "room"], count)
    label = rng.choice([0, 0, 1, 3], count)
    truth = BoxSet(scene, label, box, None)
    pick = rng.integers(0, count, int(rng.integers(0, 80)))
    moved = box[pick]
    moved[:, :2] += rng.choice([0, 0, 0.125, 0.25, 0.5], (len(pick), 2)).astype(np.float32)
    moved[:, 6] += (rng.normal(0, 0.2, len(pick)) * rotated).astype(np.float32)
    guess = np.where(rng.random(len(pick)) < 0.8, label[pick], rng.integers(0, 4, len(pick)))
    score = (rng.integers(1, 12, len(pick)) / 12).astype(np.float32)
    place = np.where(rng.random(len(pick)) < 0.9, scene[pick], "elsewhere")
    return truth, BoxSet(place, guess, moved, score)


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_rules_written_out(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 4 == 0:
        monkeypatch.setattr(module, "_CHUNK", 5)
    rotated = seed % 2 == 1
    truth, detections = random_case(seed, rotated)
    classes = ["a", "b", "c", "d"]
    result = average_precision(truth, detections, classes, (0.25, 0.4), rotated=rotated)
    expected = reference(truth, detections, classes, (0.25, 0.4))
    assert result["per_class"].keys() == expected["per_class"].keys()
    for name, values in expected["per_class"].items():
        assert result["per_class"][name] == pytest.approx(values, abs=1e-9)
    for key in ("AP25", "AP40"):
        assert result[key] == pytest.approx(expected[key], abs=1e-9)


def test_the_random_cases_are_neither_perfect_nor_hopeless() -> None:
    values = [
        average_precision(*random_case(seed, seed % 2 == 1), "abcd", rotated=seed % 2 == 1)["AP50"]
        for seed in range(40)
    ]
    assert 10 < np.median(values) < 90
    assert len(set(values)) > 30


def test_turned_by_a_right_angle_is_the_same_box_only_with_yaw() -> None:
    truth = box_set([A], scored=False)
    found = box_set([("s", 0, 0.0, 0.5)])
    truth.box[0, 3:] = [3, 1, 1, 0]
    found.box[0, 3:] = [1, 3, 1, math.pi / 2]
    assert average_precision(truth, found, ["a"], rotated=True)["AP50"] == pytest.approx(100)
    assert average_precision(truth, found, ["a"], rotated=False)["AP50"] == 0


@pytest.mark.parametrize("rotated", [False, True])
def test_scannet_validation_ground_truth_scores_100_against_itself(rotated: bool) -> None:
    path = shared("real/scannet/infos/scannet_infos_val.pkl")
    truth = read_ground_truth(path, SCANNET.classes)
    score = np.random.default_rng(0).random(len(truth)).astype(np.float32)
    itself = BoxSet(truth.scene, truth.label, truth.box, score)
    result = average_precision(truth, itself, SCANNET.classes, rotated=rotated)
    assert result["AP25"] == pytest.approx(100)
    assert result["AP50"] == pytest.approx(100)
    assert list(result["per_class"]) == list(SCANNET.classes)
    # Without every tenth box recall ends at nine tenths, and precision stays 1.
    fewer = average_precision(truth, itself[np.arange(len(itself)) % 10 > 0], SCANNET.classes,
                              rotated=rotated)  # fmt: skip
    for label, name in enumerate(SCANNET.classes):
        rows = np.flatnonzero(truth.label == label)
        share = (rows % 10 > 0).mean()
        assert fewer["per_class"][name]["AP50"] == pytest.approx(100 * share)
