"""The verb that measures speed and memory: `benchmark`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sr3d.cli.arguments import (
    COUNT,
    THREADS,
    Verbs,
    add_compile,
    add_device,
    add_overrides,
    add_setting,
    overrides_of,
    warn_without_effect,
    whole,
)
from sr3d.cli.inputs import check_file, check_output_file, check_prepared, check_run
from sr3d.config import Config
from sr3d.config_groups import DATASETS
from sr3d.detectors.configuration import config_from_dict, default_config
from sr3d.errors import InputError, Kind
from sr3d.run_setting import configure, infer_setting
from sr3d.settings import read_settings

if TYPE_CHECKING:
    from sr3d.study.benchmarking.benchmark import BenchmarkPlan
    from sr3d.study.benchmarking.subject import SceneSource

_BATCH_ON_CPU = 2


def add_benchmark(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Measure latency per scene, stages, memory and training steps."
    verb = verbs.add_parser(
        "benchmark",
        parents=[common],
        help=about,
        description=about,
        examples=(
            "sr3d benchmark",
            "sr3d benchmark --setting sr3d --train --points 1e4 1e5",
            "sr3d benchmark --run results/scannet/sr3d/train0 --data data/scannet --device cuda",
        ),
    )
    add_setting(
        verb,
        "row of the paper's tables, such as sr3d (default: the row that --set describes)",
    )
    verb.add_argument(
        "--dataset", metavar="NAME",
        help=f"data set: {', '.join(DATASETS)} (default: the data set of --data, else scannet)",
    )  # fmt: skip
    add_overrides(verb, "override configuration values (with --run: only test.… and model.engine)")
    verb.add_argument(
        "--run", type=Path, metavar="DIR",
        help="folder of a training run, for its weights and configuration",
    )  # fmt: skip
    verb.add_argument(
        "--data", type=Path, metavar="DIR",
        help="prepared data set (default: generated rooms)",
    )  # fmt: skip
    verb.add_argument("--split", default="val", metavar="NAME", help="split of --data to use")
    verb.add_argument(
        "--scan", type=Path, metavar="FILE", help="scan to use instead of --data, e.g. scan.ply"
    )
    verb.add_argument("--scenes", type=COUNT, default=4, metavar="N", help="number of scenes")
    verb.add_argument(
        "--repeats", type=COUNT, metavar="N",
        help="measurements per scene (default: 5 on a CPU, 25 on a GPU)",
    )  # fmt: skip
    verb.add_argument("--train", action="store_true", help="also measure training steps")
    verb.add_argument(
        "--batch", type=whole(1, 10_000), metavar="N",
        help="scenes per training step (default: the configuration's, on a CPU at most "
        f"{_BATCH_ON_CPU})",
    )  # fmt: skip
    verb.add_argument(
        "--points", nargs="+", type=whole(1, 1_000_000_000), default=[], metavar="N",
        help="also measure generated floors with these numbers of points, e.g. 1e4 1e5 1e6",
    )  # fmt: skip
    verb.add_argument(
        "--nms-pre", nargs="+", type=whole(1, 10_000_000), default=[], metavar="N",
        help="also measure with these numbers of candidate boxes before NMS (test.nms_pre), e.g. "
        "300 1000 3000",
    )  # fmt: skip
    verb.add_argument(  # its earlier name
        "--boxes", nargs="+", type=whole(1, 10_000_000), dest="nms_pre", help=argparse.SUPPRESS
    )
    add_compile(verb)
    add_device(verb)
    verb.add_argument(
        "--threads", type=THREADS, default=1, metavar="N", help="number of CPU threads"
    )
    verb.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON")
    verb.set_defaults(verb=_benchmark)


def _benchmark(args: argparse.Namespace) -> None:
    _check(args)
    from sr3d.runs.gpu_lease import lease_gpu

    # A GPU is leased before PyTorch looks for one.
    with lease_gpu(args.device):
        from sr3d.runs.files import write_json
        from sr3d.runs.folder import check_device
        from sr3d.study.benchmarking.benchmark import run
        from sr3d.study.benchmarking.benchmark_text import describe

        check_device(args.device)
        found = run(_plan(args))
    print(describe(found))
    if args.json:
        write_json(args.json, found.to_dict())
        print(f"{args.json}: written")


def _check(args: argparse.Namespace) -> None:
    for wrong, field, problem, remedy in (
        (
            args.run and (args.setting or args.dataset),
            "--run",
            "already names the setting and the data set",
            "Omit --setting and --dataset.",
        ),
        (args.data and args.scan, "--scan", "contradicts --data", "Choose one."),
        (
            args.scan and args.train,
            "--train",
            "a scan has no boxes to train on",
            "Use --data, or the generated rooms.",
        ),
        (
            args.batch and not args.train,
            "--batch",
            "applies to training steps only",
            "Add --train.",
        ),
    ):
        if wrong:
            raise InputError(problem, field=field, kind=Kind.CONFLICT, remedy=remedy)
    if args.run:
        check_run(args.run, "--run")
    if args.data:
        check_prepared(args.data)
    if args.scan:
        from sr3d.data.scans import check_kind

        check_file(args.scan, "--scan", "Pass a scan.")
        check_kind(args.scan)
    if args.json:
        check_output_file(args.json, "--json")


def _plan(args: argparse.Namespace) -> BenchmarkPlan:
    from sr3d.runs.record import MODEL_FILE, read_training, run_file
    from sr3d.study.benchmarking.benchmark import BenchmarkPlan
    from sr3d.study.benchmarking.subject import Subject

    setting, config = _setting(args)
    warn_without_effect(config, overrides_of(args))
    if args.nms_pre and "test.nms_pre" not in config.flat():
        raise InputError(
            f"model.name={config.model.name} has no test.nms_pre",
            field="--nms-pre",
            kind=Kind.CONFLICT,
            remedy="Omit it. NMS always gets the same number of boxes.",
        )
    weights = run_file(args.run, read_training(args.run), MODEL_FILE) if args.run else None
    full = config.train.batch_size
    batch = args.batch or (min(full, _BATCH_ON_CPU) if args.device == "cpu" else full)
    return BenchmarkPlan(
        subject=Subject(config, weights, args.device, args.threads, args.compile),
        setting=setting,
        source=_source(args, config.dataset),
        repeats=args.repeats or (5 if args.device == "cpu" else 25),
        batch=batch if args.train else None,
        points=args.points,
        nms_pre=args.nms_pre,
        command=shlex.join(["sr3d", *args.words]),
    )


def _setting(args: argparse.Namespace) -> tuple[str, Config]:
    """The name of the setting, and the configuration with all overrides."""
    overrides = overrides_of(args)
    if args.run:
        from sr3d.evaluate.loop import override_evaluation
        from sr3d.runs.record import read_training

        training = read_training(args.run)
        return training.setting, override_evaluation(config_from_dict(training.config), overrides)
    settings, start = read_settings(args.settings), _default(args)
    chosen = (
        configure(settings, args.setting, start, overrides)
        if args.setting
        else infer_setting(settings, start, overrides)
    )
    return chosen.name, chosen.config


def _default(args: argparse.Namespace) -> Config:
    """The default configuration of --dataset, or of the data set in --data."""
    if not args.data:
        return default_config(args.dataset or "scannet")
    from sr3d.data.prepared import read_manifest
    from sr3d.detectors.starting_config import starting_config

    name = args.dataset or read_manifest(args.data).dataset
    return starting_config(name, args.data, args.split)


def _source(args: argparse.Namespace, dataset: str) -> SceneSource:
    from sr3d.study.benchmarking.subject import PreparedScenes, Rooms, ScanFile

    if args.scan:
        return ScanFile(dataset, args.scan)
    if args.data:
        return PreparedScenes(dataset, args.data, args.split, args.scenes)
    return Rooms(dataset, args.scenes)
