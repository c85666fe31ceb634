"""The verbs that read results: `evaluate`, `summarise`, `report`, `track`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sr3d.cli.arguments import Verbs, real, whole
from sr3d.cli.jobs import add_done, add_wait
from sr3d.config import DATASETS, did_you_mean
from sr3d.errors import InputError
from sr3d.runs.markers import write_marker
from sr3d.runs.record import DETECTIONS_FILE, RUN_FILE

if TYPE_CHECKING:
    from sr3d.study.external_boxes import Evaluation


def add_evaluate(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = (
        "Average precision of any detector's boxes, with intervals over several trainings and the "
        "difference between two detectors; docs/file_formats.md shows the formats."
    )
    verb = verbs.add_parser("evaluate", parents=[common], help=about, description=about)
    verb.add_argument(
        "--ground-truth", type=Path, required=True, metavar="FILE",
        help="npz, pkl, an info file of mmdet3d, or a prepared folder",
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
        "--dataset", metavar="NAME",
        help="names the classes; or a prepared folder (by default that of the ground truth)",
    )  # fmt: skip
    verb.add_argument("--split", default="val", help="whose scenes, of a prepared folder (val)")
    verb.add_argument("--json", action="store_true", help="print JSON, percent")
    row = verb.add_argument_group(
        "a row of the report",
        "Write run records, so that `sr3d summarise`, `report` and `track` have the detector as a "
        "setting. The ground truth must be a prepared folder. docs/external_detector.md shows how.",
    )
    row.add_argument("--as", dest="name", metavar="NAME", help="name of the setting")
    row.add_argument("--label", help="its name in print (by default the name of the setting)")
    _add_results(row)
    row.add_argument(
        "--tests", type=whole(1, 999), default=1, metavar="N",
        help="evaluation runs, so files, of each training run (1)",
    )  # fmt: skip
    row.add_argument(
        "--latency-ms", type=real(0, 1e9), metavar="MS", help="per scene, as you measured it"
    )
    row.add_argument(
        "--allow-missing", action="store_true",
        help="count the objects of scenes that a file does not name as missed, instead of refusing",
    )  # fmt: skip
    add_wait(row)
    add_done(row)
    verb.set_defaults(verb=_evaluate)


def _evaluate(args: argparse.Namespace) -> None:
    from sr3d.cli.evaluation_text import describe
    from sr3d.study.external_boxes import evaluate_files

    folders: list[Path] = []
    if args.name is None:
        found = evaluate_files(
            args.ground_truth, args.detections, args.dataset, args.against, args.split
        )
    else:
        found, folders = _write_row(args)
    print(json.dumps(found.to_dict(), allow_nan=False) if args.json else describe(found), end="")
    if args.json:
        print()
    for file in (*found.files, *found.against):
        if file.diagnosis is not None:
            print(f"sr3d: {file.path}: {file.diagnosis}", file=sys.stderr)
    if folders:
        print(f"sr3d: {folders[0].parent.parent}: {len(folders)} run records", file=sys.stderr)


def _write_row(args: argparse.Namespace) -> tuple[Evaluation, list[Path]]:
    """With `--as`, the scores and the folders of the run records."""
    from sr3d.data.prepared import MANIFEST
    from sr3d.study.external_rows import ExternalRow, write_row

    if args.against:
        raise InputError("--against: the report has the differences; leave it out beside --as")
    if args.dataset:
        raise InputError("--dataset: the prepared folder names it; leave it out beside --as")
    if not (args.ground_truth / MANIFEST).is_file():
        raise InputError(
            f"--ground-truth {args.ground_truth}: is not a prepared folder, which --as needs, so "
            "that all rows are evaluated on the same scenes; pass the folder of `sr3d prepare`"
        )
    row = ExternalRow(
        args.name, args.label or args.name, args.ground_truth, args.split, tuple(args.detections),
        args.tests, args.latency_ms, args.allow_missing,
    )  # fmt: skip
    found, folders = write_row(row, args.results, args.wait)
    if args.done:
        files = [folder / name for folder in folders for name in (RUN_FILE, DETECTIONS_FILE)]
        write_marker(args.done, files)
    return found, folders


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


def _add_results(verb: argparse._ActionsContainer) -> None:
    verb.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
