"""Verdicts on differences, and what `judge` and `count` give as a whole."""

import math
from pathlib import Path

import pytest
from scipy import stats as scipy_stats

from sr3d.errors import InputError
from sr3d.report.findings import Findings
from sr3d.report.paper import (
    Cited,
    Difference,
    Paper,
    PaperTable,
    read_paper,
    settings_of_claim,
)
from sr3d.report.verdicts import Verdict, count, judge
from tests.make_runs import make_tree
from tests.report.made_up import ABOUT, MadeUp, around, gain, once, paper_of

# Welch by hand: means 12 and 9, variances 1 and 1 of three each, so se = √(2/3), df = 4,
# t = 3.674235, p = 0.021312; t(0.975, 4 df) = 2.776445 times se = 2.266958.
TWELVE, NINE = once(11, 12, 13), once(8, 9, 10)


def only(claim, findings):
    (judged,) = judge(paper_of(claim), findings)
    return judged


def ap25(**settings):
    return MadeUp({(name, "AP25"): values for name, values in settings.items()})


def test_a_difference_worked_by_hand():
    judged = only(gain("sr3d", "baseline", 2.4), ap25(sr3d=TWELVE, baseline=NINE))
    assert judged.verdict is Verdict.REPRODUCED
    assert judged.paper_says == "higher AP25, +2.4 on ScanNet V2"
    assert judged.ours == "+3.0 [+0.7, +5.3] AP25, 3 vs 3 trainings"
    assert judged.p == pytest.approx(0.021312, abs=1e-6)
    assert judged.detectable is not None
    assert judged.detectable > 2.266958  # more than what is significant, at 80 % power
    assert judged.why == (
        "On ScanNet V2: sr3d lies above baseline in AP25, p = 0.021 after Holm over 1."
    )


def test_a_drop_is_reproduced_as_a_drop():
    judged = only(gain("baseline", "sr3d", -2.4), ap25(sr3d=TWELVE, baseline=NINE))
    assert judged.verdict is Verdict.REPRODUCED
    assert judged.paper_says == "lower AP25, −2.4 on ScanNet V2"
    assert judged.ours == "−3.0 [−5.3, −0.7] AP25, 3 vs 3 trainings"


def test_a_difference_with_a_unit():
    claim = gain("sr3d", "fcaf3d", -22.0, metric="latency_ms")
    tests = {("sr3d", "latency_ms"): around(42, 1), ("fcaf3d", "latency_ms"): around(64, 1)}
    judged = only(claim, MadeUp(tests))
    assert judged.paper_says == "lower latency, −22 ms on ScanNet V2"
    assert judged.ours == "−22 [−24, −20] ms, 5 vs 5 trainings"
    assert "sr3d lies below fcaf3d in latency" in judged.why


@pytest.mark.parametrize(("p", "sure"), [(0.049, True), (0.051, False)])
def test_the_level_is_five_per_cent(p, sure):
    shift = 0.1 * scipy_stats.t.isf(p / 2, 8)  # se = √(2 · 0.025 / 5) = 0.1
    judged = only(gain("a", "b", 0.1), ap25(a=around(70 + shift), b=around(70)))
    assert judged.p == pytest.approx(p)
    assert (judged.verdict is Verdict.REPRODUCED) == sure


@pytest.mark.parametrize("by", [0.3, None])
def test_a_significant_difference_the_other_way_is_not_reproduced(by):
    judged = only(gain("baseline", "sr3d", by), ap25(sr3d=TWELVE, baseline=NINE))
    assert judged.verdict is Verdict.NOT_REPRODUCED
    assert "baseline lies below sr3d" in judged.why
    assert "against the claim" in judged.why


def test_a_reproduced_difference_of_another_size_says_so():
    findings = ap25(sr3d=around(71), baseline=around(70))
    assert "outside our interval" in only(gain("sr3d", "baseline", 2.4), findings).why
    assert "outside our interval" not in only(gain("sr3d", "baseline", 1.0), findings).why


def test_without_significance_the_size_of_the_papers_difference_decides():
    # Half width 4.6: t(0.975, 8 df) = 2.306 times √(2 · 10 / 5) = 2.
    findings = ap25(sr3d=around(71, 2), baseline=around(70, 2))
    open_ = only(gain("sr3d", "baseline", 2.4), findings)
    assert open_.verdict is Verdict.CANNOT_TELL
    assert open_.ours == "+1.0 [−3.6, +5.6] AP25, 5 vs 5 trainings"
    assert open_.detectable is not None
    assert f"a true difference below {open_.detectable:.1f} AP25 would be missed" in open_.why
    assert only(gain("sr3d", "baseline", 5.6), findings).verdict is Verdict.CANNOT_TELL
    large = only(gain("sr3d", "baseline", 5.7), findings)
    assert large.verdict is Verdict.NOT_REPRODUCED
    assert large.why == "On ScanNet V2: a difference as large as the paper's +5.7 is excluded."
    assert only(gain("sr3d", "baseline", -3.7), findings).verdict is Verdict.NOT_REPRODUCED
    assert only(gain("sr3d", "baseline", -3.6), findings).verdict is Verdict.CANNOT_TELL


def test_a_difference_larger_than_the_papers_is_not_too_small_to_be_true():
    """Adjusted p above 5 %, the paper's +0.1 below our interval: that is no refutation."""
    pairs = {"a": TWELVE, "b": NINE, **{name: once(0, 1, 2) for name in "cdef"}}
    claims = [gain("a", "b", 0.1), gain("c", "d"), gain("e", "f"), gain("c", "f")]
    judged = judge(paper_of(*claims), ap25(**pairs))[0]
    assert judged.p == pytest.approx(4 * 0.021312, abs=1e-5)
    assert judged.ours.startswith("+3.0 [+0.7,")
    assert judged.verdict is Verdict.CANNOT_TELL


def test_holm_is_over_the_differences_of_one_table():
    """Three comparisons of table2 by hand and one of table4, which does not count among them."""
    values = {"base": [1.0, 2.0, 3.0], "a": [4.0, 5.0, 6.5], "b": [2.0, 4.0, 5.0], "c": [7, 8, 8.5]}
    claims = [gain("a", "base"), gain("b", "base"), gain("c", "base"), gain("b", "a", of="table4")]
    judged = judge(paper_of(*claims), ap25(**{s: once(*v) for s, v in values.items()}))
    welch = {
        s: scipy_stats.ttest_ind(values[s], values["base"], equal_var=False).pvalue for s in "abc"
    }
    assert welch["c"] < welch["a"] < welch["b"]
    # The smallest counts three times, the next twice, and none falls below the one before.
    c = 3 * welch["c"]
    a = max(c, 2 * welch["a"])
    b = max(a, welch["b"])
    assert [j.p for j in judged[:3]] == pytest.approx([a, b, c])
    alone = scipy_stats.ttest_ind(values["b"], values["a"], equal_var=False).pvalue
    assert judged[3].p == pytest.approx(alone)


def test_accuracy_and_cost_are_families_of_their_own():
    """A slow test of latency beside them leaves the p-values of AP and PCE as they are."""
    metrics = {"AP25": (TWELVE, NINE), "PCE": (TWELVE, NINE), "latency_ms": (once(1, 2, 4),) * 2}
    findings = MadeUp({(s, m): pair[i] for m, pair in metrics.items() for i, s in enumerate("ab")})
    claims = [gain("a", "b", id=metric, metric=metric) for metric in metrics]
    judged = judge(paper_of(*claims), findings)
    assert [j.p for j in judged] == pytest.approx([0.042624, 0.042624, 1.0], abs=1e-6)
    assert "after Holm over 2" in judged[0].why
    assert "after Holm over 1" in judged[2].why


def test_tests_of_the_same_trainings_are_judged_in_pairs():
    """Differences 1.0, 1.1, 1.3 of trainings that lie a point apart."""
    values = ap25(a=once(71.0, 72.1, 73.3), b=once(70, 71, 72)).tests
    ids = ["x", "y", "z"]
    paired = only(gain("a", "b"), MadeUp(values, tested={"a": ids, "b": ids}))
    expected = scipy_stats.ttest_rel([71.0, 72.1, 73.3], [70, 71, 72])
    assert paired.verdict is Verdict.REPRODUCED
    assert paired.p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval()
    assert paired.ours == f"+1.1 [+{low:.1f}, +{high:.1f}] AP25, 3 trainings, paired"
    apart = only(gain("a", "b"), MadeUp(values))
    assert apart.verdict is Verdict.CANNOT_TELL
    assert apart.ours.endswith("AP25, 3 vs 3 trainings")
    assert apart.detectable is not None
    assert paired.detectable is not None
    assert apart.detectable > 5 * paired.detectable


def test_a_difference_that_is_the_same_in_all_trainings_cannot_be_tested():
    ids = ["x", "y", "z"]
    values = ap25(a=once(70.3, 71.3, 72.3), b=once(70, 71, 72)).tests
    judged = only(gain("a", "b"), MadeUp(values, tested={"a": ids, "b": ids}))
    assert (judged.verdict, judged.p) == (Verdict.CANNOT_TELL, 1.0)
    assert "the difference is the same in all trainings" in judged.why


def test_claims_of_one_comparison_count_once_in_either_direction():
    findings = ap25(a=TWELVE, b=NINE)
    claims = [gain("a", "b"), gain("b", "a", -1.0), gain("a", "b", id="again", statistic="best")]
    assert [j.p for j in judge(paper_of(*claims), findings)] == pytest.approx(
        [0.021312] * 3, abs=1e-6
    )


def test_another_metric_is_another_comparison():
    findings = MadeUp(
        {(s, m): v for m in ("AP25", "AP50") for s, v in (("a", TWELVE), ("b", NINE))}
    )
    claims = [gain("a", "b"), gain("a", "b", id="ap50", metric="AP50")]
    assert [j.p for j in judge(paper_of(*claims), findings)] == pytest.approx(
        [0.042624] * 2, abs=1e-6
    )


def test_a_claim_on_best_tests_is_judged_on_means_and_says_so():
    """One lucky test lifts the best of b above a's, and its mean hardly."""
    lucky = [[8.0, 8.0], [9.0, 9.0], [7.0, 13.5]]
    claim = gain("a", "b", 0.3, statistic="best")
    judged = only(claim, ap25(a=[[11.0, 11.0], [12.0, 12.0], [13.0, 13.0]], b=lucky))
    assert judged.verdict is Verdict.REPRODUCED
    assert judged.paper_says == "higher AP25, +0.3 on ScanNet V2 (of the best)"
    assert "judged on means, not as the paper's on the best of all tests" in judged.why


def test_the_size_of_a_difference_of_bests_refutes_nothing():
    findings = ap25(a=around(71, 2), b=around(70, 2))
    assert only(gain("a", "b", 9.0), findings).verdict is Verdict.NOT_REPRODUCED
    assert only(gain("a", "b", 9.0, statistic="best"), findings).verdict is Verdict.CANNOT_TELL


def test_on_other_data_only_the_direction_is_judged():
    findings = ap25(a=around(71, 2), b=around(70, 2))
    rooms = MadeUp(findings.tests, dataset="synthetic")
    judged = only(gain("a", "b", 9.0), rooms)
    assert judged.verdict is Verdict.CANNOT_TELL
    assert judged.paper_says == "higher AP25, +9.0 on ScanNet V2"
    assert judged.why.startswith("On procedural rooms, where the paper does not claim it: ")
    sure = only(gain("a", "b"), MadeUp(ap25(a=TWELVE, b=NINE).tests, dataset="synthetic"))
    assert sure.verdict is Verdict.REPRODUCED
    assert sure.why.startswith("Also holds on procedural rooms, where the paper does not claim it")


def test_the_papers_number_of_the_data_at_hand_is_taken():
    claim = gain("a", "b", datasets=("scannet", "sunrgbd"), paper={"scannet": 1.0, "sunrgbd": 9.0})
    tests = ap25(a=around(71, 2), b=around(70, 2)).tests
    assert only(claim, MadeUp(tests)).verdict is Verdict.CANNOT_TELL
    on_sun = only(claim, MadeUp(tests, dataset="sunrgbd"))
    assert on_sun.verdict is Verdict.NOT_REPRODUCED
    assert on_sun.why.startswith("On SUN RGB-D: ")
    elsewhere = only(claim, MadeUp(tests, dataset="synthetic"))
    assert elsewhere.paper_says == "higher AP25, +1.0 on ScanNet V2 and +9.0 on SUN RGB-D"


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ({}, "sr3d and baseline have not run"),
        ({("sr3d", "AP25"): TWELVE}, "baseline has not run"),
        (
            {("sr3d", "AP25"): TWELVE, ("baseline", "AP50"): NINE},
            "the results of baseline lack AP25",
        ),
    ],
)
def test_a_side_without_results_is_not_run(tests, reason):
    judged = only(gain("sr3d", "baseline"), MadeUp(tests))
    assert judged.verdict is Verdict.NOT_RUN
    assert judged.why == f"On ScanNet V2: {reason}."
    assert (judged.ours, judged.p, judged.detectable) == ("–", None, None)


def test_one_training_on_a_side_cannot_tell():
    judged = only(gain("a", "b"), ap25(a=[[12.0, 14.0]], b=NINE))
    assert judged.verdict is Verdict.CANNOT_TELL
    assert judged.ours == "+4.0 AP25, 1 vs 3 trainings"
    assert (judged.p, judged.detectable) == (None, None)
    assert "one training of a does not show" in judged.why


@pytest.mark.parametrize("of_b", [0.0, 5.1])
def test_trainings_that_do_not_differ_tell_nothing(of_b):
    judged = only(gain("a", "b", 1.0), ap25(a=once(*[0.1 + 0.2] * 5), b=once(*[of_b] * 5)))
    assert judged.verdict is Verdict.CANNOT_TELL
    assert judged.p == 1.0
    assert "do not differ at all" in judged.why


def test_no_text_or_number_is_nan():
    sides = {"one": once(5), "five": around(5), "same": once(5, 5), "two": once(4, 5)}
    claims = [gain(a, b) for a in sides for b in sides if a != b]
    for judged in judge(paper_of(*claims), ap25(**sides)):
        assert "nan" not in f"{judged.ours} {judged.why}"
        assert judged.p is None or math.isfinite(judged.p)
        assert judged.detectable is None or math.isfinite(judged.detectable)


def test_of_selects_a_table_and_unknown_ones_are_refused():
    claims = paper_of(gain("a", "b"), gain("c", "d", of="fig6"))
    table = PaperTable(
        name="table2", title="", source="", datasets=(), metrics=("AP25",), prints="mean",
        trainings=5, tests=5, reference=None, rows=(),
    )  # fmt: skip
    paper = Paper({"table2": table, "open": table}, {}, claims.claims)
    assert [j.claim.id for j in judge(paper, MadeUp(), of="table2")] == ["a_over_b"]
    assert judge(paper, MadeUp(), of="open") == []
    assert [j.claim.id for j in judge(paper, MadeUp())] == ["a_over_b", "c_over_d"]
    with pytest.raises(InputError, match=r"tabel2.*table2"):
        judge(paper, MadeUp(), of="tabel2")


def test_an_unknown_data_set_is_refused():
    with pytest.raises(InputError, match="scanet"):
        judge(paper_of(gain("a", "b")), MadeUp(dataset="scanet"))


def test_cited_claims_and_the_count():
    cited = Cited(**ABOUT, id="dlla", reason="its code is not public")
    judged = judge(paper_of(gain("a", "b"), gain("c", "d"), cited), ap25(a=TWELVE, b=NINE))
    assert judged[2].verdict is Verdict.CITED
    assert (judged[2].why, judged[2].paper_says) == ("its code is not public", "it is so")
    assert count(judged) == {
        Verdict.REPRODUCED: 1,
        Verdict.NOT_REPRODUCED: 0,
        Verdict.CANNOT_TELL: 0,
        Verdict.NOT_RUN: 1,
        Verdict.CITED: 1,
    }
    assert list(count([])) == list(Verdict)


def test_the_papers_claims_on_runs_that_lie_on_disk(tmp_path):
    """Table 2's four settings, so that some claims are judged and most are not run."""
    make_tree(tmp_path, dataset="scannet", trainings=3, tests=2)
    paper = read_paper(Path(__file__).parents[2] / "workflow" / "tables.yaml")
    judged = {j.claim.id: j for j in judge(paper, Findings(tmp_path, "scannet"))}
    assert list(judged) == list(paper.claims)
    gained = next(j for j in judged.values() if _is_gain(j.claim, "sr3d", "baseline"))
    assert gained.ours == "+2.5 [+0.2, +4.8] AP25, 3 vs 3 trainings"
    assert any(j.verdict is Verdict.NOT_RUN for j in judged.values())
    for j in judged.values():
        ran = {"baseline", "spota", "ras", "sr3d"}.issuperset(settings_of_claim(j.claim))
        if isinstance(j.claim, Difference) and j.claim.metric == "AP25":
            assert (j.verdict is Verdict.NOT_RUN) == (not ran)


def _is_gain(claim, setting, over):
    return isinstance(claim, Difference) and (claim.setting, claim.over, claim.metric) == (
        setting,
        over,
        "AP25",
    )
