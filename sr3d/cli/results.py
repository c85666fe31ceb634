"""The verbs that read results: `evaluate`, `summarise`, `report`, `track`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sr3d.cli.arguments import Verbs, whole
from sr3d.cli.jobs import add_done, add_wait
from sr3d.config import DATASETS, did_you_mean
from sr3d.errors import InputError
from sr3d.runs.markers import write_marker


def add_evaluate(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = (
        "Average precision of any detector's boxes, with intervals over several trainings and the "
        "difference between two detectors; docs/file_formats.md shows the formats."
    )
    verb = verbs.add_parser("evaluate", parents=[common], help=about, description=about)
    verb.add_argument(
        "--ground-truth", type=Path, required=True, metavar="FILE",
        help="npz, pkl, or an info file of mmdet3d",
    )  # fmt: skip
    verb.add_argument(
        "--detections", type=Path, nargs="+", required=True, metavar="FILE",
        help="npz, pkl, a dump of mmdet3d's results, or what `sr3d detect` wrote (.json, or a "
        "folder); of several trainings of one detector, a file each",
    )  # fmt: skip
    verb.add_argument(
        "--against", type=Path, nargs="+", default=[], metavar="FILE",
        help="files of another detector, to print the difference",
    )  # fmt: skip
    verb.add_argument(
        "--dataset", required=True, metavar="NAME", help="names the classes; or a prepared folder"
    )
    verb.add_argument("--json", action="store_true", help="print JSON, percent")
    verb.set_defaults(verb=_evaluate)


def _evaluate(args: argparse.Namespace) -> None:
    from sr3d.cli.evaluation_text import describe
    from sr3d.study.external_boxes import evaluate_files

    found = evaluate_files(args.ground_truth, args.detections, args.dataset, args.against)
    print(json.dumps(found.to_dict(), allow_nan=False) if args.json else describe(found), end="")
    if args.json:
        print()
    for file in (*found.files, *found.against):
        if file.diagnosis is not None:
            print(f"sr3d: {file.path}: {file.diagnosis}", file=sys.stderr)


def add_summarise(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "All runs of a setting in one row: best, mean, median, interval, variance components."
    verb = verbs.add_parser("summarise", parents=[common], help=about, description=about)
    verb.add_argument("setting", type=Path, metavar="DIR", help="results/DATASET/SETTING")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE", help="summary.json")
    verb.add_argument(
        "--trainings", type=whole(1, 1000), metavar="N", help="how many there should be"
    )
    verb.add_argument("--tests", type=whole(1, 999), metavar="N", help="how many of each training")
    verb.set_defaults(verb=_summarise)


def _summarise(args: argparse.Namespace) -> None:
    from sr3d.study.report.summary import write_summary

    summary = write_summary(
        args.setting, args.out, expected_trainings=args.trainings, expected_tests=args.tests
    )
    for warning in summary["warnings"]:
        print(f"sr3d: {args.setting}: {warning}", file=sys.stderr)
    print(f"{args.out}: {summary['runs']} tests")


def add_report(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "The paper beside our runs: its tables, its figures, a verdict on each claim, one page."
    verb = verbs.add_parser("report", parents=[common], help=about, description=about)
    _add_results(verb)
    verb.add_argument(
        "--tables", type=Path, required=True, metavar="FILE", help="the paper as data"
    )
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="where files go")
    verb.add_argument("--table", nargs="+", metavar="NAME", help="only these tables and figures")
    verb.add_argument("--dataset", nargs="+", metavar="NAME", help="only these data sets")
    verb.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="DATASET=DIR",
        help="prepared folders, for the points in pictures of scenes and their 3D viewers",
    )
    verb.set_defaults(verb=_report)


def _report(args: argparse.Namespace) -> None:
    from sr3d.study.report.writing import write_report

    for path in write_report(
        args.results, args.tables, args.out, args.table, args.dataset, _folders(args.data)
    ):
        print(path)


def _folders(values: Sequence[str]) -> dict[str, Path]:
    folders = {}
    for value in values:
        dataset, equals, folder = value.partition("=")
        if not (equals and folder):
            raise InputError(f"--data {value}: write it as DATASET=DIR")
        if dataset not in DATASETS:
            raise InputError(f"--data {value}: no data set{did_you_mean(dataset, DATASETS)}")
        folders[dataset] = Path(folder)
    return folders


def add_track(verbs: Verbs, common: argparse.ArgumentParser) -> None:
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
    add_wait(verb)
    add_done(verb)
    verb.set_defaults(verb=_track)


def _track(args: argparse.Namespace) -> None:
    from sr3d.study.report.paper import shown_settings
    from sr3d.study.tracking.mlflow_store import store_path
    from sr3d.study.tracking.tracking import track

    shown = shown_settings(args.tables) if args.tables else None
    report = track(args.results, args.store, args.artifacts, shown, args.wait)
    if args.done:
        path = store_path(args.store)
        write_marker(args.done, [path] if path else [])
    counts = ("created", "updated", "unchanged", "missing")
    told = [f"{getattr(report, name)} {name}" for name in counts if getattr(report, name)]
    print(f"{args.store}: runs {', '.join(told) or 'none'}")


def _add_results(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
