"""Verdicts on "about the same", "only about" and "at most"."""

import math

import pytest
from scipy import stats as scipy_stats

from sr3d.study.report.paper import AtMostClaim, EquivalenceClaim, read_paper
from sr3d.study.report.verdicts import Direction, Size, Verdict, judge
from tests.report.made_up import ABOUT, MadeUp, around, once, paper_of
from tests.report.printed import numbers_in
from tests.shared_data import ROOT

PAPER = read_paper(ROOT / "workflow" / "tables.yaml")
TIME = "minutes_per_epoch"
LIMIT = AtMostClaim(
    **ABOUT, id="time", metric=TIME, setting="sr3d", over="tr3d",  # type: ignore[arg-type]
    limit=1.03, limit_reason="the limit is the paper's own", paper={"scannet": 12.6 / 12.3},
)  # fmt: skip
ONLY = EquivalenceClaim(
    **ABOUT, id="only", metric="AP25", setting="a", over="b", scale="difference",
    margin=0.7, margin_reason="so the test has it", paper={"scannet": 0.1},
)  # fmt: skip
SPEED = EquivalenceClaim(
    **ABOUT, id="speed", metric="latency_ms", setting="sr3d", over="tr3d", scale="ratio",
    margin=1.05, margin_reason="so the test has it", paper={"scannet": 1.0},
)  # fmt: skip


def only(claim, findings):
    (judged,) = judge(paper_of(claim), findings)
    return judged


def having(metric, **settings):
    return MadeUp({(name, metric): values for name, values in settings.items()})


@pytest.mark.parametrize(
    ("gain", "spread", "verdict", "direction", "size"),
    [
        (0.1, 0.1, "reproduced", "absent", "inside"),
        (0.4, 0.1, "reproduced", "absent", "outside"),  # below the margin, and more than 0.1
        (-0.3, 0.1, "reproduced", "absent", "outside"),
        (0.5, 0.1, "inconclusive", "inconclusive", "outside"),
        (0.1, 1.0, "inconclusive", "inconclusive", "inside"),
        (0.7, 0.1, "inconclusive", "inconclusive", "outside"),
        (1.0, 0.1, "not_reproduced", "beyond_margin", "outside"),
        (8.0, 0.1, "not_reproduced", "beyond_margin", "outside"),
        (-35.0, 3.0, "not_reproduced", "beyond_margin", "outside"),
    ],
)
def test_only_about_is_judged_by_its_margin(gain, spread, verdict, direction, size):
    """Half width 0.23 at a spread of 0.1, margin 0.7, the paper's amount 0.1."""
    judged = only(ONLY, having("AP25", a=around(70 + gain, spread), b=around(70, spread)))
    found = judged.verdict.value, judged.direction.value, judged.size.value
    assert found == (verdict, direction, size)


def test_an_equivalence_worked_by_hand():
    """se = 0.1 with 8 df. The larger of two one-sided p, doubled to match the 95 % interval."""
    numbers = only(ONLY, having("AP25", a=around(70.4), b=around(70))).numbers
    assert numbers.p_for == pytest.approx(2 * scipy_stats.t.sf(3, 8))
    assert numbers.p_against == 1.0
    assert numbers.p_amount == pytest.approx(2 * scipy_stats.t.sf(3, 8))
    low, high = numbers.interval
    assert -0.7 < low < high < 0.7
    numbers = only(ONLY, having("AP25", a=around(69.0), b=around(70))).numbers
    assert numbers.p_against == pytest.approx(2 * scipy_stats.t.sf(3, 8))
    assert numbers.p_for == 1.0


def test_the_margin_and_its_reason_are_printed():
    judged = only(ONLY, having("AP25", a=around(70), b=around(70)))
    assert "±0.7" in judged.paper_says
    assert "+0.1 on ScanNet V2" in judged.paper_says
    assert "±0.7" in judged.why
    assert ONLY.margin_reason in judged.why
    judged = only(LIMIT, having(TIME, sr3d=once(10, 10.1), tr3d=once(10, 10.1)))
    assert LIMIT.limit_reason.split()[-1] in judged.why


def test_on_other_data_an_equivalence_is_judged_by_its_margin_and_not_by_its_amount():
    for gain, verdict in ((0.0, Verdict.REPRODUCED), (8.0, Verdict.NOT_REPRODUCED)):
        tests = having("AP25", a=around(70 + gain), b=around(70)).tests
        judged = only(ONLY, MadeUp(tests, dataset="synthetic"))
        assert (judged.verdict, judged.size) == (verdict, Size.OTHER_DATA)


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        (42.0, Verdict.REPRODUCED),
        (43.5, Verdict.REPRODUCED),
        (40.5, Verdict.REPRODUCED),
        (44.1, Verdict.INCONCLUSIVE),  # ×1.05
        (46.0, Verdict.NOT_REPRODUCED),
        (38.0, Verdict.NOT_REPRODUCED),  # faster by a tenth is no "virtually the same", either
    ],
)
def test_a_ratio_is_about_one_on_either_side(ours, verdict):
    sides = {"sr3d": around(ours, 0.1), "tr3d": around(42.0, 0.1)}
    judged = only(SPEED, having("latency_ms", **sides))
    assert judged.verdict is verdict
    a, b = ([math.log(x) for [x] in values] for values in sides.values())
    low, high = scipy_stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert judged.numbers.interval == pytest.approx((math.exp(low), math.exp(high)))
    assert f"[×{math.exp(low):.3f}, ×{math.exp(high):.3f}]" in judged.ours


@pytest.mark.parametrize(
    ("minutes", "verdict", "direction"),
    [
        ((9.0, 9.05, 9.1), Verdict.REPRODUCED, Direction.ABSENT),  # faster is fine for a limit
        ((10.05, 10.1, 10.15), Verdict.REPRODUCED, Direction.ABSENT),
        ((10.9, 11.0, 11.1), Verdict.NOT_REPRODUCED, Direction.BEYOND),
        ((10.25, 10.3, 10.35), Verdict.INCONCLUSIVE, Direction.INCONCLUSIVE),
    ],
)
def test_a_limit_is_judged_on_one_side(minutes, verdict, direction):
    sides = {"sr3d": once(*minutes), "tr3d": once(9.95, 10.0, 10.05)}
    judged = only(LIMIT, having(TIME, **sides))
    assert (judged.verdict, judged.direction) == (verdict, direction)
    a, b = ([math.log(x) for [x] in values] for values in sides.values())
    test = scipy_stats.ttest_ind([x - math.log(1.03) for x in a], b, equal_var=False)
    one_sided = test.pvalue if test.statistic < 0 else 2 - test.pvalue
    assert judged.numbers.p_for == pytest.approx(min(1, one_sided))
    assert "×1.03" in judged.paper_says
    assert "×1.024 on ScanNet V2" in judged.paper_says


def test_limits_are_adjusted_over_their_family():
    """p = 0.03 unadjusted is 0.06 beside another limit that is as close."""
    logs = scipy_stats.t.isf(0.015, 8) * 0.001
    values = [10 * math.exp(0.001 * step) for step in (-2, -1, 0, 1, 2)]
    ours = [value * 1.03 / math.exp(logs) for value in values]
    claims = [LIMIT, AtMostClaim(**(vars(LIMIT) | {"id": "again", "setting": "b"}))]
    findings = having(TIME, sr3d=once(*ours), b=once(*ours), tr3d=once(*values))
    assert only(LIMIT, findings).numbers.p_for == pytest.approx(0.03, rel=1e-3)
    for judged in judge(paper_of(*claims), findings):
        assert judged.numbers.p_for == pytest.approx(0.06, rel=1e-3)
        assert judged.verdict is Verdict.INCONCLUSIVE


def test_a_ratio_of_tests_of_the_same_trainings_is_paired():
    """Twice as slow on one machine as on the other, and always by 1 to 2 %."""
    values = having(TIME, sr3d=once(10.1, 20.4, 40.6), tr3d=once(10, 20, 40)).tests
    ids = ["x", "y", "z"]
    paired = only(LIMIT, MadeUp(values, tested={"sr3d": ids, "tr3d": ids}))
    assert paired.verdict is Verdict.REPRODUCED
    assert numbers_in(paired.ours)[3:] == ["3"]
    assert "paired" in paired.ours
    assert only(LIMIT, MadeUp(values)).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("claim", [LIMIT, ONLY, SPEED], ids=lambda claim: claim.id)
def test_bounds_of_too_little(claim):
    metric, a, b = claim.metric, claim.setting, claim.over
    absent = only(claim, having(metric, **{a: once(1, 2)}))
    assert (absent.verdict, absent.numbers) == (Verdict.NOT_RUN, None)
    one = only(claim, having(metric, **{a: once(1), b: once(1, 2)}))
    assert (one.verdict, one.numbers) == (Verdict.INCONCLUSIVE, None)
    same = only(claim, having(metric, **{a: once(9, 9), b: once(10, 10)}))
    assert (same.verdict, same.numbers.p) == (Verdict.INCONCLUSIVE, 1.0)
    assert same.size is Size.NOT_TESTED


def test_a_ratio_needs_values_above_zero():
    zero = only(LIMIT, having(TIME, sr3d=once(0, 1), tr3d=once(1, 2)))
    assert (zero.verdict, zero.numbers) == (Verdict.INCONCLUSIVE, None)


@pytest.mark.parametrize("name", ["true_centerness_ap25", "true_centerness_ap50"])
def test_the_papers_only_about_is_no_longer_shown_by_a_large_gain(name):
    claim = PAPER.claims[name]
    large = MadeUp(
        {(claim.setting, claim.metric): around(78), (claim.over, claim.metric): around(70)}
    )
    assert only(claim, large).verdict is Verdict.NOT_REPRODUCED
    number = claim.paper["scannet"]
    right = MadeUp(
        {
            (claim.setting, claim.metric): around(70 + number, 0.05),
            (claim.over, claim.metric): around(70, 0.05),
        }
    )
    judged = only(claim, right)
    assert (judged.verdict, judged.direction) == (Verdict.REPRODUCED, Direction.ABSENT)
    assert judged.size is Size.INSIDE
