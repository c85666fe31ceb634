"""Result trees with everything that figures draw: curves, times, PCE, detections, ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sr3d.evaluate.detection_matches import best_ground_truth
from sr3d.evaluate.scored_files import ScoredDetections
from sr3d.geometry.box_set import BoxSet
from tests.make_runs import edit, leave_detections, make_tree

# Rows of Table 1 before those whose runs these trees hold.
SPARSE = [
    "VoteNet",
    "MLCVNet",
    "3DETR",
    "BRNet",
    "GroupFree",
    "RBGNet",
    "CAGroup3D",
    "SPGroup3D",
    "V-DETR",
    "DEST",
]

Placed = Mapping[str, Sequence[tuple[int, float, float]]]  # scene -> (label, x, score) of boxes


def boxes(placed: Placed, scored: bool) -> BoxSet:
    """Unit boxes at y = z = 0, in the order given."""
    rows = [(scene, *box) for scene, found in placed.items() for box in found]
    box = np.array([[x, 0, 0, 1, 1, 1, 0] for _, _, x, _ in rows], np.float32).reshape(-1, 7)
    return BoxSet(
        np.array([scene for scene, *_ in rows], dtype=str),
        np.array([label for _, label, *_ in rows], np.int64),
        box,
        np.array([score for *_, score in rows], np.float32) if scored else None,
        tuple(placed),
    )


def scored_test(truth: Placed, found: Placed) -> ScoredDetections:
    """An evaluation with these boxes. A box shifted by 0.5 along x has IoU 1/3 with its truth."""
    true, detections = boxes(truth, scored=False), boxes(found, scored=True)
    return ScoredDetections(true, detections, best_ground_truth(true, detections, rotated=False))


def lacking(missing: Sequence[str]) -> list[str]:
    """The subjects of a figure's notes: a label, or a parameter and its values."""
    return [note.partition(":")[0] for note in missing]


def make_full_tree(
    results: Path,
    settings: Mapping[str, Sequence[str]],
    tests: Mapping[str, ScoredDetections] | None = None,
    dataset: str = "synthetic",
    trainings: int = 3,
    **changes: Any,
) -> None:
    """Runs of settings as `make_tree` makes them, whose n-th setting is two points better and 10 ms
    slower than the one before.

    tests: what every test of a setting detected; by default all the same.
    """
    rooms = [f"room{i}" for i in range(5)]
    usual = scored_test(
        {room: [(0, 0, 1)] for room in rooms},
        {room: [(0, 0.5, 0.9), (1, 3, 0.5)] for room in rooms},
    )
    level = {name: 50.0 + 2 * n for n, name in enumerate(settings)}

    def score(setting: str, train: int, test: int) -> float:
        return level[setting] + train + 0.1 * test

    for record in make_tree(results, dataset, settings, trainings, 2, score, **changes):
        if record.test is None:
            first = 0.3 + 0.01 * record.train
            epochs = {"loss": [3.0, 2.0, 1.5], "AIC": [first, first - 0.1, first - 0.15]}
            edit(
                results, record.key, metrics={"epochs": epochs},
                timings={"seconds_per_epoch": 60.0},
            )  # fmt: skip
            continue
        n = list(settings).index(record.setting)
        edit(
            results, record.key, metrics={**record.metrics, "PCE": 0.2 + 0.01 * record.train},
            timings={"latency_ms": 40.0 + 10 * n + record.train},
        )  # fmt: skip
        leave_detections(results / record.key, (tests or {}).get(record.setting, usual))
