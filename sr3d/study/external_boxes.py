"""Score the boxes of any detector, read from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sr3d.data.box_files import read_detections, read_ground_truth
from sr3d.data.datasets import get_dataset
from sr3d.data.prepared import MANIFEST, PreparedDataset, read_manifest
from sr3d.errors import InputError, Kind
from sr3d.evaluate.average_precision import score_matches
from sr3d.evaluate.detection_matches import best_ground_truth
from sr3d.evaluate.diagnosis import Diagnosis, diagnose
from sr3d.evaluate.loop import ground_truth as truth_of
from sr3d.evaluate.scene_bootstrap import ScoredScenes, half_width, resampled_ap, scene_draws
from sr3d.evaluate.scored_files import ScoredDetections
from sr3d.geometry.box_set import BoxSet
from sr3d.study.statistics import Comparison, Summary, compare, summarise

METRICS = {"AP25": 0.25, "AP50": 0.5}
_DRAWS, _SEED = 500, 0


@dataclass(frozen=True)
class ScoredFile:
    """A file of detections and its scores. result: as `average_precision` returns it.

    diagnosis: a known mistake that explains a low score, None if no known mistake does. test: the
    ground truth, the detections, and the match of each detection.
    """

    path: Path
    result: dict[str, Any]
    diagnosis: Diagnosis | None
    matched: ScoredScenes
    test: ScoredDetections

    @property
    def missing_scenes(self) -> list[str]:
        """Scenes of the ground truth that are absent from the file, in order."""
        there = self.test.detections.known_scenes()
        return [scene for scene in self.test.truth.scenes if scene not in there]


@dataclass(frozen=True)
class Evaluation:
    """Files of detections, one per training run of a detector, with one ground truth."""

    classes: tuple[str, ...]
    files: tuple[ScoredFile, ...]
    against: tuple[ScoredFile, ...] = ()

    def summary(self, metric: str) -> Summary:
        """Statistics over the files. Each file counts as a training run."""
        return summarise([[file.result[metric]] for file in self.files])

    def comparison(self, metric: str) -> Comparison | None:
        """The files minus the `against` files. None if either side has fewer than two files."""
        ours, theirs = ([f.result[metric] for f in side] for side in (self.files, self.against))
        return compare(ours, theirs)

    def scene_half_width(self, metric: str) -> float | None:
        """Half of the 95 % interval over the choice of scenes. None with fewer than two scenes.

        It is the interval of the mean over the files or, with `against` files, of the difference of
        both means under the same draws of scenes.
        """
        scenes = self.files[0].matched.scenes
        if len(scenes) < 2:
            return None
        draws = scene_draws(len(scenes), _DRAWS, _SEED)

        def mean(side: Sequence[ScoredFile]) -> Any:
            return np.mean(
                [resampled_ap(f.matched, len(self.classes), METRICS[metric], draws) for f in side],
                axis=0,
            )

        if not self.against:
            return half_width(mean(self.files))
        return half_width(mean(self.files) - mean(self.against))

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON. With a single file its scores are also at the top level."""
        entries: dict[str, Any] = {}
        if len(self.files) == 1:
            entries |= self.files[0].result
        for name, side in (("files", self.files), ("against", self.against)):
            entries[name] = [
                {
                    "file": str(file.path),
                    **file.result,
                    "diagnosis": None if file.diagnosis is None else asdict(file.diagnosis),
                }
                for file in side
            ]
        entries["summary"] = {
            metric: asdict(self.summary(metric))
            | {"scene_half_width": None if self.against else self.scene_half_width(metric)}
            for metric in METRICS
        }
        if self.against:
            entries["difference"] = {metric: self._difference(metric) for metric in METRICS}
        return entries

    def difference(self, metric: str) -> float:
        """Mean of the files minus mean of the `against` files."""
        ours, theirs = ([f.result[metric] for f in side] for side in (self.files, self.against))
        return float(np.mean(ours) - np.mean(theirs))

    def _difference(self, metric: str) -> dict[str, Any]:
        found = self.comparison(metric)
        entries = {"difference": self.difference(metric)} if found is None else asdict(found)
        return entries | {"scene_half_width": self.scene_half_width(metric)}


def evaluate_files(
    ground_truth: Path,
    detections: Sequence[Path],
    dataset: str | None = None,
    against: Sequence[Path] = (),
    split: str = "val",
) -> Evaluation:
    """Average precision of files of detections, one per training run of a detector.

    ground_truth: a file, or a prepared folder with the split `split`. dataset: the name of a data
    set, or a prepared folder, which defines the classes. By default the ground truth defines them.
    against: files of another detector. Boxes are compared with their yaw if the data set has
    rotated boxes or any file has a yaw other than 0.

    Raises:
        InputError: an unknown data set, an unreadable file, wrong content, or a ground truth
            without a box. It names file and field.
    """
    prepared = (ground_truth / MANIFEST).is_file()
    if dataset is None and not prepared:
        raise InputError(
            "does not define classes",
            field=f"--ground-truth {ground_truth}",
            kind=Kind.MISSING,
            remedy="Pass --dataset, or a prepared folder.",
        )
    named = dataset or str(ground_truth)
    if (Path(named) / MANIFEST).is_file():
        manifest = read_manifest(named)
        classes, turned = tuple(manifest.classes), manifest.rotated
    else:
        kind = get_dataset(named)
        classes, turned = kind.classes, kind.rotated
    truth = (
        _prepared_truth(ground_truth, split, classes)
        if prepared
        else read_ground_truth(ground_truth, classes)
    )
    if not len(truth):
        raise InputError(
            f"has no ground truth: no box in {len(truth.known_scenes())} scenes",
            file=ground_truth,
            kind=Kind.EMPTY,
            remedy="Pass the file of a labelled split.",
        )
    sides = [[read_detections(path, classes, truth) for path in side]
             for side in (detections, against)]  # fmt: skip
    every = [truth, *sides[0], *sides[1]]
    rotated = turned or any(bool(some.box[:, 6].any()) for some in every)
    scored = [
        tuple(
            _scored(path, truth, found, classes, rotated)
            for path, found in zip(paths, side, strict=True)
        )
        for paths, side in zip((detections, against), sides, strict=True)
    ]
    return Evaluation(classes, *scored)


def _scored(
    path: Path, truth: BoxSet, found: BoxSet, classes: Sequence[str], rotated: bool
) -> ScoredFile:
    matching = best_ground_truth(truth, found, rotated)
    return ScoredFile(
        path,
        score_matches(truth, found, matching, classes),
        diagnose(truth, found, classes, rotated=rotated),
        ScoredScenes.from_boxes(truth, found, matching),
        ScoredDetections(truth, found, matching),
    )


def _prepared_truth(folder: Path, split: str, classes: Sequence[str]) -> BoxSet:
    scenes = PreparedDataset(folder, split)
    if tuple(scenes.manifest.classes) != tuple(classes):
        raise InputError(
            "its classes differ from those of --dataset",
            file=folder,
            kind=Kind.CONFLICT,
            remedy="Omit --dataset.",
        )
    return truth_of(scenes)
