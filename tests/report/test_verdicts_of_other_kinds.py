"""Verdicts on highest values, trends, curves and equal numbers."""

import math
import re

import pytest
from scipy import stats as scipy_stats

from sr3d.study.report.paper import (
    CurveBelowClaim,
    EqualClaim,
    HighestClaim,
    TrendClaim,
    printed_dataset,
    settings_of_claim,
)
from sr3d.study.report.verdicts import Direction, Verdict, judge
from tests.report.made_up import ABOUT, MadeUp, around, gain, once, paper_of
from tests.report.printed import numbers_in

HIGHEST = HighestClaim(**ABOUT, id="k", metric="AP25", setting="sr3d", among=("k5", "k7"))
FALLS = TrendClaim(
    **ABOUT, id="mu", metric="AP25", direction="falls",
    along=((1, "sr3d"), (2, "mu_2"), (4, "mu_4")),
)  # fmt: skip
CURVE = CurveBelowClaim(**ABOUT, id="aic", metric="AIC", setting="sr3d", over="baseline")
EQUAL = EqualClaim(**ABOUT, id="size", metric="parameters", setting="sr3d", over="tr3d")


def only(claim, findings):
    (judged,) = judge(paper_of(claim), findings)
    return judged


def having(metric, **settings):
    return MadeUp({(name, metric): values for name, values in settings.items()})


def assert_not_run(judged, *absent):
    """The reason names the data and these settings, and no other setting."""
    assert judged.verdict is Verdict.NOT_RUN
    assert "ScanNet V2" in judged.why
    named = {s for s in settings_of_claim(judged.claim) if re.search(rf"\b{s}\b", judged.why)}
    assert named == set(absent)


def test_highest_is_reproduced_above_all_others():
    judged = only(HIGHEST, having("AP25", sr3d=around(72), k5=around(71), k7=around(71.5)))
    assert (judged.verdict, judged.direction) == (Verdict.REPRODUCED, Direction.THERE)
    assert "AP25" in judged.paper_says
    assert numbers_in(judged.paper_says) == ["3"]  # settings
    assert judged.ours.startswith("+0.5 [")
    assert "k7" in judged.ours
    numbers = judged.numbers
    assert numbers.value == pytest.approx(0.5)
    # se = √(2 · 0.025 / 5) = 0.1. The setting must lie above all others, so the larger p counts.
    assert numbers.p_for == pytest.approx(2 * scipy_stats.t.sf(5, 8))
    assert numbers.p_against == 1.0
    # The lower end comes from k7 only. Above it either setting may be the nearest.
    low, high = 0.5 - 0.1 * scipy_stats.t.isf(0.025, 8), 0.5 + 0.1 * scipy_stats.t.isf(0.0125, 8)
    assert numbers.interval == pytest.approx((low, high))


def test_highest_needs_no_adjustment_to_lie_above_all():
    """p = 0.03 against each of two others. The claim is false as soon as one of them is above."""
    near = around(72 - 0.1 * scipy_stats.t.isf(0.015, 8))
    for other in (around(60), near):
        judged = only(HIGHEST, having("AP25", sr3d=around(72), k5=other, k7=near))
        assert judged.verdict is Verdict.REPRODUCED
        assert judged.numbers.p_for == pytest.approx(0.03)


def test_highest_is_refuted_by_any_of_the_others():
    """p = 0.03 below one of two others counts twice."""
    above = around(72 + 0.1 * scipy_stats.t.isf(0.015, 8))
    judged = only(HIGHEST, having("AP25", sr3d=around(72), k5=around(60), k7=above))
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.numbers.p_against == pytest.approx(0.06)


def test_highest_pairs_tests_of_the_same_trainings():
    """k5 evaluates the training runs of sr3d, each 0.1 below. k7 has its own, far below."""
    near = once(71.9, 72.48, 73.77)
    values = having("AP25", sr3d=once(72, 72.6, 73.9), k5=near, k7=around(50)).tests
    ids = ["x", "y", "z"]
    paired = only(HIGHEST, MadeUp(values, tested={"sr3d": ids, "k5": ids, "k7": ["u"] * 5}))
    assert paired.verdict is Verdict.REPRODUCED
    assert numbers_in(paired.ours)[3:] == ["3"]
    assert all(word in paired.ours for word in ("k5", "paired"))
    assert only(HIGHEST, MadeUp(values)).verdict is Verdict.INCONCLUSIVE


def test_highest_is_not_reproduced_below_another():
    judged = only(HIGHEST, having("AP25", sr3d=around(72), k5=around(71), k7=around(73)))
    assert (judged.verdict, judged.direction) == (Verdict.NOT_REPRODUCED, Direction.OPPOSITE)
    assert judged.numbers.value == pytest.approx(-1.0)
    assert judged.numbers.p_against == pytest.approx(2 * 2 * scipy_stats.t.sf(10, 8))


def test_highest_with_a_tie_is_inconclusive():
    judged = only(HIGHEST, having("AP25", sr3d=around(72), k5=around(71), k7=around(71.99)))
    assert (judged.verdict, judged.direction) == (Verdict.INCONCLUSIVE, Direction.INCONCLUSIVE)
    assert f"{judged.numbers.detectable:.1f} AP25" in judged.why


def test_highest_stays_open_while_another_is_missing():
    judged = only(HIGHEST, having("AP25", sr3d=around(72), k5=around(71)))
    assert (judged.verdict, judged.numbers.p_for) == (Verdict.INCONCLUSIVE, 1.0)
    assert "k7" in judged.why
    beaten = only(HIGHEST, having("AP25", sr3d=around(72), k5=around(73)))
    assert beaten.verdict is Verdict.NOT_REPRODUCED


def test_highest_without_results():
    assert only(HIGHEST, MadeUp()).verdict is Verdict.NOT_RUN
    others = only(HIGHEST, having("AP25", k5=around(71), k7=around(71)))
    assert_not_run(others, "sr3d")
    alone = only(HIGHEST, having("AP25", sr3d=around(72)))
    assert_not_run(alone, "k5", "k7")
    single = only(HIGHEST, having("AP25", sr3d=once(72), k5=around(71)))
    assert (single.verdict, single.numbers) == (Verdict.INCONCLUSIVE, None)


def test_a_trend_worked_by_hand():
    judged = only(FALLS, having("AP25", sr3d=around(72), mu_2=around(71), mu_4=around(69)))
    points = [
        (x, y)
        for x, values in ((1, around(72)), (2, around(71)), (4, around(69)))
        for [y] in values
    ]
    line = scipy_stats.linregress(*zip(*points, strict=True))
    assert (judged.verdict, judged.direction) == (Verdict.REPRODUCED, Direction.THERE)
    assert judged.numbers.p_for == pytest.approx(line.pvalue)
    assert all(name in judged.paper_says for name in ("AP25", "falls", "sr3d", "mu_4"))
    # The three centres lie on a line of slope −1; s² = 0.3/13, Sxx = 5 · 14/3, t(13 df) = 2.1604.
    half = 2.1604 * math.sqrt(0.3 / 13 / (5 * 14 / 3))
    assert judged.ours.startswith(f"−1 [−{1 + half:.3g}, −{1 - half:.3g}] AP25")
    assert numbers_in(judged.ours)[3:] == ["3"]  # settings


def test_a_trend_along_the_logarithm_is_per_doubling():
    claim = TrendClaim(**(vars(FALLS) | {"log": True}))
    judged = only(claim, having("AP25", sr3d=around(72), mu_2=around(70), mu_4=around(68)))
    assert judged.ours.startswith("−2 [")
    assert "doubling" in judged.ours


@pytest.mark.parametrize(
    ("centres", "direction", "found"),
    [
        ((69, 71, 72), "falls", Direction.OPPOSITE),
        ((69, 71, 72), "rises", Direction.THERE),
        ((72, 71, 69), "rises", Direction.OPPOSITE),
        ((70, 70.01, 70), "falls", Direction.INCONCLUSIVE),
        ((70, 70.01, 70), "rises", Direction.INCONCLUSIVE),
    ],
)
def test_the_sign_of_a_slope_decides(centres, direction, found):
    sides = dict(zip(("sr3d", "mu_2", "mu_4"), map(around, centres), strict=True))
    claim = TrendClaim(**(vars(FALLS) | {"direction": direction}))
    assert only(claim, having("AP25", **sides)).direction is found


def test_a_trend_of_equal_values_cannot_be_told():
    sides = {name: once(70, 70) for name in ("sr3d", "mu_2", "mu_4")}
    judged = only(FALLS, having("AP25", **sides))
    assert (judged.verdict, judged.numbers.p) == (Verdict.INCONCLUSIVE, 1.0)


def test_trends_of_one_figure_and_one_kind_of_quantity_are_a_family():
    """The slope of AP25 alone has p = 0.03, and 0.06 beside a slope of AP50 that is zero."""
    # Slope s, s² = 30/13, Sxx = 5 · 14/3: t is s / √(30/13 / Sxx) on 13 df.
    slope = scipy_stats.t.isf(0.015, 13) * math.sqrt(30 / 13 / (5 * 14 / 3))
    falling = {"sr3d": 72, "mu_2": 72 - slope, "mu_4": 72 - 3 * slope}
    flat = {name: around(70, 1) for name in falling}
    findings = MadeUp(
        {(s, "AP25"): around(centre, 1) for s, centre in falling.items()}
        | {(s, "AP50"): v for s, v in flat.items()}
        | {(s, "latency_ms"): v for s, v in flat.items()}
    )
    alone = only(FALLS, findings)
    assert (alone.numbers.p_for, alone.numbers.family) == (pytest.approx(0.03), 1)
    assert alone.verdict is Verdict.REPRODUCED
    fifty, time, elsewhere = (
        TrendClaim(**(vars(FALLS) | {"id": metric, "metric": metric, "of": of}))
        for metric, of in (("AP50", "table2"), ("latency_ms", "table2"), ("AP50", "fig8"))
    )
    judged = judge(paper_of(FALLS, fifty), findings)[0]
    assert judged.numbers.p_for == pytest.approx(0.06)
    assert judged.verdict is Verdict.INCONCLUSIVE
    for other in (time, elsewhere):
        judged = judge(paper_of(FALLS, other), findings)[0]
        assert judged.numbers.p_for == pytest.approx(0.03)


def test_all_kinds_of_claims_of_a_figure_are_one_family():
    """A trend, a highest value and a difference of Fig. 8 on AP25 count together."""
    sides = {"sr3d": around(72), "mu_2": around(71), "mu_4": around(69)}
    highest = HighestClaim(**ABOUT, id="top", metric="AP25", setting="sr3d", among=("mu_2", "mu_4"))
    claims = (FALLS, highest, gain("sr3d", "mu_2", None))
    judged = judge(paper_of(*claims), having("AP25", **sides))
    assert [j.numbers.family for j in judged] == [3, 3, 3]


def test_a_trend_leaves_out_what_has_not_run_and_says_so():
    claim = TrendClaim(**(vars(FALLS) | {"along": (*FALLS.along, (8, "mu_8"))}))
    ran = having("AP25", sr3d=around(72), mu_2=around(71), mu_4=around(69))
    judged = only(claim, ran)
    assert judged.verdict is Verdict.REPRODUCED
    assert "mu_8" in judged.why
    assert "mu_8" not in only(FALLS, ran).why


def test_a_trend_needs_three_settings():
    assert only(FALLS, MadeUp()).verdict is Verdict.NOT_RUN
    judged = only(FALLS, having("AP25", sr3d=around(72), mu_4=around(69)))
    assert (judged.verdict, judged.numbers) == (Verdict.INCONCLUSIVE, None)
    assert all(name in judged.why for name in ("sr3d", "mu_4"))


def lines(ours, theirs):
    return MadeUp(lines={("sr3d", "AIC"): ours, ("baseline", "AIC"): theirs})


def falling(start, trainings=3, epochs=4):
    return [[start - 0.02 * e + 0.001 * i for e in range(epochs)] for i in range(trainings)]


def test_a_curve_below_in_every_epoch():
    judged = only(CURVE, lines(falling(0.3), falling(0.4)))
    assert (judged.verdict, judged.direction) == (Verdict.REPRODUCED, Direction.THERE)
    # The same in each epoch: se = 0.001 √(2/3), 4 df. It must be below in all: p is not adjusted.
    numbers = judged.numbers
    p = 2 * scipy_stats.t.sf(0.1 / (0.001 * math.sqrt(2 / 3)), 4)
    assert numbers.p_for == pytest.approx(p, rel=1e-6)
    assert numbers.value == pytest.approx(-0.1)
    low, high = (scipy_stats.t.isf(a, 4) * 0.001 * math.sqrt(2 / 3) for a in (0.025 / 4, 0.025))
    assert numbers.interval == pytest.approx((-0.1 - low, -0.1 + high))
    assert numbers_in(judged.ours)[3:] == ["3", "3"]  # training runs


def test_a_curve_above_in_one_epoch_is_not_below():
    ours = [[*row[:3], row[3] + 0.5] for row in falling(0.3)]
    judged = only(CURVE, lines(ours, falling(0.4)))
    assert (judged.verdict, judged.direction) == (Verdict.NOT_REPRODUCED, Direction.OPPOSITE)
    assert judged.numbers.value == pytest.approx(0.4)
    assert {"3", "4"} <= set(numbers_in(judged.why))  # epochs


def test_a_curve_that_meets_the_other_is_inconclusive():
    ours = [[*row[:3], row[3] + 0.1] for row in falling(0.3)]
    judged = only(CURVE, lines(ours, falling(0.4)))
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert f"{judged.numbers.detectable:.3f} AIC" in judged.why


def test_curves_are_adjusted_over_the_epochs_where_any_can_refute():
    """Each epoch has p = 0.02 unadjusted. It is 0.02 for below in all, 0.08 for above in any."""
    gap = 0.001 * math.sqrt(2 / 3) * scipy_stats.t.isf(0.01, 4)
    ours, theirs = falling(0.3), falling(0.3 + gap)
    below, above = only(CURVE, lines(ours, theirs)), only(CURVE, lines(theirs, ours))
    assert (below.verdict, above.verdict) == (Verdict.REPRODUCED, Verdict.INCONCLUSIVE)
    assert below.numbers.p_for == pytest.approx(0.02, rel=1e-6)
    assert above.numbers.p_against == pytest.approx(0.08, rel=1e-6)


def test_curves_of_other_lengths_are_compared_where_both_are():
    judged = only(CURVE, lines(falling(0.3, epochs=6), falling(0.4)))
    assert judged.verdict is Verdict.REPRODUCED
    assert "2" in numbers_in(judged.why)  # epochs
    assert "sr3d" in judged.why


def test_an_epoch_of_one_training_leaves_the_claim_open():
    """Two of three training runs stopped after two epochs, and one value is not a number."""
    cut = [row[:2] for row in falling(0.3)[:2]]
    judged = only(CURVE, lines([*cut, falling(0.3)[2]], falling(0.4)))
    assert (judged.verdict, judged.numbers.p_for) == (Verdict.INCONCLUSIVE, 1.0)
    broken = [[math.nan, *row[1:]] for row in falling(0.3)]
    judged = only(CURVE, lines(broken, falling(0.4)))
    assert (judged.verdict, judged.numbers.p_for) == (Verdict.INCONCLUSIVE, 1.0)
    assert "nan" not in judged.ours + judged.why


def test_curves_without_results():
    assert_not_run(only(CURVE, MadeUp()), "sr3d", "baseline")
    assert only(CURVE, lines([], falling(0.4))).verdict is Verdict.NOT_RUN
    assert only(CURVE, lines([[], []], falling(0.4))).verdict is Verdict.NOT_RUN
    single = only(CURVE, lines(falling(0.3, trainings=1), falling(0.4)))
    assert (single.verdict, single.numbers) == (Verdict.INCONCLUSIVE, None)
    apart = [[0.3], []]
    assert only(CURVE, lines(apart, falling(0.4))).verdict is Verdict.INCONCLUSIVE


def sized(**parameters):
    return MadeUp(summaries={name: {"parameters": n} for name, n in parameters.items()})


def test_equal_numbers_of_parameters():
    judged = only(EQUAL, sized(sr3d=14_700_000, tr3d=14_700_000))
    assert (judged.verdict, judged.direction) == (Verdict.REPRODUCED, Direction.ABSENT)
    assert numbers_in(judged.ours) == ["14,700,000"] * 2
    more = only(EQUAL, sized(sr3d=14_700_001, tr3d=14_700_000))
    assert (more.verdict, more.direction) == (Verdict.NOT_REPRODUCED, Direction.THERE)


def test_equal_numbers_of_what_has_not_run():
    assert_not_run(only(EQUAL, sized(sr3d=1)), "tr3d")
    lacking = MadeUp(summaries={"sr3d": {"parameters": 1}, "tr3d": {"parameters": None}})
    judged = only(EQUAL, lacking)
    assert_not_run(judged, "tr3d")
    assert "parameters" in judged.why


def test_other_kinds_say_that_they_hold_elsewhere():
    rooms = MadeUp(summaries=sized(sr3d=1, tr3d=1).summaries, dataset="synthetic")
    judged = only(EQUAL, rooms)
    assert judged.verdict is Verdict.REPRODUCED
    assert printed_dataset("synthetic").label in judged.why
    assert printed_dataset("scannet").label not in judged.why
