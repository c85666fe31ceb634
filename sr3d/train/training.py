"""The training run behind `sr3d train`, from the command to its record."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from statistics import fmean
from typing import Any

import torch

from sr3d.data.datasets import dataset_of
from sr3d.data.prepared import PreparedDataset
from sr3d.detectors import FAMILIES, build_detector
from sr3d.detectors.needs import with_needs
from sr3d.detectors.weights import write_model
from sr3d.runs.files import exclusive, write_text
from sr3d.runs.folder import Stopwatch, finish_run, finished_run, open_split
from sr3d.runs.record import (
    METRICS_FILE,
    MODEL_FILE,
    RUN_FILE,
    RunRecord,
    read_metrics,
    train_seed,
)
from sr3d.train.checkpoint import remove_states
from sr3d.train.distributed import ALONE, Processes, share_norms
from sr3d.train.loop import PARTIAL_METRICS_FILE, TrainingJob, TrainingRun
from sr3d.train.precision import network_precision


def train(job: TrainingJob, processes: Processes = ALONE) -> RunRecord:
    """Train, and write `model.safetensors`, `metrics.jsonl` and `run.json` to the job's folder.

    processes: the process group. All processes call this with the same job and get the same record.

    A finished run is not repeated: its record is returned. An interrupted run resumes from its
    newest intact checkpoint.

    Raises:
        InputError: unusable data, data without what the detector needs, another process that trains
            in this folder, another training run that finished or was interrupted there, fewer
            scenes in a batch than processes, a full disk, or a NaN or infinite loss.
    """
    family = FAMILIES[job.config.model.name]
    instances, superpoints = (need in family.needs for need in ("instance", "superpoints"))
    scenes = open_split(job.data, job.split, dataset_of(job.config), instances, superpoints)
    config = with_needs(job.config, family, scenes)
    watch, job = Stopwatch(), replace(job, config=config)
    with exclusive(job.out / RUN_FILE) if processes.first else nullcontext():
        finished = processes.from_first(
            lambda: finished_run(job.out, _facts(job, scenes), watch.code)
        )
        if finished is not None:
            return finished
        seed = train_seed(config.seed, job.index)
        torch.manual_seed(seed)
        model = build_detector(config).to(job.device)
        if processes.count > 1:
            share_norms(model)
        training = TrainingRun(job, model, scenes, seed, watch.code, processes)
        with network_precision(model, config.train.precision):
            training.run()
        return processes.from_first(lambda: _finish(training, watch))


def _facts(job: TrainingJob, scenes: PreparedDataset) -> dict[str, Any]:
    """See `runs.facts_of`."""
    return {
        "kind": "train",
        "data set": job.config.dataset,
        "setting": job.setting,
        "training": job.index,
        "configuration": job.config.digest(),
        "data": scenes.manifest.digest(),
        "split": job.split,
    }


def _finish(training: TrainingRun, watch: Stopwatch) -> RunRecord:
    job, config, model = training.job, training.job.config, training.model
    source = {"dataset": config.dataset, "setting": job.setting, "train": str(job.index)}
    write_model(job.out / MODEL_FILE, model, config, source)
    write_text(job.out / METRICS_FILE, training.metrics)
    record = finish_run(
        job.out,
        kind="train",
        config=config,
        overrides=job.overrides,
        setting=job.setting,
        train=job.index,
        test=None,
        seeds={"base": config.seed, "train": training.seed},
        scenes=training.scenes,
        model=model,
        device=job.device,
        watch=watch,
        earlier_seconds=training.seconds_before,
        metrics={
            **training.last,
            "epochs": epoch_means(read_metrics(job.out / METRICS_FILE)),
        },
        timings={"seconds_per_epoch": training.seconds / config.train.epochs},
        files=(MODEL_FILE, METRICS_FILE),
        resumed=training.code,
    )
    remove_states(job.out)  # last, so the same command resumes until then
    (job.out / PARTIAL_METRICS_FILE).unlink(missing_ok=True)
    return record


def epoch_means(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """The metrics of a training run, averaged over each epoch: `{"loss": […], "AIC": […]}`.

    Steps without positives have no AIC, and an epoch with only such steps has 0. A detector whose
    loss does not log AIC has only the loss.
    """
    epochs: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        epochs.setdefault(row["epoch"], []).append(row)
    means = {"loss": [round(fmean(row["loss"] for row in epoch), 6) for epoch in epochs.values()]}
    if any("aic" in row for row in rows):
        known = [[r["aic"] for r in epoch if r.get("positives")] for epoch in epochs.values()]
        means["AIC"] = [round(fmean(values), 6) if values else 0.0 for values in known]
    return means
