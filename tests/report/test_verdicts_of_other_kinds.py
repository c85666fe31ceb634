"""Verdicts on highest values, trends, curves, ratios and equal numbers."""

import math

import pytest
from scipy import stats as scipy_stats

from sr3d.report.paper import CurveBelow, Equal, Highest, RatioBelow, Trend
from sr3d.report.verdicts import Verdict, judge
from tests.report.made_up import ABOUT, MadeUp, around, once, paper_of

HIGHEST = Highest(**ABOUT, id="k", metric="AP25", setting="sr3d", among=("k5", "k7"))
FALLS = Trend(
    **ABOUT, id="mu", metric="AP25", direction="falls",
    along=((1, "sr3d"), (2, "mu_2"), (4, "mu_4")),
)  # fmt: skip
CURVE = CurveBelow(**ABOUT, id="aic", metric="AIC", setting="sr3d", over="baseline")
RATIO = RatioBelow(
    **ABOUT, id="time", metric="minutes_per_epoch", setting="sr3d", over="tr3d",
    limit=1.03, paper={"scannet": 12.6 / 12.3},
)  # fmt: skip
EQUAL = Equal(**ABOUT, id="size", metric="parameters", setting="sr3d", over="tr3d")


def only(claim, findings):
    (judged,) = judge(paper_of(claim), findings)
    return judged


def having(metric, **settings):
    return MadeUp({(name, metric): values for name, values in settings.items()})


def test_highest_is_reproduced_above_all_others():
    judged = only(HIGHEST, having("AP25", sr3d=around(72), k5=around(71), k7=around(71.5)))
    assert judged.verdict is Verdict.REPRODUCED
    assert judged.paper_says == "highest AP25 of 3 settings"
    # se = √(2 · 0.025 / 5) = 0.1, times t(0.975, 8 df) = 2.306.
    assert judged.ours == "+0.5 [+0.3, +0.7] AP25, 5 vs 5 trainings, over k7"
    assert judged.p == pytest.approx(2 * scipy_stats.t.sf(5, 8))  # the larger of two, Holm
    assert judged.detectable is not None
    assert "sr3d lies above k5 and k7" in judged.why


def test_highest_counts_every_comparison():
    """p = 0.03 against k7 holds alone or beside a sure one, and not beside an equal one."""
    t = scipy_stats.t.isf(0.015, 8)
    near = around(72 - 0.1 * t)
    sure = only(HIGHEST, having("AP25", sr3d=around(72), k5=around(60), k7=near))
    assert (sure.verdict, sure.p) == (Verdict.REPRODUCED, pytest.approx(0.03))
    both = only(HIGHEST, having("AP25", sr3d=around(72), k5=near, k7=near))
    assert (both.verdict, both.p) == (Verdict.CANNOT_TELL, pytest.approx(0.06))
    assert "k5 and k7 may lie as high or higher" in both.why


def test_highest_pairs_tests_of_the_same_trainings():
    """k5 tests the trainings of sr3d, each 0.1 below; k7 is trained by itself, far below."""
    near = once(71.9, 72.48, 73.77)
    values = having("AP25", sr3d=once(72, 72.6, 73.9), k5=near, k7=around(50)).tests
    ids = ["x", "y", "z"]
    paired = only(HIGHEST, MadeUp(values, tested={"sr3d": ids, "k5": ids, "k7": ["u"] * 5}))
    assert paired.verdict is Verdict.REPRODUCED
    assert paired.ours.endswith("3 trainings, paired, over k5")
    assert only(HIGHEST, MadeUp(values)).verdict is Verdict.CANNOT_TELL


def test_highest_is_not_reproduced_below_another():
    judged = only(HIGHEST, having("AP25", sr3d=around(72), k5=around(71), k7=around(73)))
    assert judged.verdict is Verdict.NOT_REPRODUCED
    assert judged.ours == "−1.0 [−1.2, −0.8] AP25, 5 vs 5 trainings, over k7"
    assert judged.p == pytest.approx(2 * 2 * scipy_stats.t.sf(10, 8))
    assert "k7 lies above sr3d" in judged.why


def test_highest_with_a_tie_cannot_be_told():
    judged = only(HIGHEST, having("AP25", sr3d=around(72), k5=around(71), k7=around(71.99)))
    assert judged.verdict is Verdict.CANNOT_TELL
    assert f"k7 may lie as high or higher, as a true difference below {judged.detectable:.1f}" in (
        judged.why
    )


def test_highest_stays_open_while_another_is_missing():
    judged = only(HIGHEST, having("AP25", sr3d=around(72), k5=around(71)))
    assert judged.verdict is Verdict.CANNOT_TELL
    assert judged.why == "On ScanNet V2: k7 lacks a second training."
    beaten = only(HIGHEST, having("AP25", sr3d=around(72), k5=around(73)))
    assert beaten.verdict is Verdict.NOT_REPRODUCED


def test_highest_without_results():
    assert only(HIGHEST, MadeUp()).verdict is Verdict.NOT_RUN
    others = only(HIGHEST, having("AP25", k5=around(71), k7=around(71)))
    assert (others.verdict, others.why) == (Verdict.NOT_RUN, "On ScanNet V2: sr3d has not run.")
    alone = only(HIGHEST, having("AP25", sr3d=around(72)))
    assert alone.why == "On ScanNet V2: k5 and k7 have not run."
    single = only(HIGHEST, having("AP25", sr3d=once(72), k5=around(71)))
    assert single.verdict is Verdict.CANNOT_TELL
    assert "one training of sr3d" in single.why


def test_a_trend_worked_by_hand():
    judged = only(FALLS, having("AP25", sr3d=around(72), mu_2=around(71), mu_4=around(69)))
    points = [
        (x, y)
        for x, values in ((1, around(72)), (2, around(71)), (4, around(69)))
        for [y] in values
    ]
    line = scipy_stats.linregress(*zip(*points, strict=True))
    assert judged.verdict is Verdict.REPRODUCED
    assert judged.p == pytest.approx(line.pvalue)
    assert judged.paper_says == "AP25 falls from sr3d to mu_4"
    # The three centres lie on a line of slope −1; s² = 0.3/13, Sxx = 5 · 14/3, t(13 df) = 2.1604.
    half = 2.1604 * math.sqrt(0.3 / 13 / (5 * 14 / 3))
    expected = f"−1 [−{1 + half:.3g}, −{1 - half:.3g}] AP25 a unit of the parameter, 3 settings"
    assert judged.ours == expected


def test_a_trend_along_the_logarithm_is_per_doubling():
    claim = Trend(**(vars(FALLS) | {"log": True}))
    judged = only(claim, having("AP25", sr3d=around(72), mu_2=around(70), mu_4=around(68)))
    assert judged.ours.startswith("−2 [")
    assert "AP25 a doubling" in judged.ours


@pytest.mark.parametrize(
    ("centres", "direction", "verdict"),
    [
        ((69, 71, 72), "falls", Verdict.NOT_REPRODUCED),
        ((69, 71, 72), "rises", Verdict.REPRODUCED),
        ((72, 71, 69), "rises", Verdict.NOT_REPRODUCED),
        ((70, 70.01, 70), "falls", Verdict.CANNOT_TELL),
        ((70, 70.01, 70), "rises", Verdict.CANNOT_TELL),
    ],
)
def test_the_sign_of_a_slope_decides(centres, direction, verdict):
    sides = dict(zip(("sr3d", "mu_2", "mu_4"), map(around, centres), strict=True))
    claim = Trend(**(vars(FALLS) | {"direction": direction}))
    assert only(claim, having("AP25", **sides)).verdict is verdict


def test_a_trend_of_equal_values_cannot_be_told():
    sides = {name: once(70, 70) for name in ("sr3d", "mu_2", "mu_4")}
    judged = only(FALLS, having("AP25", **sides))
    assert (judged.verdict, judged.p) == (Verdict.CANNOT_TELL, 1.0)


def test_trends_of_one_figure_and_one_kind_of_quantity_are_a_family():
    """The slope of AP25 alone has p = 0.03; beside another of AP50, which has none, 0.06."""
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
    assert alone.p == pytest.approx(0.03)
    assert alone.verdict is Verdict.REPRODUCED
    assert "after Holm over 1" in alone.why
    fifty, time, elsewhere = (
        Trend(**(vars(FALLS) | {"id": metric, "metric": metric, "of": of}))
        for metric, of in (("AP50", "table2"), ("latency_ms", "table2"), ("AP50", "fig8"))
    )
    judged = judge(paper_of(FALLS, fifty), findings)[0]
    assert judged.p == pytest.approx(0.06)
    assert judged.verdict is Verdict.CANNOT_TELL
    for other in (time, elsewhere):
        assert judge(paper_of(FALLS, other), findings)[0].p == pytest.approx(0.03)


def test_a_trend_leaves_out_what_has_not_run_and_says_so():
    claim = Trend(**(vars(FALLS) | {"along": (*FALLS.along, (8, "mu_8"))}))
    ran = having("AP25", sr3d=around(72), mu_2=around(71), mu_4=around(69))
    judged = only(claim, ran)
    assert judged.verdict is Verdict.REPRODUCED
    assert judged.why.endswith("; without mu_8.")
    assert "without" not in only(FALLS, ran).why


def test_a_trend_needs_three_settings():
    assert only(FALLS, MadeUp()).verdict is Verdict.NOT_RUN
    judged = only(FALLS, having("AP25", sr3d=around(72), mu_4=around(69)))
    assert (judged.verdict, judged.p) == (Verdict.CANNOT_TELL, None)
    assert "a trend needs 3 settings, and only sr3d and mu_4 ran" in judged.why


def lines(ours, theirs):
    return MadeUp(lines={("sr3d", "AIC"): ours, ("baseline", "AIC"): theirs})


def falling(start, trainings=3, epochs=4):
    return [[start - 0.02 * e + 0.001 * i for e in range(epochs)] for i in range(trainings)]


def test_a_curve_below_in_every_epoch():
    judged = only(CURVE, lines(falling(0.3), falling(0.4)))
    assert judged.verdict is Verdict.REPRODUCED
    # In each epoch the same: se = 0.001 √(2/3), 4 df; Holm multiplies by four.
    p = 4 * 2 * scipy_stats.t.sf(0.1 / (0.001 * math.sqrt(2 / 3)), 4)
    assert judged.p == pytest.approx(p, rel=1e-6)
    assert judged.ours == (
        "−0.100 AIC over the epochs, below in 4 and above in 0 of 4 epochs, 3 vs 3 trainings"
    )


def test_a_curve_above_in_one_epoch_is_not_below():
    ours = [[*row[:3], row[3] + 0.5] for row in falling(0.3)]
    judged = only(CURVE, lines(ours, falling(0.4)))
    assert judged.verdict is Verdict.NOT_REPRODUCED
    assert "below in 3 and above in 1 of 4 epochs" in judged.why


def test_a_curve_that_meets_the_other_cannot_be_told():
    ours = [[*row[:3], row[3] + 0.1] for row in falling(0.3)]
    judged = only(CURVE, lines(ours, falling(0.4)))
    assert judged.verdict is Verdict.CANNOT_TELL
    assert "below in 3 and above in 0 of 4 epochs" in judged.why
    assert f"a true difference below {judged.detectable:.3f} AIC" in judged.why


def test_curves_are_adjusted_over_the_epochs():
    """Each epoch alone has p = 0.02, which four epochs of Holm's rule make 0.08."""
    gap = 0.001 * math.sqrt(2 / 3) * scipy_stats.t.isf(0.01, 4)
    ours, theirs = falling(0.3), falling(0.3 + gap)
    assert only(CURVE, lines(ours, theirs)).p == pytest.approx(0.08, rel=1e-6)
    assert only(CURVE, lines(ours, theirs)).verdict is Verdict.CANNOT_TELL
    alone = lines([row[:1] for row in ours], [row[:1] for row in theirs])
    assert only(CURVE, alone).verdict is Verdict.REPRODUCED


def test_curves_of_other_lengths_are_compared_where_both_are():
    judged = only(CURVE, lines(falling(0.3, epochs=6), falling(0.4)))
    assert judged.verdict is Verdict.REPRODUCED
    assert "of 4 epochs" in judged.ours
    assert judged.why.endswith("; the last 2 epochs of sr3d have no counterpart.")


def test_an_epoch_of_one_training_leaves_the_claim_open():
    """Two of three trainings stopped after two epochs, and one value is no number."""
    cut = [row[:2] for row in falling(0.3)[:2]]
    judged = only(CURVE, lines([*cut, falling(0.3)[2]], falling(0.4)))
    assert judged.verdict is Verdict.CANNOT_TELL
    assert "below in 2 and above in 0 of 4 epochs" in judged.why
    broken = [[math.nan, *row[1:]] for row in falling(0.3)]
    judged = only(CURVE, lines(broken, falling(0.4)))
    assert judged.verdict is Verdict.CANNOT_TELL
    assert "below in 3" in judged.why
    assert "nan" not in judged.ours + judged.why


def test_curves_without_results():
    assert only(CURVE, MadeUp()).why == "On ScanNet V2: sr3d and baseline have not run."
    assert only(CURVE, lines([], falling(0.4))).verdict is Verdict.NOT_RUN
    assert only(CURVE, lines([[], []], falling(0.4))).verdict is Verdict.NOT_RUN
    single = only(CURVE, lines(falling(0.3, trainings=1), falling(0.4)))
    assert (single.verdict, single.p) == (Verdict.CANNOT_TELL, None)
    apart = [[0.3], []]
    assert only(CURVE, lines(apart, falling(0.4))).verdict is Verdict.CANNOT_TELL


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        ((10.05, 10.1, 10.15), Verdict.REPRODUCED),
        ((10.9, 11.0, 11.1), Verdict.NOT_REPRODUCED),
        ((10.25, 10.3, 10.35), Verdict.CANNOT_TELL),
    ],
)
def test_a_ratio_is_judged_by_its_interval(seconds, verdict):
    sides = {"sr3d": once(*seconds), "tr3d": once(9.95, 10.0, 10.05)}
    judged = only(RATIO, having("minutes_per_epoch", **sides))
    assert judged.verdict is verdict
    a, b = ([math.log(x) for x in xs] for xs in (seconds, (9.95, 10.0, 10.05)))
    low, high = scipy_stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    interval = f"[{math.exp(low):.3f}, {math.exp(high):.3f}]"
    assert interval in judged.ours
    assert interval in judged.why
    assert judged.ours.endswith(" in time an epoch, 3 vs 3 trainings")
    assert judged.paper_says == "below ×1.03 in time an epoch, ×1.024 on ScanNet V2"


def test_a_ratio_of_tests_of_the_same_trainings_is_paired():
    """Twice as slow on one machine as on another, and always by 1 to 2 %."""
    time = "minutes_per_epoch"
    values = having(time, sr3d=once(10.1, 20.4, 40.6), tr3d=once(10, 20, 40)).tests
    ids = ["x", "y", "z"]
    paired = only(RATIO, MadeUp(values, tested={"sr3d": ids, "tr3d": ids}))
    assert paired.verdict is Verdict.REPRODUCED
    assert paired.ours.endswith(" in time an epoch, 3 trainings, paired")
    assert only(RATIO, MadeUp(values)).verdict is Verdict.CANNOT_TELL


def test_a_ratio_of_too_little():
    time = "minutes_per_epoch"
    assert only(RATIO, having(time, sr3d=once(1, 2))).why == "On ScanNet V2: tr3d has not run."
    one = only(RATIO, having(time, sr3d=once(1), tr3d=once(1, 2)))
    assert (one.verdict, one.ours) == (Verdict.CANNOT_TELL, "–")
    same = only(RATIO, having(time, sr3d=once(9, 9), tr3d=once(10, 10)))
    assert same.verdict is Verdict.CANNOT_TELL
    zero = only(RATIO, having(time, sr3d=once(0, 1), tr3d=once(1, 2)))
    assert zero.verdict is Verdict.CANNOT_TELL
    assert "not above zero" in zero.why


def sized(**parameters):
    return MadeUp(summaries={name: {"parameters": n} for name, n in parameters.items()})


def test_equal_numbers_of_parameters():
    judged = only(EQUAL, sized(sr3d=14_700_000, tr3d=14_700_000))
    assert judged.verdict is Verdict.REPRODUCED
    assert judged.ours == "14,700,000 and 14,700,000 parameters"
    assert judged.why == "On ScanNet V2: sr3d and tr3d have the same parameters."
    more = only(EQUAL, sized(sr3d=14_700_001, tr3d=14_700_000))
    assert more.verdict is Verdict.NOT_REPRODUCED
    assert "different parameters" in more.why


def test_equal_numbers_of_what_has_not_run():
    assert only(EQUAL, sized(sr3d=1)).why == "On ScanNet V2: tr3d has not run."
    lacking = MadeUp(summaries={"sr3d": {"parameters": 1}, "tr3d": {"parameters": None}})
    judged = only(EQUAL, lacking)
    assert judged.verdict is Verdict.NOT_RUN
    assert judged.why == "On ScanNet V2: the results of tr3d lack parameters."


def test_other_kinds_say_that_they_hold_elsewhere():
    rooms = MadeUp(summaries=sized(sr3d=1, tr3d=1).summaries, dataset="synthetic")
    assert only(EQUAL, rooms).why.startswith("Also holds on procedural rooms")
