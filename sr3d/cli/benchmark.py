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
    add_overrides,
    add_setting,
    overrides_of,
    whole,
)
from sr3d.config import DATASETS, Config, config_from_dict, default_config
from sr3d.errors import InputError
from sr3d.settings import configure, read_settings, recognise

if TYPE_CHECKING:
    from sr3d.study.benchmarking.benchmark import Plan
    from sr3d.study.benchmarking.sources import Source

_BATCH_ON_CPU = 2


def add_benchmark(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Latency of a scene, its stages, memory, training steps, growth with the size."
    verb = verbs.add_parser("benchmark", parents=[common], help=about, description=about)
    add_setting(verb, "a row of the paper's tables, such as sr3d (what --set makes)")
    verb.add_argument(
        "--dataset", metavar="NAME", help=f"{', '.join(DATASETS)} (that of --data, else scannet)"
    )
    add_overrides(verb, "change the configuration; of a --run, test.… and model.engine alone")
    verb.add_argument(
        "--run", type=Path, metavar="DIR", help="a training, for its weights and configuration"
    )
    verb.add_argument("--data", type=Path, metavar="DIR", help="prepared folder (rooms, made here)")
    verb.add_argument("--split", default="val", help="whose scenes, of --data (val)")
    verb.add_argument("--scan", type=Path, metavar="FILE", help="a scan: .npy, .npz, .bin or .ply")
    verb.add_argument("--scenes", type=COUNT, default=4, metavar="N", help="how many (4)")
    verb.add_argument("--repeats", type=COUNT, metavar="N", help="of each scene (5; 25 on a GPU)")
    verb.add_argument("--train", action="store_true", help="measure training steps too")
    verb.add_argument(
        "--batch", type=whole(1, 10_000), metavar="N",
        help=f"scenes a step (the configuration's, on a CPU at most {_BATCH_ON_CPU})",
    )  # fmt: skip
    verb.add_argument(
        "--points", nargs="+", type=whole(1, 1_000_000_000), default=[], metavar="N",
        help="also floors of so many points, e.g. 1e4 1e5 1e6: rooms side by side",
    )  # fmt: skip
    verb.add_argument(
        "--boxes", nargs="+", type=whole(1, 10_000_000), default=[], metavar="N",
        help="also with the N best boxes kept for NMS, e.g. 300 1000 3000 (test.nms_pre)",
    )  # fmt: skip
    add_compile(verb)
    verb.add_argument("--device", default="cpu", metavar="NAME", help="cpu or cuda (cpu)")
    verb.add_argument("--threads", type=THREADS, default=1, metavar="N", help="CPU threads (1)")
    verb.add_argument("--json", type=Path, metavar="FILE", help="write all of it there")
    verb.set_defaults(verb=_benchmark)


def _benchmark(args: argparse.Namespace) -> None:
    _check(args)
    from sr3d.runs.gpu_lease import lease_gpu

    # A GPU is leased before PyTorch looks for one.
    with lease_gpu(args.device):
        from sr3d.runs.files import write_json
        from sr3d.runs.folder import check_device
        from sr3d.study.benchmarking.benchmark import run
        from sr3d.study.benchmarking.text import describe

        check_device(args.device)
        found = run(_plan(args))
    print(describe(found))
    if args.json:
        write_json(args.json, found.to_dict())
        print(f"{args.json}: written")


def _check(args: argparse.Namespace) -> None:
    if args.run and (args.setting or args.dataset):
        raise InputError("--run: knows its setting and data set; leave out --setting and --dataset")
    if args.data and args.scan:
        raise InputError("--data and --scan: choose one")
    if args.scan and args.train:
        raise InputError("--train: a scan has no boxes to train on; use --data, or the rooms")
    if args.batch and not args.train:
        raise InputError("--batch: is of training steps; add --train")


def _plan(args: argparse.Namespace) -> Plan:
    from sr3d.runs.record import MODEL_FILE, read_run, run_file
    from sr3d.study.benchmarking.benchmark import Plan
    from sr3d.study.benchmarking.subject import Subject

    setting, config = _setting(args)
    weights = run_file(args.run, read_run(args.run), MODEL_FILE) if args.run else None
    full = config.train.batch_size
    batch = args.batch or (min(full, _BATCH_ON_CPU) if args.device == "cpu" else full)
    return Plan(
        subject=Subject(config, weights, args.device, args.threads, args.compile),
        setting=setting,
        source=_source(args, config.dataset),
        repeats=args.repeats or (5 if args.device == "cpu" else 25),
        batch=batch if args.train else None,
        points=args.points,
        candidates=args.boxes,
        command=shlex.join(["sr3d", *args.words]),
    )


def _setting(args: argparse.Namespace) -> tuple[str, Config]:
    """Its name, and the configuration with all overrides."""
    overrides = overrides_of(args)
    if args.run:
        from sr3d.evaluate.loop import test_config
        from sr3d.runs.record import read_run

        training = read_run(args.run)
        return training.setting, test_config(config_from_dict(training.config), overrides)
    settings, start = read_settings(args.settings), _default(args)
    chosen = (
        configure(settings, args.setting, start, overrides)
        if args.setting
        else recognise(settings, start, overrides)
    )
    return chosen.name, chosen.config


def _default(args: argparse.Namespace) -> Config:
    """That of --dataset, or of --data, whose folder also tells what one's own data are."""
    if not args.data:
        return default_config(args.dataset or "scannet")
    from sr3d.data.prepared import read_manifest
    from sr3d.runs.folder import starting_config

    name = args.dataset or read_manifest(args.data).dataset
    return starting_config(name, args.data, args.split)


def _source(args: argparse.Namespace, dataset: str) -> Source:
    from sr3d.study.benchmarking.sources import PreparedScenes, Rooms, ScanFile

    if args.scan:
        return ScanFile(dataset, args.scan)
    if args.data:
        return PreparedScenes(dataset, args.data, args.split, args.scenes)
    return Rooms(dataset, args.scenes)
