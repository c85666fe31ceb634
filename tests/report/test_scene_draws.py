"""Draws of scenes in summaries, compared with literal draws, and their differences."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from sr3d.errors import Kind
from sr3d.evaluate.average_precision import average_precision
from sr3d.evaluate.detection_matches import best_ground_truth
from sr3d.evaluate.scene_bootstrap import scene_draws
from sr3d.evaluate.scored_files import ScoredDetections
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.files import read_json, without_checksum, write_json
from sr3d.runs.record import DETECTIONS_FILE
from sr3d.study.report import scene_draws as module
from sr3d.study.report.findings import find_summary, runs_of, write_summary
from sr3d.study.report.scene_draws import over_scenes, paired_over_scenes, resample_scenes
from sr3d.study.report.tables.cells import NONE
from sr3d.study.report.tables.notes import Topic
from tests.evaluate.test_average_precision import random_case
from tests.evaluate.test_scene_bootstrap import CLASSES, SCENES, repeated
from tests.make_runs import SETTINGS, leave_detections, make_tree
from tests.refusals import refuses
from tests.report.plain import print_table, render_text
from tests.report.printed import note_with, notes_with, numbers_in
from tests.report.test_tables import PAPER

DRAWS = 40


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(module, "DRAWS", DRAWS)


def boxes():
    truth, detections = random_case(10, rotated=False)
    return dataclasses.replace(truth, scenes=SCENES), detections


def leave(folder, truth: BoxSet, detections: BoxSet) -> None:
    """Replace the detections of an evaluation."""
    matching = best_ground_truth(truth, detections, rotated=False)
    leave_detections(folder, ScoredDetections(truth, detections, matching))


def tree(results, share: dict[str, float], truth: BoxSet | None = None) -> None:
    """Settings of 2 × 2 evaluations, each of which finds a random share of the same detections."""
    rng = np.random.default_rng(len(share))
    same, detections = boxes()
    make_tree(results, settings={name: SETTINGS[name] for name in share})
    for name, part in share.items():
        for path in sorted((results / "synthetic" / name).glob("train*/test*")):
            leave(path, truth or same, detections[rng.random(len(detections)) < part])


def kept(results, setting: str):
    folder = results / "synthetic" / setting
    return resample_scenes(folder, [r for r in runs_of(folder) if r.test is not None])


def literal(folder, metric: str) -> list[float]:
    """Mean AP of the evaluations below a folder in each draw, with scenes literally repeated."""
    truth, _ = boxes()
    means = []
    for row in scene_draws(len(SCENES), DRAWS, 0).tolist():
        times = dict(zip(SCENES, row, strict=True))
        found = []
        for path in folder.glob("train*/test*"):
            with np.load(path / DETECTIONS_FILE) as file:
                test = BoxSet(file["scene"], file["label"], file["box"], file["score"])
            ap = average_precision(
                repeated(truth, times), repeated(test, times), CLASSES, rotated=False
            )
            found.append(ap[metric])
        means.append(float(np.mean(found)))
    return means


@pytest.mark.parametrize("metric", ["AP25", "AP50"])
def test_each_draw_is_the_mean_over_the_tests_of_repeated_scenes(tmp_path, metric):
    tree(tmp_path, {"baseline": 0.5, "sr3d": 0.9})
    ours, theirs = kept(tmp_path, "sr3d"), kept(tmp_path, "baseline")
    expected = [literal(tmp_path / "synthetic" / name, metric) for name in ("sr3d", "baseline")]
    assert ours is not None
    assert theirs is not None
    assert ours["scenes"] == len(SCENES)
    assert ours[metric] == pytest.approx(expected[0], abs=1e-4)
    assert theirs[metric] == pytest.approx(expected[1], abs=1e-4)
    assert over_scenes(ours, metric) == pytest.approx(1.96 * np.std(expected[0], ddof=1), rel=1e-3)
    difference = np.subtract(*expected)
    assert paired_over_scenes(ours, theirs, metric) == pytest.approx(
        1.96 * np.std(difference, ddof=1), rel=1e-3
    )
    assert over_scenes(None, metric) is None
    assert over_scenes(ours, "latency_ms") is None
    assert paired_over_scenes(ours, ours, metric) == 0.0


def test_settings_of_other_scenes_are_never_subtracted(tmp_path, monkeypatch):
    """Other ids, other boxes under the same ids, and other draws of the same scenes."""
    tree(tmp_path, {"baseline": 0.5})
    ours = kept(tmp_path, "baseline")
    truth, _ = boxes()
    moved = dataclasses.replace(truth, box=truth.box + np.float32(0.001))
    renamed = dataclasses.replace(truth, scenes=(*SCENES[:-1], "scene2"))
    for i, other in enumerate((moved, renamed)):
        tree(tmp_path / str(i), {"baseline": 0.5}, other)
        theirs = kept(tmp_path / str(i), "baseline")
        assert over_scenes(theirs, "AP25") is not None
        assert paired_over_scenes(ours, theirs, "AP25") is None
    monkeypatch.setattr(module, "SEED", 1)
    assert paired_over_scenes(ours, kept(tmp_path, "baseline"), "AP25") is None
    assert paired_over_scenes(ours, None, "AP25") is None
    assert paired_over_scenes(None, ours, "AP25") is None


def test_tests_of_one_setting_on_different_scenes_have_no_interval(tmp_path):
    tree(tmp_path, {"sr3d": 0.9})
    truth, detections = boxes()
    folder = tmp_path / "synthetic" / "sr3d"
    leave(folder / "train1" / "test1", dataclasses.replace(truth, scenes=("x",)), detections)
    other = "train1/test1/detections.npz"
    with refuses(Kind.CONFLICT, file=other, mentions=["sr3d/train0/test0"]) as error:
        kept(tmp_path, "sr3d")
    assert "`sr3d test`" in error.value.remedy
    summary = write_summary(folder, folder / "summary.json", 2, 2)
    assert summary["scenes"] is None
    assert sum(other in warning for warning in summary["warnings"]) == 1


def test_a_summary_without_detections_says_so_and_has_all_else(tmp_path):
    tree(tmp_path, {"sr3d": 0.9})
    folder = tmp_path / "synthetic" / "sr3d"
    (folder / "train0" / "test0" / DETECTIONS_FILE).unlink()
    summary = write_summary(folder, folder / "summary.json", 2, 2)
    assert (summary["scenes"], summary["runs"]) == (None, 4)
    (warning,) = summary["warnings"]
    assert "train0/test0/detections.npz" in warning
    for train in folder.glob("train*"):
        for test in train.glob("test*"):
            shutil.rmtree(test)
    assert write_summary(folder, folder / "summary.json")["scenes"] is None


def test_draws_are_kept_for_these_very_tests(tmp_path):
    tree(tmp_path, {"sr3d": 0.9})
    folder = tmp_path / "synthetic" / "sr3d"
    written = write_summary(folder, folder / "summary.json", 2, 2)
    read = without_checksum(read_json(folder / "summary.json"), folder, "")
    assert read == json.loads(json.dumps(written))
    found = find_summary(folder)
    assert found is not None
    assert found["scenes"] == written["scenes"] is not None
    truth, detections = boxes()
    leave(folder / "train0" / "test0", truth, detections[:3])
    stale = find_summary(folder)
    assert stale is not None
    assert stale["scenes"] is None
    assert write_summary(folder, folder / "summary.json", 2, 2)["scenes"] != written["scenes"]
    shutil.rmtree(folder / "train1" / "test1")
    fewer = find_summary(folder)
    assert fewer is not None
    assert fewer["scenes"] is None


def test_a_table_prints_them_beside_the_trainings_interval(tmp_path):
    tree(tmp_path, {"baseline": 0.5, "spota": 0.7, "sr3d": 0.9})
    for name in ("baseline", "sr3d"):
        folder = tmp_path / "synthetic" / name
        write_summary(folder, folder / "summary.json", 2, 2)
    text = render_text(tmp_path, PAPER, "table2", "synthetic")
    columns = text.splitlines()[2]
    place, of_delta = columns.index("scenes"), columns.index("Δ scenes")
    rows = {name: line for line in text.splitlines() for name in ("Baseline", "SPOTA", "SR3D")
            if name in line and "[" in line and line.index(name) < 20}  # fmt: skip
    ours, theirs = kept(tmp_path, "sr3d"), kept(tmp_path, "baseline")
    half, paired = over_scenes(ours, "AP50"), paired_over_scenes(ours, theirs, "AP50")
    assert half is not None
    assert paired is not None
    assert half != paired
    assert rows["SR3D"][place:].startswith(f"±{half:.1f} ")  # the last block with values is AP50
    assert rows["SR3D"][of_delta:].startswith(f"±{paired:.1f} ")
    assert rows["SPOTA"][place:].startswith(NONE)
    assert rows["Baseline"][of_delta:].startswith(NONE)
    table = print_table(tmp_path, PAPER, "table2", "synthetic")
    note = note_with(table, Topic.SCENES)
    assert {str(DRAWS), "4"} <= set(numbers_in(note))  # draws, scenes
    assert note_with(table, Topic.NO_SCENES, "'+ SPOTA'", "`sr3d summarise`")
    assert not notes_with(table, Topic.UNPAIRED_SCENES)


def test_rows_of_other_scenes_have_no_paired_interval_and_the_table_says_so(tmp_path):
    truth, _ = boxes()
    tree(tmp_path, {"baseline": 0.5})
    moved = dataclasses.replace(truth, box=truth.box + np.float32(0.001))
    tree(tmp_path, {"sr3d": 0.9}, moved)
    for name in ("baseline", "sr3d"):
        folder = tmp_path / "synthetic" / name
        write_summary(folder, folder / "summary.json", 2, 2)
    text = render_text(tmp_path, PAPER, "table2", "synthetic")
    columns = text.splitlines()[2]
    (row,) = {line[columns.index("Δ scenes") :][:1] for line in text.splitlines()
              if "SR3D  " in line and "±" in line}  # fmt: skip
    assert row == NONE
    table = print_table(tmp_path, PAPER, "table2", "synthetic")
    assert note_with(table, Topic.UNPAIRED_SCENES, "'SR3D'")


def test_a_summary_of_before_gives_the_table_of_before(tmp_path):
    tree(tmp_path, {"baseline": 0.5, "sr3d": 0.9})
    for name in ("baseline", "sr3d"):
        folder = tmp_path / "synthetic" / name
        summary = write_summary(folder, folder / "summary.json", 2, 2)
        summary.pop("scenes")
        for metric in summary["metrics"].values():
            metric.pop("training_ids")
        write_json(folder / "summary.json", summary)
    with_records = render_text(tmp_path, PAPER, "table2", "synthetic")
    for folder in (tmp_path / "synthetic").glob("*/train*"):
        shutil.rmtree(folder)
    assert render_text(tmp_path, PAPER, "table2", "synthetic") == with_records
    assert "scenes" not in with_records.splitlines()[2]
    assert not notes_with(print_table(tmp_path, PAPER, "table2", "synthetic"), Topic.SCENES)
