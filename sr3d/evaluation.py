"""The loop behind `sr3d test`: one test of one trained model, with its own seeded randomness."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sr3d.config import config_from_dict
from sr3d.data.datasets import get_dataset
from sr3d.data.loader import generator_for
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.data.transforms import sample_points
from sr3d.files import atomic_path
from sr3d.geometry.box_set import BoxSet
from sr3d.metrics.average_precision import average_precision
from sr3d.models.detector import Detections, Detector, build_detector, select_detections
from sr3d.models.voxelize import voxelize
from sr3d.models.weights import load_weights
from sr3d.progress import Progress
from sr3d.records import DETECTIONS_FILE, MODEL_FILE, RunRecord, read_run, test_seed
from sr3d.runs import Stopwatch, finish_run, open_split


@dataclass(frozen=True)
class TestJob:
    """Which training is tested, on what, where to. index: which test of the training."""

    __test__ = False  # not a test class

    run: Path
    data: Path
    out: Path
    index: int
    split: str = "val"
    device: str = "cpu"


def test(job: TestJob) -> RunRecord:
    """Detect in every scene of the split, score, and leave `detections.npz` and `run.json`.

    Raises:
        InputError: an unfinished training, or data that is missing or of another data set.
    """
    watch = Stopwatch()
    training = read_run(job.run)
    config = config_from_dict(training.config)
    dataset = get_dataset(config.dataset)
    scenes = open_split(job.data, job.split, dataset)
    model = build_detector(config)
    load_weights(model, job.run / MODEL_FILE)
    model = model.to(job.device).eval()
    seed = test_seed(config.seed, training.train, job.index)

    detections = detect_scenes(model, scenes, seed, label=f"{training.key}/test{job.index}")
    metrics = average_precision(
        ground_truth(scenes), detections, dataset.classes, rotated=dataset.rotated
    )
    with atomic_path(job.out / DETECTIONS_FILE) as temporary:
        np.savez_compressed(
            temporary,
            **{name: getattr(detections, name) for name in ("scene", "label", "score", "box")},
        )
    return finish_run(
        job.out,
        kind="test",
        config=config,
        overrides=training.overrides,
        setting=training.setting,
        train=training.train,
        test=job.index,
        seeds={"base": config.seed, "train": training.seeds["train"], "test": seed},
        scenes=scenes,
        model=model,
        device=job.device,
        watch=watch,
        earlier_seconds=0.0,
        metrics={**metrics, "detections": len(detections)},
        files=(DETECTIONS_FILE,),
    )


test.__test__ = False  # type: ignore[attr-defined]  # not a pytest function


@torch.inference_mode()
def detect_scenes(model: Detector, scenes: PreparedDataset, seed: int, label: str) -> BoxSet:
    """Detections in every scene; each scene's randomness follows from the seed and its place."""
    found: list[Detections] = []
    with Progress(label, len(scenes)) as progress:
        for i, scene in enumerate(scenes):
            found.append(detect_scene(model, scene, generator_for(seed, i)))
            progress.update(i + 1)
    counts = [len(d.labels) for d in found]
    return BoxSet(
        scene=np.repeat(np.array(scenes.ids), counts),
        label=torch.cat([d.labels for d in found]).cpu().numpy(),
        box=torch.cat([d.boxes for d in found]).cpu().numpy(),
        score=torch.cat([d.scores for d in found]).cpu().numpy(),
        scenes=tuple(scenes.ids),
    )


def detect_scene(model: Detector, scene: Scene, generator: torch.Generator) -> Detections:
    """Detections in one scene under the test configuration's sampling."""
    config = model.test_config
    if config.sample_count:
        scene = sample_points(scene, config.sample_count, generator)
    device = next(model.parameters()).device
    voxels = voxelize(
        [scene.points.to(device)],
        [scene.colors.to(device)],
        model.config.voxel_size,
        generator if config.voxel_pick == "random" else None,
    )
    return select_detections(model(voxels), config, model.dataset.rotated)


def ground_truth(scenes: PreparedDataset) -> BoxSet:
    """The split's ground truth, without reading any point."""
    light = scenes.without_points()
    return BoxSet(
        scene=np.repeat(np.array(scenes.ids), [len(s.labels) for s in light]),
        label=torch.cat([s.labels for s in light]).numpy(),
        box=torch.cat([s.boxes.tensor for s in light]).numpy(),
        scenes=tuple(scenes.ids),
    )
