"""The headline follows the records, whichever runs exist."""

import pytest

from sr3d.study.report.findings import Findings, write_summary
from sr3d.study.report.headline import headline_of
from tests.make_runs import make_tree

LABELS = {"sr3d": "SR3D", "baseline": "Baseline"}
BOTH = {"baseline": ["assigner.name=tr3d", "loss.cls=focal"], "sr3d": []}


def headline(results, dataset="synthetic"):
    return headline_of(Findings(results, dataset), LABELS)


def test_the_difference_is_given_with_its_interval(tmp_path):
    make_tree(tmp_path, settings=BOTH, trainings=5)
    found = headline(tmp_path)
    assert (found.setting, found.over) == ("sr3d", "baseline")
    assert found.difference == pytest.approx(2.5)
    assert found.mean == pytest.approx(64.55)
    low, high = found.comparison.interval
    assert low < 2.5 < high
    assert ("inconclusive" in found.text) == (low <= 0)
    assert "64.5 AP25" in found.text or "64.6 AP25" in found.text
    assert found.text.index("2.5") < found.text.index("Baseline")


@pytest.mark.parametrize(("gain", "conclusive"), [(0.1, False), (20.0, True), (-20.0, True)])
def test_an_interval_that_excludes_0_is_conclusive(tmp_path, gain, conclusive):
    make_tree(
        tmp_path, settings=BOTH, trainings=3,
        score=lambda setting, train, test: 50 + train + gain * (setting == "sr3d"),
    )  # fmt: skip
    found = headline(tmp_path)
    low, high = found.comparison.interval
    assert (low <= 0 <= high) is not conclusive
    assert ("inconclusive" in found.text) is not conclusive
    assert ("below" in found.text) is (gain < 0)


def test_one_training_run_has_no_interval(tmp_path):
    make_tree(tmp_path, settings=BOTH, trainings=1)
    found = headline(tmp_path)
    assert found.comparison is None
    assert found.difference == pytest.approx(2.5)


def test_without_a_baseline_the_setting_stands_alone(tmp_path):
    make_tree(tmp_path, settings={"sr3d": []}, trainings=3)
    found = headline(tmp_path)
    assert (found.setting, found.over, found.difference) == ("sr3d", None, None)


def test_without_sr3d_the_best_setting_is_named(tmp_path):
    settings = {"baseline": BOTH["baseline"], "spota": ["loss.cls=focal"]}
    make_tree(tmp_path, settings=settings, trainings=2)
    found = headline(tmp_path)
    assert (found.setting, found.over) == ("spota", "baseline")


def test_missing_evaluations_are_counted(tmp_path):
    make_tree(tmp_path, settings={"sr3d": []}, trainings=2, tests=2)
    folder = tmp_path / "synthetic" / "sr3d"
    write_summary(folder, folder / "summary.json", 5, 5)
    assert "4 of 25" in headline(tmp_path).text


def test_nothing_evaluated_is_said(tmp_path):
    make_tree(tmp_path, settings={"sr3d": []}, tests=0)
    found = headline(tmp_path)
    assert found.setting is None
    assert found.text
