"""Summaries of runs, compared with sums by hand."""

import json
import shutil

import pytest

from sr3d.errors import Kind
from sr3d.runs.files import read_json, without_checksum
from sr3d.study.report.findings import find_summary, runs_of, write_summary
from sr3d.study.report.setting_summary import Doubt, summarise_runs, warnings_of
from sr3d.study.statistics import summarise
from tests.make_runs import SETTINGS, edit, make_tree
from tests.refusals import refuses
from tests.report.printed import numbers_in

SR3D = {"sr3d": SETTINGS["sr3d"]}


@pytest.fixture
def folder(tmp_path):
    make_tree(tmp_path, settings=SR3D)
    return tmp_path / "synthetic" / "sr3d"


def test_summary_of_complete_runs(folder):
    out = folder / "summary.json"
    summary = write_summary(folder, out, 2, 2)
    assert without_checksum(read_json(out), out, "") == json.loads(json.dumps(summary))
    assert (summary["dataset"], summary["setting"]) == ("synthetic", "sr3d")
    assert (summary["runs"], summary["missing"], summary["warnings"]) == (4, [], [])
    assert summary["expected"] == {"trainings": 2, "tests": 2, "runs": 4}
    ap25 = summary["metrics"]["AP25"]
    assert ap25["values"] == [[62.5, 62.6], [63.5, 63.6]]
    assert ap25["best"] == 63.6
    assert ap25["mean"] == pytest.approx(63.05)
    assert ap25["median"] == pytest.approx(63.05)
    assert ap25["training_means"] == pytest.approx([62.55, 63.55])
    assert ap25["interval"] == summarise(ap25["values"]).interval
    assert len(set(ap25["training_ids"])) == len(ap25["values"])
    assert ap25["training_ids"] == summary["metrics"]["AP50"]["training_ids"]
    assert summary["metrics"]["AP50"]["mean"] == pytest.approx(43.05)
    assert summary["per_class"]["night_stand"]["AP50"] == pytest.approx(38.05)
    assert summary["train"]["mean_wall_seconds"] == 600.0
    assert summary["parameters"] == 1_234_567
    assert summary["data_digest"] == "00112233445566ff"


def test_missing_tests_are_named_and_the_rest_summarised(folder):
    shutil.rmtree(folder / "train1" / "test0")
    summary = summarise_runs(runs_of(folder), 2, 3)
    assert summary["missing"] == [
        "synthetic/sr3d/train0/test2",
        "synthetic/sr3d/train1/test0",
        "synthetic/sr3d/train1/test2",
    ]
    assert summary["runs"] == 3
    assert summary["metrics"]["AP25"]["mean"] == pytest.approx((62.5 + 62.6 + 63.6) / 3)


def test_runs_beyond_the_expected_are_left_out_and_said(folder):
    summary = summarise_runs(runs_of(folder), 1, 2)
    assert summary["metrics"]["AP25"]["values"] == [[62.5, 62.6]]
    assert summary["metrics"]["AP25"]["interval"] is None
    (warning,) = warnings_of(runs_of(folder), 1, 2)
    assert (warning.doubt, numbers_in(warning.text)) == (Doubt.SURPLUS, ["3"])
    assert summary["warnings"] == [warning.text]


@pytest.mark.parametrize(
    ("change", "doubt", "names"),
    [
        (
            {"code": {"commit": "f" * 40, "edited": False}},
            Doubt.MIXED_CODE,
            ["0123456789 (5)", "f (1)"],
        ),
        (
            {"code": {"commit": "0123456789abcdef0123456789abcdef01234567", "edited": True}},
            Doubt.EDITED_CODE,
            ["1 of 6"],
        ),
        ({"data": {"digest": "another"}}, Doubt.MIXED_DATA, ["0011223344 (5)", "another (1)"]),
        ({"config_digest": "another"}, Doubt.MIXED_CONFIGURATIONS, ["(5)", "another (1)"]),
        ({"device": "cuda"}, Doubt.MIXED_DEVICES, ["cpu (5)", "cuda (1)"]),
        ({"metrics": {"AP50": 40.0}}, Doubt.NO_METRIC, ["1 of 4", "AP25"]),
        ({"started": "2026-10-01T00:00:00+00:00"}, Doubt.STALE, ["1 of 4"]),
    ],
)
def test_what_does_not_belong_together_is_said(folder, change, doubt, names):
    edit(folder.parents[1], "synthetic/sr3d/train1/test1", **change)
    (warning,) = warnings_of(runs_of(folder), 2, 2)
    assert warning.doubt is doubt
    assert all(name in warning.text for name in names)


@pytest.mark.parametrize(
    ("dataset", "doubt"), [("scannet", Doubt.OTHER_DATA), ("own", Doubt.PARTIAL_DATA)]
)
def test_data_of_which_some_are_not_there_are_said(tmp_path, dataset, doubt):
    absent = "scene0000_00 is not there"
    data = {"digest": "d", "deviations": [absent]}
    make_tree(tmp_path, dataset, SR3D, data=data)
    (warning,) = warnings_of(runs_of(tmp_path / dataset / "sr3d"), 2, 2)
    assert warning.doubt is doubt
    assert absent in warning.text


def test_trainings_without_tests_have_no_metrics(folder):
    shutil.rmtree(folder / "train0" / "test0")
    shutil.rmtree(folder / "train0" / "test1")
    shutil.rmtree(folder / "train1")
    summary = write_summary(folder, folder / "summary.json")
    assert (summary["runs"], summary["metrics"], summary["expected"]) == (0, {}, None)


def test_no_run_is_an_input_error(tmp_path):
    with refuses(Kind.EMPTY, file=tmp_path) as error:
        write_summary(tmp_path, tmp_path / "summary.json")
    assert "`sr3d train`" in error.value.remedy
    assert not (tmp_path / "summary.json").exists()


def test_a_record_in_the_wrong_folder_is_refused(folder):
    shutil.copytree(folder, folder.with_name("copy"))
    with refuses(Kind.CONFLICT, file="copy/train0/run.json", mentions=["synthetic/sr3d/train0"]):
        runs_of(folder.with_name("copy"))


def test_find_summary_prefers_the_records_and_keeps_the_expectation(folder):
    write_summary(folder, folder / "summary.json", 2, 2)
    edit(folder.parents[1], "synthetic/sr3d/train1/test1", metrics={"AP25": 99.0, "AP50": 9.0})
    found = find_summary(folder)
    assert found is not None
    assert found["metrics"]["AP25"]["best"] == 99.0
    assert found["expected"]["runs"] == 4


def test_find_summary_without_records(folder):
    written = write_summary(folder, folder / "summary.json", 2, 2)
    for name in ("train0", "train1"):
        shutil.rmtree(folder / name)
    assert find_summary(folder) == json.loads(json.dumps(written))
    (folder / "summary.json").write_text('{"schema_version": 99}')
    with refuses(Kind.UNREADABLE, file=folder / "summary.json") as error:
        find_summary(folder)
    assert "`sr3d summarise`" in error.value.remedy
    assert find_summary(folder.with_name("nothing")) is None
