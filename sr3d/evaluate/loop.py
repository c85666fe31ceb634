"""The evaluation loop of `sr3d test`: evaluation runs of a trained model, each with its seed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from sr3d.config import Config
from sr3d.data.datasets import dataset_of
from sr3d.data.loader import generator_for, on_device
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.data.transforms import sample_points
from sr3d.detectors import FAMILIES, build_detector
from sr3d.detectors.base import Detector
from sr3d.detectors.configuration import config_from_dict, with_overrides
from sr3d.detectors.outputs import Detections, require_finite_predictions
from sr3d.detectors.weights import load_weights
from sr3d.errors import InputError, Kind
from sr3d.evaluate.average_precision import score_matches
from sr3d.evaluate.consistency import most_confident, prediction_consistency
from sr3d.evaluate.detection_matches import DetectionMatches, best_ground_truth
from sr3d.evaluate.scored_files import ScoredDetections, write_scored
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.folder import Stopwatch, finish_run, finished_run, open_split, synchronise
from sr3d.runs.machine import code_version, other_load, reset_peak_memory
from sr3d.runs.progress import Progress
from sr3d.runs.record import (
    DETECTIONS_FILE,
    MODEL_FILE,
    RunRecord,
    evaluation_seed,
    read_training,
    run_file,
    run_key,
)


class Evaluator:
    """Evaluates one training run several times in one process.

    The evaluation runs share the weights, the data (each file is verified once) and the digest of
    the code. Each has its own draws, so its own voxels, kernel maps and latencies.

    run: the folder of the training run. data: a prepared data set. setting, overrides: another
    name, and other values of `test.…` or `model.engine`, for a setting that evaluates the training
    runs of another setting.

    Raises:
        InputError: an unfinished or damaged training run, missing data or another data set, or an
            override of a training value.
    """

    def __init__(
        self,
        run: Path,
        data: Path,
        split: str = "val",
        device: str = "cpu",
        setting: str | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        self.run, self.split, self.device, self.overrides = run, split, device, overrides
        self.code = code_version()  # now, because an edit does not change this process
        self.training = read_training(run)
        self.setting = setting or self.training.setting
        self.config = override_evaluation(config_from_dict(self.training.config), overrides)
        superpoints = "superpoints" in FAMILIES[self.config.model.name].needs
        self.scenes = open_split(data, split, dataset_of(self.config), superpoints=superpoints)

    @cached_property
    def model(self) -> Detector[Any, Any]:
        """The detector with the weights of the training run, after their sha256 was compared."""
        model = build_detector(self.config)
        load_weights(model, run_file(self.run, self.training, MODEL_FILE))
        return model.to(self.device).eval()

    def evaluate(self, out: Path, index: int) -> RunRecord:
        """Detect in every scene of the split, score, and write `detections.npz` and `run.json`.

        A finished evaluation run is not repeated: its record is returned. The caller holds the
        lock of the run in `out`. index: of the run within its training run.

        Raises:
            InputError: damaged weights or data, another evaluation that finished in this folder,
                or a full disk.
        """
        watch = Stopwatch(code=self.code)
        finished = finished_run(out, self._facts(index), self.code)
        return finished or self._evaluate(out, index, watch)

    def _facts(self, index: int) -> dict[str, Any]:
        """See `runs.facts_of`."""
        return {
            "kind": "test",
            "data set": self.config.dataset,
            "setting": self.setting,
            "training": self.training.train,
            "evaluation": index,
            "configuration": self.config.digest(),
            "data": self.scenes.manifest.digest(),
            "split": self.split,
            "weights": self.training.files.get(MODEL_FILE),
        }

    def _evaluate(self, out: Path, index: int, watch: Stopwatch) -> RunRecord:
        training, config, scenes, model = self.training, self.config, self.scenes, self.model
        reset_peak_memory(model.device)
        dataset = dataset_of(config)
        seed = evaluation_seed(config.seed, training.train, index)
        label = run_key(training.dataset, self.setting, training.train, index)
        detections, milliseconds = detect_scenes(model, scenes, seed, label)
        truth = ground_truth(scenes)
        matching = best_ground_truth(truth, detections, dataset.rotated)
        write_scored(out / DETECTIONS_FILE, ScoredDetections(truth, detections, matching))
        return finish_run(
            out,
            kind="test",
            config=config,
            overrides=[*training.overrides, *self.overrides],
            setting=self.setting,
            train=training.train,
            test=index,
            seeds={"base": config.seed, "train": training.seeds["train"], "test": seed},
            scenes=scenes,
            model=model,
            device=self.device,
            watch=watch,
            earlier_seconds=0.0,
            metrics={
                **score_matches(truth, detections, matching, dataset.classes),
                **_consistency(detections, matching),
                "detections": len(detections),
            },
            timings={"latency_ms": median(milliseconds), "other_load": other_load()},
            files=(DETECTIONS_FILE,),
            tests_of=training.setting if self.setting != training.setting else None,
            weights=training.files[MODEL_FILE],
        )


def override_evaluation(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration of the training run with other `test` values, or another engine.

    Raises:
        InputError: an override of another value, on which the weights already depend.
    """
    for override in overrides:
        if not override.startswith(("test.", "model.engine=")):
            raise InputError(
                f"'{override}' cannot change in an evaluation, only test.… and model.engine can",
                field="--set",
                kind=Kind.CONFLICT,
                remedy="Train with this override with `sr3d train`.",
            )
    return with_overrides(config, overrides)


@torch.inference_mode()
def detect_scenes(
    model: Detector[Any, Any], scenes: PreparedDataset, seed: int, label: str
) -> tuple[BoxSet, list[float]]:
    """Detections in every scene, and the milliseconds from points to boxes of each.

    The random draws of a scene depend on the seed and its index.
    """
    found: list[Detections] = []
    milliseconds = []
    with Progress(label, len(scenes)) as progress:
        for i, scene in enumerate(scenes):
            generator = generator_for(seed, i)
            if model.inference.sample_count:
                scene = sample_points(scene, model.inference.sample_count, generator)
            detections, seconds = detect_scene(model, scene, generator)
            found.append(detections)
            milliseconds.append(1000 * seconds)
            progress.update(i + 1)
    counts = [len(d.labels) for d in found]
    boxes = BoxSet(
        scene=np.repeat(np.array(scenes.ids), counts),
        label=torch.cat([d.labels for d in found]).cpu().numpy(),
        box=torch.cat([d.boxes for d in found]).cpu().numpy(),
        score=torch.cat([d.scores for d in found]).cpu().numpy(),
        scenes=tuple(scenes.ids),
    )
    return boxes, milliseconds


def detect_scene(
    model: Detector[Any, Any], scene: Scene, generator: torch.Generator
) -> tuple[Detections, float]:
    """Detections in one scene under the test configuration, and their time in seconds.

    The clock runs from points on the device to boxes after NMS: inputs, network, selection. The
    points are shuffled before.

    Raises:
        InputError: NaN or infinite outputs. Names the scene.
    """
    scene = model.shuffled(scene, generator)
    scene = replace(
        scene,
        points=on_device(scene.points, model.device),
        colors=on_device(scene.colors, model.device),
    )
    synchronise(model.device)
    started = time.perf_counter()
    found = predictions = model(model.inputs([scene], [generator]))
    if model.has_oracle:
        predictions = model.with_oracle(predictions, scene)
    (detections,) = model.detections(predictions)
    synchronise(model.device)
    seconds = time.perf_counter() - started
    require_finite_predictions(found, f"scene {scene.id}")
    return detections, seconds


def _consistency(detections: BoxSet, matching: DetectionMatches) -> dict[str, Any]:
    """PCE and its quantiles, of the 30 most confident detections of each class."""
    assert detections.score is not None
    top = most_confident(detections.label, detections.score)
    found = prediction_consistency(detections.score[top], matching.iou[top])
    return {"PCE": found["mean"], "consistency": found}


def ground_truth(scenes: PreparedDataset) -> BoxSet:
    """The ground truth of the split. Reads no points."""
    light = scenes.without_points()
    return BoxSet(
        scene=np.repeat(np.array(scenes.ids), [len(s.labels) for s in light]),
        label=torch.cat([s.labels for s in light]).numpy(),
        box=torch.cat([s.boxes.tensor for s in light]).numpy(),
        scenes=tuple(scenes.ids),
    )
