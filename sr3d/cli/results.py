"""The verbs that read results: `evaluate`, `summarise`, `report`, `track`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sr3d.cli.arguments import Verbs, real, whole
from sr3d.cli.inputs import (
    check_dataset,
    check_file,
    check_folder,
    check_output_file,
    check_output_folder,
    check_prepared,
)
from sr3d.cli.jobs import add_done, add_wait
from sr3d.config_groups import DATASETS
from sr3d.errors import InputError, Kind
from sr3d.runs.markers import write_marker
from sr3d.runs.record import DETECTIONS_FILE, RUN_FILE
from sr3d.validation import did_you_mean

if TYPE_CHECKING:
    from sr3d.study.external_boxes import Evaluation

_BOX_FILES = (".npz", ".pkl", ".pickle")


def add_evaluate(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Compute the average precision of any detector's boxes from files."
    verb = verbs.add_parser(
        "evaluate",
        parents=[common],
        help=about,
        description=f"{about} Several files of one detector add confidence intervals. --against "
        "adds the difference between two detectors. docs/file_formats.md describes the formats.",
        examples=(
            "sr3d evaluate --ground-truth data/scannet/val.npz --detections boxes.npz "
            "--dataset scannet",
            "sr3d evaluate --ground-truth gt.pkl --detections a0.pkl a1.pkl --against b0.pkl "
            "b1.pkl --dataset sunrgbd --json",
            "sr3d evaluate --ground-truth data/scannet --detections a0.json a1.json --as mine",
        ),
    )
    verb.add_argument(
        "--ground-truth", type=Path, required=True, metavar="FILE",
        help="ground-truth boxes: .npz, .pkl, an info file of mmdet3d, or a prepared folder",
    )  # fmt: skip
    verb.add_argument(
        "--detections", type=Path, nargs="+", required=True, metavar="FILE",
        help="detections, one file per training run: .npz, .pkl, results dumped by mmdet3d, or "
        "the JSON file or folder that `sr3d detect` wrote",
    )  # fmt: skip
    verb.add_argument(
        "--against", type=Path, nargs="+", default=[], metavar="FILE",
        help="detections of another detector to compare with",
    )  # fmt: skip
    verb.add_argument(
        "--dataset", metavar="NAME",
        help="data set that names the classes, or a prepared folder (default: the data set of the "
        "ground truth)",
    )  # fmt: skip
    verb.add_argument(
        "--split", default="val", metavar="NAME", help="split of a prepared folder to score"
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of text, in percent")
    row = verb.add_argument_group(
        "a row of the report",
        "Write run records, so that `sr3d summarise`, `report` and `track` have the detector as a "
        "setting. The ground truth must be a prepared folder. docs/external_detector.md shows how.",
    )
    row.add_argument("--as", dest="name", metavar="NAME", help="name of the setting")
    row.add_argument(
        "--label", metavar="TEXT", help="printed name (default: the name of the setting)"
    )
    _add_results(row)
    row.add_argument(
        "--tests", type=whole(1, 999), default=1, metavar="N",
        help="evaluation runs of each training run, one file each",
    )  # fmt: skip
    row.add_argument(
        "--latency-ms", type=real(0, 1e9), metavar="MS",
        help="your measured latency, in milliseconds per scene",
    )  # fmt: skip
    row.add_argument(
        "--allow-missing", action="store_true",
        help="count the objects of scenes that are absent from a file as missed",
    )  # fmt: skip
    add_wait(row)
    add_done(row)
    verb.set_defaults(verb=_evaluate)


def _evaluate(args: argparse.Namespace) -> None:
    remedy = "Pass a file of ground-truth boxes."
    if args.ground_truth.is_dir():
        check_prepared(args.ground_truth, "--ground-truth")
    else:
        check_file(args.ground_truth, "--ground-truth", remedy, _BOX_FILES)
    for option, paths in (("--detections", args.detections), ("--against", args.against)):
        for path in paths:
            if not path.is_dir():
                check_file(path, option, "Pass a file of detections.", (*_BOX_FILES, ".json"))
    if args.dataset and not Path(args.dataset).is_dir():
        check_dataset(args.dataset)
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
        raise InputError(
            "contradicts --as, because the report computes the differences",
            field="--against",
            kind=Kind.CONFLICT,
            remedy="Omit it.",
        )
    if args.dataset:
        raise InputError(
            "contradicts --as, because the prepared folder names the data set",
            field="--dataset",
            kind=Kind.CONFLICT,
            remedy="Omit it.",
        )
    if not (args.ground_truth / MANIFEST).is_file():
        raise InputError(
            "is not a prepared folder, which --as needs to evaluate all rows on the same scenes",
            file=args.ground_truth,
            field="--ground-truth",
            kind=Kind.CONFLICT,
            remedy="Pass the folder that `sr3d prepare` wrote.",
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
    about = "Summarise all runs of a setting: best, mean, median, confidence interval."
    verb = verbs.add_parser(
        "summarise",
        parents=[common],
        help=about,
        description=about,
        examples=("sr3d summarise results/scannet/sr3d --out results/scannet/sr3d/summary.json",),
    )
    verb.add_argument(
        "setting", type=Path, metavar="DIR", help="folder of a setting: results/DATASET/SETTING"
    )
    verb.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="JSON file to write: summary.json"
    )
    verb.add_argument(
        "--trainings", type=whole(1, 1000), metavar="N", help="expected number of training runs"
    )
    verb.add_argument(
        "--tests", type=whole(1, 999), metavar="N",
        help="expected number of evaluation runs per training run",
    )  # fmt: skip
    verb.set_defaults(verb=_summarise)


def _summarise(args: argparse.Namespace) -> None:
    check_folder(args.setting, "DIR", "Run `sr3d train` and `sr3d test` first.")
    check_output_file(args.out, "--out")
    from sr3d.study.report.findings import write_summary

    summary = write_summary(
        args.setting, args.out, expected_trainings=args.trainings, expected_tests=args.tests
    )
    for warning in summary["warnings"]:
        print(f"sr3d: {args.setting}: {warning}", file=sys.stderr)
    print(f"{args.out}: {summary['runs']} tests")


def add_report(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Write the report: the paper's tables, figures and claims beside our results."
    verb = verbs.add_parser(
        "report",
        parents=[common],
        help=about,
        description=about,
        examples=("sr3d report --tables workflow/tables.yaml --out results/report",),
    )
    _add_results(verb)
    verb.add_argument(
        "--tables", type=Path, required=True, metavar="FILE", help="YAML file with the paper's data"
    )
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    verb.add_argument(
        "--table", nargs="+", metavar="NAME", help="tables and figures to write (default: all)"
    )
    verb.add_argument(
        "--dataset", nargs="+", metavar="NAME", help="data sets to report (default: all)"
    )
    verb.add_argument(
        "--data", nargs="+", default=[], metavar="DATASET=DIR",
        help="prepared folders, for the points in scene figures and 3D viewers",
    )  # fmt: skip
    verb.add_argument(
        "--cited", nargs="+", default=[], metavar="SETTING",
        help="settings that are not meant to run. Their rows have the paper's numbers alone, and "
        "are omitted on data that the paper does not use",
    )  # fmt: skip
    verb.set_defaults(verb=_report)


def _report(args: argparse.Namespace) -> None:
    check_file(args.tables, "--tables", "Pass `workflow/tables.yaml`.")
    check_folder(args.results, "--results", "Name the folder that the runs were written to.")
    check_output_folder(args.out)
    from sr3d.study.report.report_folder import write_report

    for path in write_report(
        args.results, args.tables, args.out, args.table, args.dataset, _folders(args.data),
        args.cited,
    ):  # fmt: skip
        print(path)


def _folders(values: Sequence[str]) -> dict[str, Path]:
    folders = {}
    for value in values:
        dataset, equals, folder = value.partition("=")
        if not (equals and folder):
            raise InputError(
                f"'{value}' is not a pair",
                field="--data",
                kind=Kind.VALUE,
                remedy="Write it as DATASET=DIR.",
            )
        if dataset not in DATASETS:
            raise InputError(
                f"unknown data set '{dataset}'{did_you_mean(dataset, DATASETS)}",
                field="--data",
                kind=Kind.UNKNOWN,
            )
        folders[dataset] = Path(folder)
    return folders


def add_track(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Record every run in an MLflow store. A repeated call updates the store."
    verb = verbs.add_parser(
        "track",
        parents=[common],
        help=about,
        description=about,
        examples=("sr3d track --results results --store sqlite:///results/mlflow.db",),
    )
    _add_results(verb)
    verb.add_argument(
        "--store", default="sqlite:///results/mlflow.db", metavar="URI", help="MLflow tracking URI"
    )
    verb.add_argument(
        "--artifacts", type=Path, metavar="DIR",
        help="folder for MLflow artifacts (default: mlartifacts beside a SQLite store). A relative "
        "path stays relative in a SQLite store, so the project folder can move",
    )  # fmt: skip
    verb.add_argument(
        "--tables", type=Path, metavar="FILE",
        help="YAML file with the paper's data, to tag settings with their tables",
    )  # fmt: skip
    add_wait(verb)
    add_done(verb)
    verb.set_defaults(verb=_track)


def _track(args: argparse.Namespace) -> None:
    from sr3d.study.report.paper import read_paper, shown_settings
    from sr3d.study.tracking.mlflow_store import store_path
    from sr3d.study.tracking.runs_page import runs_pages
    from sr3d.study.tracking.tracking import track

    shown = shown_settings(read_paper(args.tables)) if args.tables else None
    report = track(args.results, args.store, args.artifacts, shown, args.wait)
    path = store_path(args.store)
    if args.done:
        write_marker(args.done, [path] if path else [])
    counts = ("created", "updated", "unchanged", "missing")
    numbers = [f"{getattr(report, name)} {name}" for name in counts if getattr(report, name)]
    print(f"{args.store}: runs {', '.join(numbers) or 'none'}")
    if path:  # the address of another database may hold a password
        print(f"To browse, run `mlflow ui --backend-store-uri {args.store}`.")
        for dataset, page in runs_pages(path).items():
            print(f"Runs on {dataset}: {page}")


def _add_results(verb: argparse._ActionsContainer) -> None:
    verb.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="folder of results"
    )
