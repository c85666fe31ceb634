"""Verdicts on directions and amounts, and the results of `judge` and `count`."""

import math
from pathlib import Path

import pytest
from scipy import stats as scipy_stats

from sr3d.errors import Kind
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import (
    AmountClaim,
    CitedClaim,
    DifferenceClaim,
    printed_dataset,
    read_paper,
    settings_of_claim,
)
from sr3d.study.report.verdicts import Direction, Size, Verdict, count, judge
from tests.make_runs import make_tree
from tests.refusals import refuses
from tests.report.made_up import ABOUT, MadeUp, amount, around, gain, once, paper_of
from tests.report.printed import numbers_in

# Welch by hand: means 12 and 9, variances 1 and 1 of three each, so se = √(2/3), df = 4,
# t = 3.674235, p = 0.021312; t(0.975, 4 df) = 2.776445 times se = 2.266958.
TWELVE, NINE = once(11, 12, 13), once(8, 9, 10)


def only(claim, findings):
    (judged,) = judge(paper_of(claim), findings)
    return judged


def codes(judged):
    return judged.verdict, judged.direction, judged.size


def says(judged, *parts):
    """Whether the paper's side is printed with this number and these names, and no other number."""
    number, *names = parts
    return numbers_in(judged.paper_says) == [number] and all(n in judged.paper_says for n in names)


def ap25(**settings):
    return MadeUp({(name, "AP25"): values for name, values in settings.items()})


def test_a_difference_worked_by_hand():
    judged = only(gain("sr3d", "baseline", 2.4), ap25(sr3d=TWELVE, baseline=NINE))
    assert codes(judged) == (Verdict.REPRODUCED, Direction.THERE, Size.INSIDE)
    assert says(judged, "+2.4", "AP25", "ScanNet V2")
    assert judged.ours.startswith("+3.0 [+0.7, +5.3] AP25")
    assert numbers_in(judged.ours) == ["+3.0", "+0.7", "+5.3", "3", "3"]  # and training runs
    numbers = judged.numbers
    assert numbers.value == pytest.approx(3)
    assert numbers.interval == pytest.approx((3 - 2.266958, 3 + 2.266958))
    assert numbers.simultaneous == pytest.approx(numbers.interval)  # a family of one
    assert numbers.p_for == numbers.p == pytest.approx(0.021312, abs=1e-6)
    assert numbers.p_against == 1.0
    assert numbers.p_amount == pytest.approx(2 * scipy_stats.t.sf(0.6 / math.sqrt(2 / 3), 4))
    assert numbers.detectable > 2.266958  # more than what is significant, at 80 % power


def test_a_drop_is_reproduced_as_a_drop():
    for kind in (gain, amount):
        judged = only(kind("baseline", "sr3d", -2.4), ap25(sr3d=TWELVE, baseline=NINE))
        assert codes(judged) == (Verdict.REPRODUCED, Direction.THERE, Size.INSIDE)
        assert says(judged, "−2.4", "AP25", "ScanNet V2")
        assert judged.ours.startswith("−3.0 [−5.3, −0.7] AP25")


def test_a_difference_with_a_unit():
    claim = gain("sr3d", "fcaf3d", -22.0, metric="latency_ms")
    tests = {("sr3d", "latency_ms"): around(42, 1), ("fcaf3d", "latency_ms"): around(64, 1)}
    judged = only(claim, MadeUp(tests))
    assert says(judged, "−22", "latency", "−22 ms", "ScanNet V2")
    assert judged.ours.startswith("−22 [−24, −20] ms")


@pytest.mark.parametrize(("p", "sure"), [(0.049, True), (0.051, False)])
def test_the_level_is_five_per_cent(p, sure):
    shift = 0.1 * scipy_stats.t.isf(p / 2, 8)  # se = √(2 · 0.025 / 5) = 0.1
    shown = only(gain("a", "b", 0.1), ap25(a=around(70 + shift), b=around(70)))
    assert shown.numbers.p_for == pytest.approx(p)
    assert (shown.direction is Direction.THERE) == sure
    opposite = only(gain("b", "a", None), ap25(a=around(70 + shift), b=around(70)))
    assert opposite.numbers.p_against == pytest.approx(p)
    assert (opposite.direction is Direction.OPPOSITE) == sure
    amounts = only(amount("a", "b", 1.0), ap25(a=around(71 + shift), b=around(70)))
    assert amounts.numbers.p_amount == pytest.approx(p)
    assert (amounts.size is Size.OUTSIDE) == sure


@pytest.mark.parametrize("by", [0.3, None])
def test_a_significant_difference_the_other_way_is_not_reproduced(by):
    judged = only(gain("baseline", "sr3d", by), ap25(sr3d=TWELVE, baseline=NINE))
    assert judged.verdict is Verdict.NOT_REPRODUCED
    assert judged.direction is Direction.OPPOSITE
    assert judged.size is (Size.OUTSIDE if by else Size.NO_AMOUNT)


# Half width 4.6: t(0.975, 8 df) = 2.306 times √(2 · 10 / 5) = 2.
WIDE = {"sr3d": around(71, 2), "baseline": around(70, 2)}
NARROW = {"sr3d": around(71), "baseline": around(70)}


@pytest.mark.parametrize(
    ("values", "by", "direction", "size", "of_direction", "of_amount"),
    [
        (NARROW, 1.0, "there", "inside", "reproduced", "reproduced"),
        (NARROW, 2.4, "there", "outside", "reproduced", "not_reproduced"),
        (NARROW, 0.2, "there", "outside", "reproduced", "not_reproduced"),
        (WIDE, 5.6, "inconclusive", "inside", "inconclusive", "inconclusive"),
        (WIDE, 5.7, "inconclusive", "outside", "inconclusive", "not_reproduced"),
        (WIDE, -3.6, "inconclusive", "inside", "inconclusive", "inconclusive"),
        (WIDE, -3.7, "inconclusive", "outside", "inconclusive", "not_reproduced"),
    ],
)
def test_direction_and_amount_are_judged_apart(
    values, by, direction, size, of_direction, of_amount
):
    """The claim of an amount needs both. For a claim of a direction the amount is also judged."""
    for kind, verdict in ((gain, of_direction), (amount, of_amount)):
        judged = only(kind("sr3d", "baseline", by), ap25(**values))
        found = tuple(code.value for code in codes(judged))
        assert found == (verdict, direction, size)


def test_a_large_effect_does_not_make_only_a_little_true():
    """At +8 AP, a claim of +0.1 is right in direction but not in amount."""
    findings = ap25(a=around(78), b=around(70))
    assert codes(only(amount("a", "b", 0.1), findings)) == (
        Verdict.NOT_REPRODUCED, Direction.THERE, Size.OUTSIDE,
    )  # fmt: skip


def test_holm_is_over_the_claims_of_one_table():
    """Three comparisons of table2 by hand. The comparison of table4 does not count among them."""
    values = {"base": [1.0, 2.0, 3.0], "a": [4.0, 5.0, 6.5], "b": [2.0, 4.0, 5.0], "c": [7, 8, 8.5]}
    claims = [gain("a", "base"), gain("b", "base"), gain("c", "base"), gain("b", "a", of="table4")]
    judged = judge(paper_of(*claims), ap25(**{s: once(*v) for s, v in values.items()}))
    welch = {
        s: scipy_stats.ttest_ind(values[s], values["base"], equal_var=False).pvalue for s in "abc"
    }
    assert welch["c"] < welch["a"] < welch["b"]
    # The smallest p counts three times, the next twice, and none is below a smaller one.
    c = 3 * welch["c"]
    a = max(c, 2 * welch["a"])
    b = max(a, welch["b"])
    assert [j.numbers.p_for for j in judged[:3]] == pytest.approx([a, b, c])
    assert [j.numbers.family for j in judged] == [3, 3, 3, 1]
    # In the other direction, so that the claim's p is for its denial only.
    alone = scipy_stats.ttest_ind(values["b"], values["a"], equal_var=False).pvalue
    assert judged[3].numbers.p_against == pytest.approx(alone)


def test_refutations_are_adjusted_as_confirmations_are():
    """Each p is 0.02 unadjusted: 0.04 in a family of two, 0.08 in a family of four."""
    t = scipy_stats.t.isf(0.01, 8)
    for names, p in (("ab", 0.04), ("abcd", 0.08)):
        for number, kind in ((None, gain), (0.1 * t, amount)):
            centre = 70 - 0.1 * t if number is None else 70 + 0.2 * t
            of = {s: around(centre) for s in names} | {"base": around(70)}
            judged = judge(paper_of(*(kind(s, "base", number) for s in names)), ap25(**of))
            for one in judged:
                found = one.numbers.p_against if number is None else one.numbers.p_amount
                assert found == pytest.approx(p)
                assert (one.verdict is Verdict.NOT_REPRODUCED) == (p < 0.05)


def test_simultaneous_intervals_are_bonferronis():
    claims = [gain(s, "b") for s in "acd"]
    judged = judge(paper_of(*claims), ap25(**dict.fromkeys("abcd", around(70))))
    half = 0.1 * scipy_stats.t.isf(0.025 / 3, 8)
    for one in judged:
        assert one.numbers.simultaneous == pytest.approx((-half, half), abs=1e-9)
        assert one.numbers.interval == pytest.approx((-0.2306, 0.2306), abs=1e-4)
        assert f"[{-half:.1f}".replace("-", "−") in one.ours


def test_where_holm_is_sharper_than_the_interval_it_is_said():
    """p 0.03 beside a tiny p is 0.03 after Holm. Bonferroni's interval of two still includes 0."""
    near = around(70 + 0.1 * scipy_stats.t.isf(0.015, 8))
    claims = [gain("a", "base", None), gain("b", "base", None)]
    findings = ap25(a=around(80), b=near, base=around(70))
    sure, close = judge(paper_of(*claims), findings)
    assert (close.direction, close.numbers.p_for) == (Direction.THERE, pytest.approx(0.03))
    low, high = close.numbers.simultaneous
    assert low < 0 < high
    assert (sure.numbers.sharper, close.numbers.sharper) == (False, True)


def test_accuracy_and_cost_are_families_of_their_own():
    """An inconclusive test of latency does not change the p-values of AP and PCE."""
    metrics = {"AP25": (TWELVE, NINE), "PCE": (TWELVE, NINE), "latency_ms": (once(1, 2, 4),) * 2}
    findings = MadeUp({(s, m): pair[i] for m, pair in metrics.items() for i, s in enumerate("ab")})
    claims = [gain("a", "b", id=metric, metric=metric) for metric in metrics]
    judged = judge(paper_of(*claims), findings)
    assert [j.numbers.p_for for j in judged] == pytest.approx([0.042624, 0.042624, 1.0], abs=1e-6)
    assert [j.numbers.family for j in judged] == [2, 2, 1]


def test_tests_of_the_same_trainings_are_judged_in_pairs():
    """Differences 1.0, 1.1, 1.3 of training runs that lie a point apart."""
    values = ap25(a=once(71.0, 72.1, 73.3), b=once(70, 71, 72)).tests
    ids = ["x", "y", "z"]
    paired = only(gain("a", "b"), MadeUp(values, tested={"a": ids, "b": ids}))
    expected = scipy_stats.ttest_rel([71.0, 72.1, 73.3], [70, 71, 72])
    assert paired.verdict is Verdict.REPRODUCED
    assert paired.numbers.p_for == pytest.approx(expected.pvalue)
    assert paired.numbers.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert numbers_in(paired.ours)[3:] == ["3"]
    assert "paired" in paired.ours
    apart = only(gain("a", "b"), MadeUp(values))
    assert apart.verdict is Verdict.INCONCLUSIVE
    assert numbers_in(apart.ours)[3:] == ["3", "3"]
    assert "paired" not in apart.ours
    assert apart.numbers.detectable > 5 * paired.numbers.detectable


def test_a_difference_that_is_the_same_in_all_trainings_cannot_be_tested():
    ids = ["x", "y", "z"]
    values = ap25(a=once(70.3, 71.3, 72.3), b=once(70, 71, 72)).tests
    judged = only(amount("a", "b", 5.0), MadeUp(values, tested={"a": ids, "b": ids}))
    assert codes(judged) == (Verdict.INCONCLUSIVE, Direction.INCONCLUSIVE, Size.NOT_TESTED)
    assert (judged.numbers.p, judged.numbers.p_amount) == (1.0, None)


def test_claims_of_one_comparison_count_once_in_either_direction():
    findings = ap25(a=TWELVE, b=NINE)
    claims = [gain("a", "b"), gain("b", "a", -1.0), amount("a", "b", 1.0, id="again")]
    judged = judge(paper_of(*claims[::2]), findings)
    best = amount("a", "b", 0.4, id="best", statistic="best")
    judged += judge(paper_of(*claims[::2], best), findings)
    assert [j.numbers.p_for for j in judged] == pytest.approx([0.021312] * 5, abs=1e-6)
    assert {j.numbers.family for j in judged} == {1}


def test_two_amounts_of_one_comparison_are_two_hypotheses():
    claims = [amount("a", "b", 3.0), amount("a", "b", 9.0, id="again")]
    near, far = judge(paper_of(*claims), ap25(a=TWELVE, b=NINE))
    assert near.numbers.family == far.numbers.family == 2
    assert near.numbers.p_amount == 1.0
    assert far.numbers.p_amount == pytest.approx(2 * 2 * scipy_stats.t.sf(6 / math.sqrt(2 / 3), 4))


def test_another_metric_is_another_comparison():
    findings = MadeUp(
        {(s, m): v for m in ("AP25", "AP50") for s, v in (("a", TWELVE), ("b", NINE))}
    )
    claims = [gain("a", "b"), gain("a", "b", id="ap50", metric="AP50")]
    judged = judge(paper_of(*claims), findings)
    assert [j.numbers.p_for for j in judged] == pytest.approx([0.042624] * 2, abs=1e-6)


def test_an_amount_of_best_tests_has_its_direction_judged_on_means():
    """One lucky evaluation lifts the best of b above a's, but hardly its mean."""
    lucky = [[8.0, 8.0], [9.0, 9.0], [7.0, 13.5]]
    claim = amount("a", "b", 0.3, statistic="best")
    judged = only(claim, ap25(a=[[11.0, 11.0], [12.0, 12.0], [13.0, 13.0]], b=lucky))
    assert codes(judged) == (Verdict.DIRECTION_ONLY, Direction.THERE, Size.OF_BESTS)
    assert says(judged, "+0.3", "AP25", "ScanNet V2", "best")
    wide = only(amount("sr3d", "baseline", 9.0, statistic="best"), ap25(**WIDE))
    assert codes(wide) == (Verdict.INCONCLUSIVE, Direction.INCONCLUSIVE, Size.OF_BESTS)


def test_on_other_data_only_the_direction_is_judged():
    wide = MadeUp(ap25(**WIDE).tests, dataset="synthetic")
    judged = only(amount("sr3d", "baseline", 9.0), wide)
    assert codes(judged) == (Verdict.INCONCLUSIVE, Direction.INCONCLUSIVE, Size.OTHER_DATA)
    assert judged.numbers.p_amount is None
    assert says(judged, "+9.0", "AP25", "ScanNet V2")
    sure = MadeUp(ap25(a=TWELVE, b=NINE).tests, dataset="synthetic")
    for claim, verdict, size in (
        (gain("a", "b", 9.0), Verdict.REPRODUCED, Size.OTHER_DATA),
        (gain("a", "b", None), Verdict.REPRODUCED, Size.NO_AMOUNT),
        (amount("a", "b", 9.0), Verdict.DIRECTION_ONLY, Size.OTHER_DATA),
    ):
        assert codes(only(claim, sure)) == (verdict, Direction.THERE, size)
    assert only(amount("b", "a", 9.0), sure).verdict is Verdict.NOT_REPRODUCED
    known, other = only(gain("a", "b"), ap25(a=TWELVE, b=NINE)), only(gain("a", "b"), sure)
    assert printed_dataset("scannet").label in known.why
    assert printed_dataset("synthetic").label in other.why


def test_the_papers_number_of_the_data_at_hand_is_taken():
    about = {"datasets": ("scannet", "sunrgbd"), "paper": {"scannet": 1.0, "sunrgbd": 9.0}}
    claim = amount("sr3d", "baseline", 1.0, **about)
    tests = ap25(**WIDE).tests
    assert only(claim, MadeUp(tests)).size is Size.INSIDE
    assert only(claim, MadeUp(tests, dataset="sunrgbd")).size is Size.OUTSIDE
    elsewhere = only(claim, MadeUp(tests, dataset="synthetic"))
    assert numbers_in(elsewhere.paper_says) == ["+1.0", "+9.0"]
    assert all(name in elsewhere.paper_says for name in ("AP25", "ScanNet V2", "SUN RGB-D"))
    without = amount("sr3d", "baseline", 1.0, datasets=("scannet", "sunrgbd"))
    assert only(without, MadeUp(tests, dataset="sunrgbd")).size is Size.NO_AMOUNT


@pytest.mark.parametrize(
    ("tests", "named"),
    [
        ({}, ["sr3d", "baseline"]),
        ({("sr3d", "AP25"): TWELVE}, ["baseline"]),
        ({("sr3d", "AP25"): TWELVE, ("baseline", "AP50"): NINE}, ["baseline", "AP25"]),
    ],
)
def test_a_side_without_results_is_not_run(tests, named):
    judged = only(gain("sr3d", "baseline"), MadeUp(tests))
    assert codes(judged) == (Verdict.NOT_RUN, Direction.NOT_JUDGED, Size.NOT_TESTED)
    assert all(name in judged.why for name in named)
    assert ("sr3d" in judged.why) == ("sr3d" in named)
    assert (judged.ours, judged.numbers) == ("–", None)


def test_one_training_on_a_side_cannot_tell():
    judged = only(gain("a", "b"), ap25(a=[[12.0, 14.0]], b=NINE))
    assert codes(judged) == (Verdict.INCONCLUSIVE, Direction.INCONCLUSIVE, Size.NOT_TESTED)
    assert judged.ours.startswith("+4.0 AP25")
    assert numbers_in(judged.ours) == ["+4.0", "1", "3"]
    assert judged.numbers is None


@pytest.mark.parametrize("of_b", [0.0, 5.1])
def test_trainings_that_do_not_differ_tell_nothing(of_b):
    judged = only(gain("a", "b", 1.0), ap25(a=once(*[0.1 + 0.2] * 5), b=once(*[of_b] * 5)))
    assert codes(judged) == (Verdict.INCONCLUSIVE, Direction.INCONCLUSIVE, Size.NOT_TESTED)
    assert judged.numbers.p == 1.0


def test_no_text_or_number_is_nan():
    sides = {"one": once(5), "five": around(5), "same": once(5, 5), "two": once(4, 5)}
    claims = [gain(a, b) for a in sides for b in sides if a != b]
    for judged in judge(paper_of(*claims), ap25(**sides)):
        assert "nan" not in f"{judged.ours} {judged.why}"
        if judged.numbers is not None:
            numbers = (judged.numbers.p, judged.numbers.detectable, *judged.numbers.simultaneous)
            assert all(map(math.isfinite, numbers))


def test_an_unknown_data_set_is_refused():
    with refuses(Kind.UNKNOWN, mentions=["'scanet'", "'scannet'"]):
        judge(paper_of(gain("a", "b")), MadeUp(dataset="scanet"))


def test_cited_claims_and_the_count():
    cited = CitedClaim(**ABOUT, id="dlla", reason="its code is not public")
    judged = judge(paper_of(gain("a", "b"), gain("c", "d"), cited), ap25(a=TWELVE, b=NINE))
    assert codes(judged[2]) == (Verdict.NOT_CHECKABLE, Direction.NOT_JUDGED, Size.NOT_TESTED)
    assert (judged[2].why, judged[2].paper_says) == ("its code is not public", "it is so")
    assert {v: n for v, n in count(judged).items() if n} == {
        Verdict.REPRODUCED: 1,
        Verdict.NOT_RUN: 1,
        Verdict.NOT_CHECKABLE: 1,
    }
    assert list(count([])) == list(Verdict)


def test_the_papers_claims_on_runs_that_lie_on_disk(tmp_path):
    """The four settings of Table 2: some claims are judged and most are not run."""
    make_tree(tmp_path, dataset="scannet", trainings=3, tests=2)
    paper = read_paper(Path(__file__).parents[2] / "workflow" / "tables.yaml")
    judged = {j.claim.id: j for j in judge(paper, Findings(tmp_path, "scannet"))}
    assert list(judged) == list(paper.claims)
    gained = judged["sr3d_ap25"]
    assert gained.numbers.interval == pytest.approx((2.5 - 2.267, 2.5 + 2.267), abs=0.001)
    assert gained.numbers.family == 10
    assert any(j.verdict is Verdict.NOT_RUN for j in judged.values())
    for j in judged.values():
        ran = {"baseline", "spota", "ras", "sr3d"}.issuperset(settings_of_claim(j.claim))
        if isinstance(j.claim, DifferenceClaim | AmountClaim) and j.claim.metric == "AP25":
            assert (j.verdict is Verdict.NOT_RUN) == (not ran)
