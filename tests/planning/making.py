"""Experiments to plan in the form that the workflow writes, and calls of `sr3d plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sr3d.cli.arguments import VerbParser
from sr3d.cli.plan import add_plan
from sr3d.study.planning.budget import Price, SourcedNumber
from sr3d.study.planning.experiment import Experiment, read_experiment

SMALL = [
    "model.voxel_size=0.1",
    "model.stem_channels=8",
    "model.planes=[8,8,8,8]",
    "model.neck_channels=8",
    "train.epochs=2",
    "train.milestones=[1]",
    "train.repeat=3",
    "train.batch_size=4",
    "test.sample_count=1000",
]
PRICE = Price(
    SourcedNumber(0.5, "made up"),
    SourcedNumber(0.25, "made up"),
    SourcedNumber(10, "made up"),
    1.0,
    100,
    300,
)


def job(setting: str = "sr3d", **changes: Any) -> dict[str, Any]:
    """Two training runs with three evaluation runs each."""
    value = {
        "dataset": "synthetic",
        "setting": setting,
        "overrides": SMALL,
        "trainings": 2,
        "tests": 3,
        "tests_of": None,
        "done_trainings": 0,
        "done_tests": [],
    }
    return value | changes


def only_tests(**changes: Any) -> dict[str, Any]:
    """A setting that only evaluates the training runs of `sr3d`."""
    return job("nms_3d", overrides=["test.nms=3d"], tests_of="sr3d", **changes)


def content(*jobs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An experiment on 10 training rooms and 4 evaluation rooms, none of them prepared."""
    data = {
        "folder": "/nowhere",
        "split": "train",
        "test_split": "val",
        "scenes": {"train": 10, "val": 4},
        "points": 2000,
    }
    value: dict[str, Any] = {
        "device": "cpu",
        "slots": 1,
        "results": "/nowhere",
        "data": {"synthetic": data},
        "jobs": list(jobs) or [job()],
    }
    return value | changes


def write(folder: Path, value: Any) -> Path:
    path = folder / "experiment.json"
    path.write_text(json.dumps(value))
    return path


def experiment(folder: Path, *jobs: dict[str, Any], **changes: Any) -> Experiment:
    return read_experiment(write(folder, content(*jobs, **changes)))


def run(*words: str | Path) -> None:
    """`sr3d plan WORDS`, with errors raised."""
    parser = VerbParser()
    add_plan(parser.add_subparsers(), VerbParser(add_help=False))
    args = parser.parse_args(["plan", *map(str, words)])
    args.verb(args)
