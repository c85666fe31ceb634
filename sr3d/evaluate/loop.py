"""The loop behind `sr3d test`: one test of one trained model, with its own seeded randomness."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from sr3d.config import Config, config_from_dict
from sr3d.data.datasets import dataset_of
from sr3d.data.loader import generator_for, on_device
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.data.transforms import pick_points, sample_points
from sr3d.detectors import build_detector
from sr3d.detectors.base import Detector
from sr3d.detectors.outputs import Detections, require_finite_predictions
from sr3d.detectors.weights import load_weights
from sr3d.errors import InputError
from sr3d.evaluate.average_precision import score_matches
from sr3d.evaluate.consistency import most_confident, prediction_consistency
from sr3d.evaluate.detection_matches import Matching, best_ground_truth
from sr3d.evaluate.scored_files import ScoredTest, write_scored
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.files import exclusive
from sr3d.runs.folder import Stopwatch, finish_run, finished_run, open_split, synchronise
from sr3d.runs.machine import other_load
from sr3d.runs.progress import Progress
from sr3d.runs.record import (
    DETECTIONS_FILE,
    MODEL_FILE,
    RUN_FILE,
    RunRecord,
    read_run,
    run_file,
    test_seed,
)


@dataclass(frozen=True)
class TestJob:
    """Which training is tested, on what, where to. index: which test of the training.

    setting, overrides: another name and other `test.…` values, or another `model.engine`, than the
    training's, for a setting that needs no training of its own.
    """

    __test__ = False  # not a test class

    run: Path
    data: Path
    out: Path
    index: int
    split: str = "val"
    device: str = "cpu"
    setting: str | None = None
    overrides: Sequence[str] = ()


def test(job: TestJob) -> RunRecord:
    """Detect in every scene of the split, score, and leave `detections.npz` and `run.json`.

    A finished evaluation is not repeated: its record is returned.

    Raises:
        InputError: an unfinished or damaged training, data that is missing or of another data set,
            an override of what was trained, another evaluation that has finished in this folder,
            another process that evaluates there, or a full disk.
    """
    watch = Stopwatch()
    training = read_run(job.run)
    config = test_config(config_from_dict(training.config), job.overrides)
    scenes = open_split(job.data, job.split, dataset_of(config))
    with exclusive(job.out / RUN_FILE):
        facts = _facts(job, training, config, scenes)
        finished = finished_run(job.out, facts, watch.code)
        return finished or _evaluate(job, training, config, scenes, watch)


def _facts(
    job: TestJob, training: RunRecord, config: Config, scenes: PreparedDataset
) -> dict[str, Any]:
    """As `runs.facts_of` the record."""
    return {
        "kind": "test",
        "data set": config.dataset,
        "setting": job.setting or training.setting,
        "training": training.train,
        "test": job.index,
        "configuration": config.digest(),
        "data": scenes.manifest.digest(),
        "split": job.split,
        "weights": training.files.get(MODEL_FILE),
    }


def _evaluate(
    job: TestJob,
    training: RunRecord,
    config: Config,
    scenes: PreparedDataset,
    watch: Stopwatch,
) -> RunRecord:
    dataset = dataset_of(config)
    model = build_detector(config)
    load_weights(model, run_file(job.run, training, MODEL_FILE))
    model = model.to(job.device).eval()
    seed = test_seed(config.seed, training.train, job.index)

    label = f"{training.dataset}/{job.setting or training.setting}/train{training.train}"
    detections, milliseconds = detect_scenes(model, scenes, seed, f"{label}/test{job.index}")
    truth = ground_truth(scenes)
    matching = best_ground_truth(truth, detections, dataset.rotated)
    write_scored(job.out / DETECTIONS_FILE, ScoredTest(truth, detections, matching))
    return finish_run(
        job.out,
        kind="test",
        config=config,
        overrides=[*training.overrides, *job.overrides],
        setting=job.setting or training.setting,
        train=training.train,
        test=job.index,
        seeds={"base": config.seed, "train": training.seeds["train"], "test": seed},
        scenes=scenes,
        model=model,
        device=job.device,
        watch=watch,
        earlier_seconds=0.0,
        metrics={
            **score_matches(truth, detections, matching, dataset.classes),
            **_consistency(detections, matching),
            "detections": len(detections),
        },
        timings={"latency_ms": median(milliseconds), "other_load": other_load()},
        files=(DETECTIONS_FILE,),
        tests_of=training.setting if job.setting not in (None, training.setting) else None,
        weights=training.files[MODEL_FILE],
    )


test.__test__ = False  # type: ignore[attr-defined]  # not a pytest function


def test_config(config: Config, overrides: Sequence[str]) -> Config:
    """The training's configuration with other values of its test part, or another engine.

    Raises:
        InputError: an override of anything else, which the weights have in them already.
    """
    for override in overrides:
        if not override.startswith(("test.", "model.engine=")):
            raise InputError(
                f"--set {override}: a test can change test.… and model.engine alone; "
                "train it instead"
            )
    return config.with_overrides(overrides)


test_config.__test__ = False  # type: ignore[attr-defined]


@torch.inference_mode()
def detect_scenes(
    model: Detector[Any, Any], scenes: PreparedDataset, seed: int, label: str
) -> tuple[BoxSet, list[float]]:
    """Detections in every scene, and the milliseconds that each took from points to boxes.

    Each scene's randomness follows from the seed and its place.
    """
    found: list[Detections] = []
    milliseconds = []
    with Progress(label, len(scenes)) as progress:
        for i, scene in enumerate(scenes):
            generator = generator_for(seed, i)
            if model.test_config.sample_count:
                scene = sample_points(scene, model.test_config.sample_count, generator)
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
    """Detections in one scene under the test configuration, and the seconds that they took.

    The clock runs from points on the device to boxes after NMS: inputs, network, selection. The
    points are shuffled before.

    Raises:
        InputError: NaN or infinity, which names the scene.
    """
    scene = shuffled(model, scene, generator)
    scene = replace(
        scene,
        points=on_device(scene.points, model.device),
        colors=on_device(scene.colors, model.device),
    )
    synchronise(model.device)
    started = time.perf_counter()
    found = predictions = model(model.inputs([scene], generator))
    if model.has_oracle:
        predictions = model.with_oracle(predictions, scene)
    (detections,) = model.detections(predictions)
    synchronise(model.device)
    seconds = time.perf_counter() - started
    require_finite_predictions(found, f"scene {scene.id}")
    return detections, seconds


def shuffled(model: Detector[Any, Any], scene: Scene, generator: torch.Generator) -> Scene:
    """The scene with its points in random order if `test.voxel_pick` is "random": the first point
    of a voxel represents it, so each point of a voxel then has the same chance.
    """
    if model.test_config.voxel_pick == "first":
        return scene
    order = torch.randperm(len(scene), generator=generator)
    return pick_points(scene, on_device(order, scene.points.device))


def _consistency(detections: BoxSet, matching: Matching) -> dict[str, Any]:
    """PCE and its quantiles, of the 30 most confident detections of each class."""
    assert detections.score is not None
    top = most_confident(detections.label, detections.score)
    found = prediction_consistency(detections.score[top], matching.iou[top])
    return {"PCE": found["mean"], "consistency": found}


def ground_truth(scenes: PreparedDataset) -> BoxSet:
    """The split's ground truth, without reading any point."""
    light = scenes.without_points()
    return BoxSet(
        scene=np.repeat(np.array(scenes.ids), [len(s.labels) for s in light]),
        label=torch.cat([s.labels for s in light]).numpy(),
        box=torch.cat([s.boxes.tensor for s in light]).numpy(),
        scenes=tuple(scenes.ids),
    )
