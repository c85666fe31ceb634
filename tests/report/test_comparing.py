"""Settings that share training runs are paired by run records, never by names."""

import re
import shutil
from statistics import stdev

import pytest

from sr3d.runs.record import read_run, train_seed, write_run
from sr3d.settings import read_settings
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import METRICS, TrendClaim, read_paper, signed
from sr3d.study.report.setting_comparisons import (
    HypothesisFamily,
    adjust,
    compare_settings,
    family_of,
    sides,
)
from sr3d.study.report.verdicts import Direction, Size, Verdict, judge
from sr3d.study.statistics import compare, detectable_mean, holm, simultaneous
from tests.make_runs import SETTINGS, edit, make_test, make_tree
from tests.report.plain import render_text, write_tables
from tests.report.test_tables import DELTA, PAPER, row_of

BASELINE = SETTINGS["baseline"]
# Training runs a point apart, and the increment of each oracle: small, and different in each run.
GAIN = {"baseline_gt_ctr": (0.1, 0.12, 0.15), "baseline_gt_iou": (20.0, 21.0, 23.0)}
IOU = "baseline_gt_iou"
ORACLE = {"baseline_gt_ctr": "centerness", "baseline_gt_iou": "iou"}


def tree(results, trainings=3, **changes):
    """Table 6 on ScanNet: a baseline of some training runs, and the oracles that evaluate three."""
    make_tree(results, "scannet", {"baseline": BASELINE}, trainings, 2)
    for name, gains in GAIN.items():
        overrides = [*BASELINE, f"test.oracle={ORACLE[name]}"]
        for i, gain in enumerate(gains):
            for j in range(2):
                value = 60 + i + 0.1 * j + gain
                make_test(
                    results, "scannet", name, overrides, i, j, value,
                    **{"tests_of": "baseline"} | changes,
                )  # fmt: skip
    return Findings(results, "scannet")


def test_tests_of_the_same_trainings_are_pairs(tmp_path):
    findings = tree(tmp_path)
    a, b, paired = sides(findings, "baseline_gt_ctr", "baseline", "AP25")
    assert paired
    assert a == pytest.approx([60.15, 61.17, 62.2])
    assert b == pytest.approx([60.05, 61.05, 62.05])
    assert sides(findings, "baseline_gt_iou", "baseline_gt_ctr", "AP50")[2]
    found = compare_settings(findings, "baseline_gt_ctr", "baseline", "AP25")
    assert found == compare(a, b, paired=True)
    assert found is not None
    assert found.p_t < 0.05 < 0.5 < compare(a, b).p_t


@pytest.mark.parametrize(
    "change",
    [
        {"tests_of": "spota"},  # trained by another setting
        {"tests_of": None},  # by itself
        {"seeds": {"train": 77}},  # from another seed
        {"data": {"digest": "other", "split": "val", "scenes": 32}},
        {"config": {"model": {"voxel_size": 0.04}}},
    ],
)
def test_other_trainings_are_no_pairs(tmp_path, change):
    findings = tree(tmp_path, **change)
    a, b, paired = sides(findings, "baseline_gt_ctr", "baseline", "AP25")
    assert not paired
    assert (len(a), len(b)) == (3, 3)
    found = compare_settings(findings, "baseline_gt_ctr", "baseline", "AP25")
    assert found is not None
    assert not found.paired


def test_settings_trained_apart_are_no_pairs_though_seed_and_configuration_agree(tmp_path):
    make_tree(tmp_path, "scannet", {"sr3d": [], "spota": []})
    findings = Findings(tmp_path, "scannet")
    assert findings.trainings("sr3d", "AP25")
    assert not sides(findings, "sr3d", "spota", "AP25")[2]


def test_a_field_that_the_older_records_lack_is_no_difference(tmp_path):
    findings = tree(tmp_path)
    for path in (tmp_path / "scannet" / "baseline").glob("train*/test*"):
        record = read_run(path)
        record.config["model"].pop("stem_norm")
        write_run(path, record)
    assert sides(findings, "baseline_gt_ctr", "baseline", "AP25")[2]
    path = tmp_path / "scannet/baseline/train0/test0"
    record = read_run(path)
    record.config["loss"]["beta"] = 2.0
    write_run(path, record)  # now evaluations 0 and 1 of training run 0 disagree
    a, _, paired = sides(Findings(tmp_path, "scannet"), "baseline_gt_ctr", "baseline", "AP25")
    assert (len(a), paired) == (2, True)


def test_the_trainings_that_both_tested_are_compared(tmp_path):
    findings = tree(tmp_path, trainings=5)
    a, b, paired = sides(findings, "baseline_gt_ctr", "baseline", "AP25")
    assert (len(a), len(b), paired) == (3, 3, True)
    assert b == pytest.approx([60.05, 61.05, 62.05])
    shutil.rmtree(tmp_path / "scannet/baseline/train1/test0")
    shutil.rmtree(tmp_path / "scannet/baseline/train1/test1")
    a, b, _ = sides(Findings(tmp_path, "scannet"), "baseline_gt_ctr", "baseline", "AP25")
    assert a == pytest.approx([60.15, 62.2])
    assert b == pytest.approx([60.05, 62.05])


def test_a_retrained_baseline_is_not_paired_with_tests_of_before(tmp_path):
    tree(tmp_path)
    for key in ("train0", "train0/test0", "train0/test1"):
        edit(tmp_path, f"scannet/baseline/{key}", seeds={"train": train_seed(1, 0)})
    a, b, paired = sides(Findings(tmp_path, "scannet"), "baseline_gt_ctr", "baseline", "AP25")
    assert (len(a), len(b), paired) == (2, 2, True)


def test_a_table_says_which_rows_are_paired(tmp_path):
    findings = tree(tmp_path)
    write_tables(tmp_path, PAPER, tmp_path / "out", ["table6"])
    text = (tmp_path / "out/table6_scannet.md").read_text()
    pairs = [sides(findings, name, "baseline", metric) for metric in ("AP25", "AP50")
             for name in GAIN]  # fmt: skip
    tested = [compare(*pair) for pair in pairs]
    adjusted = holm([one.p_t for one in tested])
    row = row_of(text, "with true centerness")
    low, high = tested[0].estimate.interval(simultaneous(4))
    assert row[DELTA] == f"+0.1 [{signed('AP25', low)}, {signed('AP25', high)}]"
    # Four raw p-values below 0.05. Bonferroni's intervals exclude fewer of them than Holm's rule.
    assert row["p"].rstrip("*") == f"{adjusted[0]:.3f}"
    csv = (tmp_path / "out/table6_scannet.csv").read_text().splitlines()
    assert "paired" in csv[0].split(",")
    assert [line.split(",")[csv[0].split(",").index("paired")] for line in csv[1:4]] == [
        "", "True", "True",
    ]  # fmt: skip
    make_tree(tmp_path, "scannet", {"spota": SETTINGS["spota"]})
    assert "paired" not in render_text(tmp_path, PAPER, "table2", "scannet")


def judged_of_table_6(findings):
    judged = judge(read_paper(PAPER), findings)
    return {one.claim.id: one for one in judged if one.claim.of == "table6"}


def test_small_claims_of_table_6_can_be_judged(tmp_path):
    judged = judged_of_table_6(tree(tmp_path))
    small = judged["true_centerness_ap25"]
    assert (small.verdict, small.direction) == (Verdict.REPRODUCED, Direction.ABSENT)
    assert small.size is Size.INSIDE
    assert re.search(r"AP25\b.*\b3\b.*\bpaired\b", small.ours)
    gained = judged["true_iou_ap25"]
    assert gained.numbers.detectable == pytest.approx(detectable_mean(stdev(GAIN[IOU]), 3))
    assert all(j.verdict is Verdict.REPRODUCED for j in judged.values() if "50" not in j.claim.id)
    apart = judged_of_table_6(tree(tmp_path / "b", tests_of=None))
    assert apart["true_centerness_ap25"].verdict is Verdict.INCONCLUSIVE
    assert "3 vs 3" in apart["true_centerness_ap25"].ours
    assert "paired" not in apart["true_centerness_ap25"].ours


def test_families_are_accuracy_and_cost():
    cost = [name for name in METRICS if family_of(name) is HypothesisFamily.COST]
    assert cost == ["latency_ms", "minutes_per_epoch", "parameters"]
    accuracy = [name for name in METRICS if family_of(name) is HypothesisFamily.ACCURACY]
    assert accuracy == ["AP25", "AP50", "PCE", "AIC"]


def test_families_are_adjusted_by_themselves():
    p = {("a", 1): 0.01, ("b", 1): 0.04, ("a", 2): 0.03, ("b", 2): 0.2, ("b", 3): 0.005}
    adjusted = adjust(p, lambda key: key[0])
    assert {key: one.p for key, one in adjusted.items()} == pytest.approx(
        {("a", 1): 0.02, ("a", 2): 0.03, ("b", 3): 0.015, ("b", 1): 0.08, ("b", 2): 0.2}
    )
    assert {key: one.tests for key, one in adjusted.items()} == {
        key: 2 if key[0] == "a" else 3 for key in p
    }
    assert adjust({}, lambda key: key) == {}


def test_no_trend_of_the_paper_runs_along_tests_of_one_training():
    """`trend` assumes that the training runs of its settings are independent."""
    settings = read_settings()
    trends = [c for c in read_paper(PAPER).claims.values() if isinstance(c, TrendClaim)]
    along = {name for claim in trends for _, name in claim.along}
    assert len(along) > 5
    assert not [name for name in along if settings[name].tests_of]
