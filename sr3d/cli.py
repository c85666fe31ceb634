"""The command `sr3d`: one verb a step of the benchmark. Each prints what it wrote.

Modules are imported by the verb that needs them, so `sr3d --help` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from sr3d._version import __version__
from sr3d.config import DATASETS, Config, default_config
from sr3d.errors import InputError

DESCRIPTION = """\
Indoor 3D object detection: SR3D and TR3D, trained and tested as the paper does.

A benchmark is these verbs in this order, which `snakemake` runs for you:
  prepare    a data set, into the format that the others read
  train      one training of one setting
  test       one test of one training
  summarise  all runs of a setting, into one row
  report     the paper's tables, ours beside theirs
  track      everything, into an MLflow store
Besides:
  evaluate   score any detector's boxes from files
  config     every setting there is, with its value
  doctor     what this machine has, and whether it works
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; 0 on success, 2 on bad input (told in one sentence), 130 when interrupted."""
    args = _parser().parse_args(argv)
    try:
        args.verb(args)
    except InputError as error:
        return _fail(args, str(error), 2)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(args, f"{place}{error.strerror or error}", 2)
    except KeyboardInterrupt:
        return _fail(args, "interrupted; the same command goes on where it stopped", 130)
    return 0


def _fail(args: argparse.Namespace, message: str, code: int) -> int:
    if args.debug:
        raise
    print(f"sr3d: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sr3d", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"sr3d {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for add in (
        _add_prepare,
        _add_train,
        _add_test,
        _add_evaluate,
        _add_config,
        _add_summarise,
        _add_report,
        _add_track,
        _add_doctor,
    ):
        add(verbs, common)
    return parser


Verbs = argparse._SubParsersAction  # argparse has no public name for it


def _add_prepare(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Put a data set into the prepared format."
    kinds = verbs.add_parser("prepare", help=about, description=about).add_subparsers(
        title="data sets", metavar="DATASET", required=True
    )
    out = argparse.ArgumentParser(add_help=False, parents=[common])
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="prepared folder")

    about = "Generate procedural rooms: no download, no licence."
    rooms = kinds.add_parser("synthetic", parents=[out], help=about, description=about)
    rooms.add_argument("--train", type=int, default=160, metavar="N", help="training rooms (160)")
    rooms.add_argument("--val", type=int, default=40, metavar="N", help="validation rooms (40)")
    rooms.add_argument("--seed", type=int, default=0, help="other rooms for another seed (0)")
    rooms.add_argument("--points", type=int, default=20_000, help="points a room (20000)")
    rooms.add_argument("--rotated", action="store_true", help="one view, oriented boxes")
    rooms.add_argument("--workers", type=int, default=2, help="threads (2)")
    rooms.set_defaults(verb=_prepare_rooms)

    some = argparse.ArgumentParser(add_help=False, parents=[out])
    some.add_argument("--scenes", nargs="+", metavar="ID", help="only these; default all")
    some.add_argument("--append", action="store_true", help="add to what the folder holds")

    about = "Read ScanNet V2's raw scans (mesh, segments, aggregation, alignment)."
    scannet = kinds.add_parser("scannet", parents=[some], help=about, description=about)
    scannet.add_argument("--raw", type=Path, required=True, metavar="DIR", help="folder of scans")
    scannet.add_argument("--meta", type=Path, metavar="DIR", help="label map and split lists")
    scannet.set_defaults(verb=_prepare_scannet)

    about = "Read ScanNet clouds and info files that mmdet3d prepared."
    mmdet3d = kinds.add_parser("mmdet3d", parents=[some], help=about, description=about)
    mmdet3d.add_argument("--root", type=Path, required=True, metavar="DIR", help="mmdet3d's folder")
    mmdet3d.set_defaults(verb=_prepare_mmdet3d)


def _prepare_rooms(args: argparse.Namespace) -> None:
    from sr3d.data.rooms.generate import prepare_rooms
    from sr3d.progress import Progress

    with Progress("rooms", args.train + args.val) as progress:
        prepare_rooms(
            args.out,
            train=args.train,
            val=args.val,
            seed=args.seed,
            rotated=args.rotated,
            points=args.points,
            workers=args.workers,
            progress=lambda done, _: progress.update(done),
        )
    _say_prepared(args.out)


def _prepare_scannet(args: argparse.Namespace) -> None:
    from sr3d.data.scannet import prepare_scannet

    prepare_scannet(args.raw, args.out, meta=args.meta, scenes=args.scenes, append=args.append)
    _say_prepared(args.out)


def _prepare_mmdet3d(args: argparse.Namespace) -> None:
    from sr3d.data.mmdet3d import prepare_mmdet3d_scannet

    prepare_mmdet3d_scannet(args.root, args.out, scenes=args.scenes, append=args.append)
    _say_prepared(args.out)


def _say_prepared(out: Path) -> None:
    from sr3d.data.prepared import read_manifest

    manifest = read_manifest(out)
    for split, scenes in manifest.splits.items():
        boxes = sum(manifest.scenes[scene]["boxes"] for scene in scenes)
        print(f"{out}: {split}: {len(scenes)} scenes, {boxes} boxes")


def _add_train(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Train one setting once. Interrupted, the same command goes on where it stopped."
    verb = verbs.add_parser("train", parents=[common], help=about, description=about)
    verb.add_argument("--dataset", required=True, metavar="NAME", help=", ".join(DATASETS))
    verb.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared folder")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run's folder")
    verb.add_argument("--setting", default="sr3d", metavar="NAME", help="its name in tables (sr3d)")
    verb.add_argument("--train", type=int, default=0, metavar="I", help="which training (0)")
    verb.add_argument("--split", default="train", help="whose scenes (train)")
    verb.add_argument(
        "--set",
        action="append",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change the configuration, e.g. assigner.k=7; `sr3d config` lists every key",
    )
    verb.add_argument("--seed", type=int, help="base seed; the run's own follows from it")
    verb.add_argument("--workers", type=int, default=0, help="processes that load scenes (0)")
    _add_device(verb)
    verb.set_defaults(verb=_train)


def _train(args: argparse.Namespace) -> None:
    overrides = [item for group in args.set for item in group]
    config: Config = default_config(args.dataset).with_overrides(overrides)
    if args.seed is not None:
        config = config.with_overrides([f"seed={args.seed}"])
    with _device(args):
        from sr3d.training import TrainingJob, train

        record = train(
            TrainingJob(
                config=config,
                overrides=overrides,
                data=args.data,
                out=args.out,
                setting=args.setting,
                index=args.train,
                split=args.split,
                device=args.device,
                workers=args.workers,
            )
        )
    print(f"{args.out}: {record.wall_seconds:.0f} s, last loss {record.metrics['loss']:.3f}")


def _add_test(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Test one training once, with the seeded randomness of that test."
    verb = verbs.add_parser("test", parents=[common], help=about, description=about)
    verb.add_argument("--run", type=Path, required=True, metavar="DIR", help="a training's folder")
    verb.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared folder")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="the test's folder")
    verb.add_argument("--test", type=int, default=0, metavar="J", help="which test (0)")
    verb.add_argument("--split", default="val", help="whose scenes (val)")
    _add_device(verb)
    verb.set_defaults(verb=_test)


def _test(args: argparse.Namespace) -> None:
    with _device(args):
        from sr3d.evaluation import TestJob, test

        job = TestJob(args.run, args.data, args.out, args.test, args.split, args.device)
        metrics = test(job).metrics
    print(f"{args.out}: AP25 {metrics['AP25']:.1f}, AP50 {metrics['AP50']:.1f}")


def _add_device(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to run (cpu)")
    verb.add_argument(
        "--threads",
        type=int,
        default=1,
        help="CPU threads (1); results are the same bits only for the same number",
    )


def _device(args: argparse.Namespace) -> ExitStack:
    """Lease a GPU if one is asked for (before torch looks for it), and fix the threads."""
    stack = ExitStack()
    if args.device == "cuda":
        from sr3d.gpu_lease import lease_gpu

        stack.enter_context(lease_gpu())
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch sees no GPU; `sr3d doctor` tells why")
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return stack


def _add_evaluate(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Average precision of any detector's boxes; docs/file_formats.md has the formats."
    verb = verbs.add_parser("evaluate", parents=[common], help=about, description=about)
    verb.add_argument("--ground-truth", type=Path, required=True, metavar="FILE", help="npz or pkl")
    verb.add_argument("--detections", type=Path, required=True, metavar="FILE", help="npz or pkl")
    verb.add_argument("--dataset", required=True, metavar="NAME", help="names the classes")
    verb.add_argument("--json", action="store_true", help="print JSON, percent")
    verb.set_defaults(verb=_evaluate)


def _evaluate(args: argparse.Namespace) -> None:
    from sr3d.metrics.box_files import evaluate_files

    result = evaluate_files(args.ground_truth, args.detections, args.dataset)
    if args.json:
        print(json.dumps(result, allow_nan=False))
        return
    rows = [(name, value["AP25"], value["AP50"]) for name, value in result["per_class"].items()]
    rows.append(("mean", result["AP25"], result["AP50"]))
    print(f"{'class':<16}{'AP25':>8}{'AP50':>8}")
    for name, ap25, ap50 in rows:
        print(f"{name:<16}{ap25:>8.2f}{ap50:>8.2f}")
    if result["without_ground_truth"]:
        print("left out, no ground truth: " + ", ".join(result["without_ground_truth"]))


def _add_config(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Every key of the configuration with its value; the defaults are the paper's."
    verb = verbs.add_parser("config", parents=[common], help=about, description=about)
    verb.add_argument("--dataset", default="scannet", metavar="NAME", help=", ".join(DATASETS))
    verb.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="with these changes"
    )
    verb.set_defaults(verb=_config)


def _config(args: argparse.Namespace) -> None:
    for name, value in default_config(args.dataset).with_overrides(args.set).flat().items():
        print(f"{name}={json.dumps(value)}")


def _add_summarise(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "All runs of a setting in one row: best, mean, median, interval, variance components."
    verb = verbs.add_parser("summarise", parents=[common], help=about, description=about)
    verb.add_argument("setting", type=Path, metavar="DIR", help="results/DATASET/SETTING")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE", help="summary.json")
    verb.add_argument("--trainings", type=int, metavar="N", help="how many there should be")
    verb.add_argument("--tests", type=int, metavar="N", help="how many of each training")
    verb.set_defaults(verb=_summarise)


def _summarise(args: argparse.Namespace) -> None:
    from sr3d.report.summary import write_summary

    summary = write_summary(
        args.setting, args.out, expected_trainings=args.trainings, expected_tests=args.tests
    )
    for warning in summary["warnings"]:
        print(f"sr3d: {args.setting}: {warning}", file=sys.stderr)
    print(f"{args.out}: {summary['runs']} tests")


def _add_report(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "The paper's tables, ours beside theirs, as Markdown, CSV and LaTeX."
    verb = verbs.add_parser("report", parents=[common], help=about, description=about)
    _add_results(verb)
    verb.add_argument(
        "--tables", type=Path, required=True, metavar="FILE", help="the paper as data"
    )
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="where tables go")
    verb.add_argument("--table", nargs="+", metavar="NAME", help="only these tables")
    verb.add_argument("--dataset", nargs="+", metavar="NAME", help="only these data sets")
    verb.set_defaults(verb=_report)


def _report(args: argparse.Namespace) -> None:
    from sr3d.report.tables import write_tables

    for path in write_tables(args.results, args.tables, args.out, args.table, args.dataset):
        print(path)


def _add_track(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Put every run into an MLflow store; again changes nothing, a lost store comes back."
    verb = verbs.add_parser("track", parents=[common], help=about, description=about)
    _add_results(verb)
    verb.add_argument("--store", default="sqlite:///results/mlflow.db", help="MLflow tracking URI")
    verb.add_argument(
        "--artifacts",
        type=Path,
        default=Path("results/mlartifacts"),
        metavar="DIR",
        help="where MLflow's users may put artefacts (results/mlartifacts)",
    )
    verb.add_argument("--tables", type=Path, metavar="FILE", help="tag settings with their tables")
    verb.set_defaults(verb=_track)


def _track(args: argparse.Namespace) -> None:
    from sr3d.report.paper import tables_by_setting
    from sr3d.tracking import track

    tables = tables_by_setting(args.tables) if args.tables else None
    report = track(args.results, args.store, args.artifacts, tables)
    counts = ("created", "updated", "unchanged", "missing")
    told = [f"{getattr(report, name)} {name}" for name in counts if getattr(report, name)]
    print(f"{args.store}: runs {', '.join(told) or 'none'}")


def _add_results(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")


def _add_doctor(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "What this machine has, and whether the detector runs on it."
    verb = verbs.add_parser("doctor", parents=[common], help=about, description=about)
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(verb=_doctor)


def _doctor(args: argparse.Namespace) -> None:
    from sr3d.doctor import examine

    findings = examine(os.environ)
    if args.json:
        print(json.dumps(findings, indent=2))
        return
    for name, finding in findings.items():
        print(f"{name:<12}{finding}")
