"""The uncertainty of a setting's mean AP over the choice of evaluated scenes, for its summary.

`sr3d summarise` computes the mean AP over the evaluations once in each of many bootstrap draws of
the scenes. All settings that were evaluated on the same scenes have the same draws. So a report
gets the paired interval of two settings by subtracting their numbers. See
`sr3d.evaluate.scene_bootstrap`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d.errors import InputError, Kind
from sr3d.evaluate.scene_bootstrap import ScoredScenes, half_width, resampled_ap, scene_draws
from sr3d.evaluate.scored_files import read_scored
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.files import digest
from sr3d.runs.record import DETECTIONS_FILE, RunRecord, run_file

DRAWS, SEED = 500, 0  # this many draws give an interval to 3 % of its width
THRESHOLDS = {"AP25": 0.25, "AP50": 0.5}
_DIGITS = 4  # of a percentage

Kept = Mapping[str, Any]


def resample_scenes(folder_of_setting: Path, tests: Sequence[RunRecord]) -> dict[str, Any] | None:
    """The entry `scenes` of a summary, from the detections of its evaluations. None without any.

    scenes: their number. drawn: digest of the scenes, their ground truth and the draws. tests:
    digest of the detections. AP25, AP50: the mean over the evaluations in each draw, in percent.

    Raises:
        InputError: an evaluation has no detections with ground truth, or other scenes than the
            first.
    """
    scenes, weights = "", np.empty((0, 0), dtype=np.int64)
    found: dict[str, list[NDArray[np.float64]]] = {metric: [] for metric in THRESHOLDS}
    for record in tests:
        folder = folder_of_setting / f"train{record.train}" / f"test{record.test}"
        path = run_file(folder, record, DETECTIONS_FILE)
        test = read_scored(path)
        scored = ScoredScenes.from_boxes(test.truth, test.detections, test.matching)
        if not scenes:
            scenes = _digest_of_scenes(scored.scenes, test.truth)
            weights = scene_draws(len(scored.scenes), DRAWS, SEED)
        elif scenes != _digest_of_scenes(scored.scenes, test.truth):
            raise InputError(
                f"of other scenes than {tests[0].key}",
                file=path,
                kind=Kind.CONFLICT,
                remedy="Repeat the evaluation runs with `sr3d test` on the same scenes.",
            )
        n_classes = int(test.truth.label.max(initial=-1)) + 1
        for metric, threshold in THRESHOLDS.items():
            found[metric].append(resampled_ap(scored, n_classes, threshold, weights))
    if not tests:
        return None
    means = {metric: np.mean(ap, axis=0).round(_DIGITS).tolist() for metric, ap in found.items()}
    # The draws themselves, not their seed: another version of numpy may draw differently.
    drawn = digest([scenes, hashlib.sha256(weights.tobytes()).hexdigest()])
    return {
        "scenes": weights.shape[1],
        "drawn": drawn,
        "tests": digest_of_tests(tests),
        **means,
    }


def digest_of_tests(tests: Sequence[RunRecord]) -> str:
    """Digest of the detections of all evaluations."""
    return digest([[test.key, test.files.get(DETECTIONS_FILE)] for test in tests])


def over_scenes(kept: Kept | None, metric: str) -> float | None:
    """Half of the 95 % interval of a setting's mean over the choice of scenes, for its own training
    and evaluation runs. None if the summary does not hold the draws.
    """
    return half_width(kept[metric]) if kept and metric in kept else None


def paired_over_scenes(a: Kept | None, b: Kept | None, metric: str) -> float | None:
    """As `over_scenes` for the difference of means a − b. None unless both have the same draws."""
    if not a or not b or a["drawn"] != b["drawn"] or metric not in a or metric not in b:
        return None
    return half_width(np.subtract(a[metric], b[metric]))


def _digest_of_scenes(scenes: Sequence[str], truth: BoxSet) -> str:
    """Digest of ids and boxes, because procedural rooms of another seed have the same ids."""
    boxes = hashlib.sha256(truth.box.tobytes()).hexdigest()
    return digest([list(scenes), truth.scene.tolist(), truth.label.tolist(), boxes])
