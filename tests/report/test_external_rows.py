"""A detector of which sr3d has only files of boxes: its records, its row, and refused input."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sr3d.cli import main
from sr3d.data.prepared import PreparedDataset
from sr3d.evaluate.average_precision import average_precision
from sr3d.evaluate.loop import ground_truth
from sr3d.evaluate.scored_files import read_scored
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.record import DETECTIONS_FILE, METRICS_FILE, RunRecord, read_run, run_file, sha256
from sr3d.study.report.findings import Findings
from sr3d.study.statistics import compare, holm, summarise
from sr3d.study.tracking.tracked_runs import setting_run, single_run
from tests.make_runs import SETTINGS, make_tree
from tests.shared_data import ROOT

TABLES = ROOT / "workflow" / "tables.yaml"
NAME, LABEL = "my_detector", "My detector"


@pytest.fixture(scope="module")
def truth(rooms: Path) -> BoxSet:
    return ground_truth(PreparedDataset(rooms, "val"))


def detect(path: Path, truth: BoxSet, seed: int, **changes: Any) -> Path:
    """A file of boxes near the ground truth, in every scene."""
    rng = np.random.default_rng(seed)
    box = truth.box.copy()
    box[:, :3] += rng.normal(0, 0.12, (len(box), 3)).astype(np.float32)
    score = rng.random(len(box)).astype(np.float32)
    content = {"scene": truth.scene, "label": truth.label, "box": box, "score": score}
    content |= {"scenes": np.array(truth.scenes), **changes}
    np.savez(path, **{name: value for name, value in content.items() if value is not None})  # type: ignore[arg-type]
    return path


@pytest.fixture
def files(tmp_path: Path, truth: BoxSet) -> list[Path]:
    return [detect(tmp_path / f"mine{i}.npz", truth, i) for i in range(4)]


def evaluate(rooms: Path, results: Path, files: list[Path], *options: str) -> int:
    return main(
        ["evaluate", "--ground-truth", str(rooms), "--detections", *map(str, files), "--as", NAME,
         "--label", LABEL, "--results", str(results), *options]
    )  # fmt: skip


def records(results: Path) -> list[RunRecord]:
    return [read_run(p) for p in sorted(results.glob(f"synthetic/{NAME}/train*/test*"))]


def test_files_become_evaluation_runs(
    rooms: Path, tmp_path: Path, truth: BoxSet, files: list[Path]
) -> None:
    results = tmp_path / "results"
    assert evaluate(rooms, results, files, "--tests", "2", "--latency-ms", "40") == 0
    found = records(results)
    assert [(r.train, r.test) for r in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    classes = PreparedDataset(rooms, "val").manifest.classes
    for record, file in zip(found, files, strict=True):
        assert record.external is not None
        assert record.external["label"] == LABEL
        assert record.external["file"] == str(file)
        assert record.external["sha256"] == sha256(file)
        assert (record.config, record.parameters, record.weights) == ({}, None, None)
        assert (record.engine, record.device) == ("unknown", "unknown")
        assert record.timings == {"latency_ms": 40.0}
        folder = results / record.key
        scored = read_scored(run_file(folder, record, DETECTIONS_FILE))
        own = average_precision(truth, scored.detections, classes, rotated=False)
        assert (record.metrics["AP25"], record.metrics["AP50"]) == (own["AP25"], own["AP50"])
        assert not (folder.parent / METRICS_FILE).exists()


def test_a_prepared_folder_is_a_ground_truth(
    rooms: Path, tmp_path: Path, files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(rooms, tmp_path / "results", files[:1]) == 0
    (record,) = records(tmp_path / "results")
    capsys.readouterr()
    plain = ["evaluate", "--ground-truth", str(rooms), "--detections", str(files[0]), "--json"]
    assert main(plain) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["AP25"], scores["AP50"]) == (record.metrics["AP25"], record.metrics["AP50"])
    assert main([*plain, "--split", "none"]) == 2
    assert "'none'" in capsys.readouterr().err


def test_no_latency_unless_given(rooms: Path, tmp_path: Path, files: list[Path]) -> None:
    assert evaluate(rooms, tmp_path / "results", files[:2]) == 0
    assert [r.timings for r in records(tmp_path / "results")] == [{}, {}]


def test_the_report_has_the_row_with_interval_and_differences(
    rooms: Path, tmp_path: Path, files: list[Path]
) -> None:
    results, out = tmp_path / "results", tmp_path / "report"
    beside = {name: SETTINGS[name] for name in ("sr3d", "baseline")}
    make_tree(results, settings=beside, trainings=3, tests=1)
    assert evaluate(rooms, results, files[:3]) == 0
    folder = results / "synthetic" / NAME
    summary = folder / "summary.json"
    assert main(["summarise", str(folder), "--out", str(summary), "--trainings", "3",
                 "--tests", "1"]) == 0  # fmt: skip
    assert main(["report", "--results", str(results), "--tables", str(TABLES), "--out", str(out),
                 "--table", "table2"]) == 0  # fmt: skip

    ours = records(results)
    findings = Findings(results, "synthetic")
    for other in beside:
        rows = list(
            csv.DictReader((out / f"external_{other}_synthetic.csv").read_text().splitlines())
        )
        mine = {row["metric"]: row for row in rows if row["setting"] == NAME}
        for metric, row in mine.items():
            values = [r.metrics[metric] for r in ours]
            whole = summarise([[value] for value in values])
            assert float(row["best"]) == pytest.approx(whole.best)
            assert float(row["mean"]) == pytest.approx(whole.mean)
            interval = [float(row["interval_low"]), float(row["interval_high"])]
            assert whole.interval is not None
            assert interval == pytest.approx(list(whole.interval))
            expected = compare(values, findings.means(other, metric))
            assert expected is not None
            assert float(row["difference"]) == pytest.approx(expected.difference)
            bounds = [float(row["difference_low"]), float(row["difference_high"])]
            assert bounds == pytest.approx(list(expected.interval))
            assert float(row["p_permutation"]) == pytest.approx(expected.p_permutation)
        # Holm's rule over all differences of the table.
        keys, p = [], []
        for row in rows:
            if row["setting"] != other:
                a = findings.means(row["setting"], row["metric"])
                tested = compare(a, findings.means(other, row["metric"]))
                assert tested is not None
                keys.append(row)
                p.append(tested.p_t)
        assert [float(row["p_holm"]) for row in keys] == pytest.approx(holm(p))

    page = (out / "index.html").read_text()
    assert f'id="made-{NAME}-synthetic"' in page
    assert page.count(f'<th scope="row">{LABEL}</th>') == 4  # two tables of two metrics
    assert all(sha256(file) in page for file in files[:3])
    assert NAME not in (out / "table2_synthetic.csv").read_text()


def test_a_row_in_a_table_of_the_paper_if_asked(
    rooms: Path, tmp_path: Path, files: list[Path]
) -> None:
    results, out, tables = tmp_path / "results", tmp_path / "report", tmp_path / "tables.yaml"
    head = "  table2:\n"
    before, after = TABLES.read_text().split(head, 1)
    row = f"      - {{ setting: {NAME}, label: Mine }}\n"
    tables.write_text(before + head + after.replace("    rows:\n", "    rows:\n" + row, 1))
    assert evaluate(rooms, results, files[:2]) == 0
    assert main(["report", "--results", str(results), "--tables", str(tables), "--out", str(out),
                 "--table", "table2", "--dataset", "synthetic"]) == 0  # fmt: skip
    rows = list(csv.DictReader((out / "table2_synthetic.csv").read_text().splitlines()))
    mine = {row["metric"]: row["trainings"] for row in rows if row["setting"] == NAME}
    assert (mine["AP25"], mine["AP50"]) == ("2", "2")


def test_mlflow_has_the_files_and_no_configuration(
    rooms: Path, tmp_path: Path, files: list[Path]
) -> None:
    results = tmp_path / "results"
    assert evaluate(rooms, results, files[:2]) == 0
    found = records(results)
    parent = setting_run(results, found, None)
    assert parent.tags["sr3d.label"] == LABEL
    assert {"AP25/mean", "AP25/best", "AP25/interval_low"} <= {
        name for name, _, _ in parent.points()
    }
    run = single_run(results, found[0])
    assert run.tags["sr3d.external.sha256"] == sha256(files[0])
    assert run.tags["mlflow.source.name"] == "sr3d evaluate"
    assert not [name for name in run.params if name.startswith("model.")]
    assert "parameters" not in {name for name, _, _ in run.points()}


def test_again_keeps_what_fits_and_replaces_the_rest(
    rooms: Path, tmp_path: Path, truth: BoxSet, files: list[Path]
) -> None:
    results = tmp_path / "results"
    assert evaluate(rooms, results, files[:3]) == 0
    place = results / "synthetic" / NAME
    stamps = [(place / f"train{i}/test0/run.json").stat().st_mtime_ns for i in range(2)]
    detect(files[1], truth, 77)
    assert evaluate(rooms, results, files[:2]) == 0
    assert (place / "train0/test0/run.json").stat().st_mtime_ns == stamps[0]
    assert (place / "train1/test0/run.json").stat().st_mtime_ns != stamps[1]
    assert [r.external and r.external["sha256"] for r in records(results)] == [
        sha256(file) for file in files[:2]
    ]


def test_the_same_boxes_twice_are_refused_in_any_order_or_file(
    rooms: Path, tmp_path: Path, files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(files[0]) as content:
        copy = {name: content[name] for name in content.files}
    for name in ("scene", "label", "box", "score"):
        copy[name] = copy[name][::-1]
    np.savez(tmp_path / "copy.npz", **copy)
    for twice in (files[0], tmp_path / "copy.npz"):
        assert evaluate(rooms, tmp_path / "results", [files[0], files[1], twice]) == 2
        assert str(twice) in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_missing_scenes_are_counted_and_refused_unless_allowed(
    rooms: Path, tmp_path: Path, truth: BoxSet, files: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    kept = truth[truth.scene != truth.scenes[0]]
    few = BoxSet(kept.scene, kept.label, kept.box, scenes=truth.scenes[1:])
    part = detect(tmp_path / "part.npz", few, 9)
    results = tmp_path / "results"
    assert evaluate(rooms, results, [files[0], part]) == 2
    assert f"{part}: 1 of {len(truth.scenes)} scenes" in capsys.readouterr().err
    assert evaluate(rooms, results, [files[0], part], "--allow-missing") == 0
    assert [r.external and r.external["missing_scenes"] for r in records(results)] == [0, 1]
    summary = Findings(results, "synthetic").summary(NAME)
    assert summary is not None
    assert any("1 of 2" in warning for warning in summary["warnings"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"score": None}, "score"),
        ({"label": "sofabed"}, "sofabed"),
        ({"label": 99}, "label"),
        ({"scene": "scene0000_00", "scenes": None}, "scene0000_00"),
    ],
)
def test_wrong_files_are_refused(
    rooms: Path, tmp_path: Path, truth: BoxSet, changes: dict[str, Any], named: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    columns = {
        name: np.full(len(truth), value) if value is not None else None
        for name, value in changes.items()
    }
    wrong = detect(tmp_path / "wrong.npz", truth, 0, **columns)
    assert evaluate(rooms, tmp_path / "results", [wrong]) == 2
    error = capsys.readouterr().err
    assert str(wrong) in error
    assert named in error
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "options",
    [["--tests", "2"], ["--as", "sr3d"], ["--as", "My detector"], ["--dataset", "synthetic"]],
)
def test_wrong_arguments_are_refused(
    rooms: Path, tmp_path: Path, files: list[Path], options: list[str]
) -> None:
    assert evaluate(rooms, tmp_path / "results", files[:3], *options) == 2
    assert not (tmp_path / "results").exists()


def test_runs_of_sr3d_are_never_replaced(rooms: Path, tmp_path: Path, files: list[Path]) -> None:
    results = tmp_path / "results"
    made = make_tree(results, settings={NAME: []}, trainings=1, tests=1, score=lambda *_: 50.0)
    assert evaluate(rooms, results, files[:2]) == 2
    assert [read_run(results / record.key) for record in made] == made
