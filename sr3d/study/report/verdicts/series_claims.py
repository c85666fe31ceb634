"""Claims that combine several comparisons: the highest of several, a trend, a curve below another.

The distance to the nearest of several settings is above zero only if all distances are. So the
p of the denial is the largest p of the single tests, without adjustment (an intersection–union
test, Berger 1982). The distance is below zero if any distance is. So the p of the claim is the
smallest p, times the number of tests. The largest difference of two curves over the epochs is
tested in the same way. Curves belong to training runs, so two settings never share one.

The training runs of the settings along a trend are assumed to be independent. None of the settings
may evaluate another's training runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from sr3d.study import statistics as stats
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import CurveBelowClaim, HighestClaim, TrendClaim, signed
from sr3d.study.report.setting_comparisons import compare_settings
from sr3d.study.report.verdicts.evidence import (
    ClaimCase,
    Evidence,
    Texts,
    names_in_print,
    p_not_above,
    p_not_below,
    without_values,
)
from sr3d.study.report.verdicts.judgement import (
    Judgement,
    Size,
    Verdict,
    behind,
    called,
    per_step,
    unit,
    verb,
    versus,
)
from sr3d.study.statistics import Comparison, Interval, compare, simultaneous


def case_of_highest(
    claim: HighestClaim, findings: Findings, labels: Mapping[str, str]
) -> ClaimCase:
    """The claim in print."""
    says = f"highest {called(claim.metric)} of {len(claim.among) + 1} settings"
    return ClaimCase(claim, says, findings, labels)


def evidence_of_highest(case: ClaimCase, claim: HighestClaim) -> Evidence | Judgement:
    """Test the distance to the nearest other setting. A setting without runs leaves it open."""
    others = claim.among
    means = case.means(claim.setting, *others)
    if not means[claim.setting]:
        return case.not_run(claim.setting)
    if not any(means[s] for s in others):
        return case.not_run(*others)
    compared = {
        s: found
        for s in others
        if (found := compare_settings(case.findings, claim.setting, s, claim.metric)) is not None
    }
    if not compared:
        return case.one_training(means)
    untested = [s for s in others if s not in compared]
    higher = [1.0] * len(untested) + [p_not_above(c.estimate) for c in compared.values()]
    lower = [p_not_below(c.estimate) for c in compared.values()]
    nearest = min(compared, key=lambda s: compared[s].difference)
    return Evidence(
        question=("highest", claim.metric, claim.setting, frozenset(others)),
        p_for=max(higher),
        p_against=min(1.0, len(lower) * min(lower)),
        amount=Size.NO_AMOUNT,
        value=compared[nearest].difference,
        interval=partial(_interval_to_nearest, list(compared.values())),
        write=partial(signed, claim.metric),
        unit=f"{unit(claim.metric)} to {case.names(nearest)}, {behind(compared[nearest])}",
        detectable=max(c.detectable for c in compared.values()),
        texts=_texts_of_highest(case, claim, compared, untested),
    )


def _interval_to_nearest(compared: Sequence[Comparison], confidence: float) -> Interval:
    """Interval of the distance to the nearest. Each end is as sharp as its test."""
    lows = [c.estimate.interval(confidence)[0] for c in compared]
    each = simultaneous(len(compared), confidence)
    highs = [c.estimate.interval(each)[1] for c in compared]
    return min(lows), min(highs)


def _texts_of_highest(
    case: ClaimCase,
    claim: HighestClaim,
    compared: Mapping[str, Comparison],
    untested: Sequence[str],
) -> Texts:
    name = case.names(claim.setting)
    nearest = min(compared, key=lambda s: compared[s].difference)
    reason = f"{case.names(nearest)} may lie as high or higher"
    if untested:
        reason += f", and {case.names(*untested)} {verb(untested, 'lacks')} a second training run"
    return Texts(
        shown=f"{name} lies above {case.names(*claim.among)}",
        refuted=f"{case.names(nearest)} lies above {name}",
        open=reason,
    )


POINTS_OF_A_TREND = 3


def case_of_trend(claim: TrendClaim, findings: Findings, labels: Mapping[str, str]) -> ClaimCase:
    """The claim in print."""
    settings = [setting for _, setting in claim.along]
    first, last = (names_in_print(labels, settings[i]) for i in (0, -1))
    says = f"{called(claim.metric)} {claim.direction} from {first} to {last}"
    return ClaimCase(claim, says, findings, labels)


def evidence_of_trend(case: ClaimCase, claim: TrendClaim) -> Evidence | Judgement:
    """Test the slope of a straight line through the training means, with `log` per doubling.

    Settings without runs are omitted, and named, as long as three are left.
    """
    metric = called(claim.metric)
    settings = [setting for _, setting in claim.along]
    absent = without_values(case.means(*settings))
    ran = [s for s in settings if s not in absent]
    if not ran:
        return case.not_run(*absent)
    line = _line(claim, case.findings)
    if line is None:
        only = case.names(*ran)
        reason = f"a trend needs {POINTS_OF_A_TREND} settings, and only {only} ran"
        return case.untested(Verdict.INCONCLUSIVE, reason)
    p_for, p_against = p_not_above(line.estimate), p_not_below(line.estimate)
    if claim.direction == "falls":
        p_for, p_against = p_against, p_for
    other = "falls" if claim.direction == "rises" else "rises"
    per = "a doubling" if claim.log else "a unit of the parameter"
    return Evidence(
        question=("trend", claim.metric, claim.along, claim.direction, claim.log),
        p_for=p_for,
        p_against=p_against,
        amount=Size.NO_AMOUNT,
        value=line.slope,
        interval=line.estimate.interval,
        write=per_step,
        unit=f"{metric} {per}, {len(ran)} settings",
        detectable=None,
        texts=Texts(
            shown=f"{metric} {claim.direction}",
            refuted=f"{metric} {other} instead",
            open="no slope is shown",
        ),
        remark=f"without {case.names(*absent)}" if absent else "",
    )


def _line(claim: TrendClaim, findings: Findings) -> stats.Trend | None:
    """The line through the settings with runs, if there are enough."""
    points = [
        (math.log2(value) if claim.log else value, means)
        for value, setting in claim.along
        if (means := findings.means(setting, claim.metric))
    ]
    if len(points) < POINTS_OF_A_TREND:
        return None
    return stats.trend([x for x, _ in points], [means for _, means in points])


def case_of_curve(
    claim: CurveBelowClaim, findings: Findings, labels: Mapping[str, str]
) -> ClaimCase:
    """The claim in print."""
    return ClaimCase(claim, f"lower {called(claim.metric)} in every epoch", findings, labels)


def evidence_of_curve(case: ClaimCase, claim: CurveBelowClaim) -> Evidence | Judgement:
    """Test the largest difference over the epochs that both curves have.

    An epoch with fewer than two training runs on a side leaves the claim open.
    """
    metric = called(claim.metric)
    curves = {s: case.findings.curves(s, claim.metric) for s in (claim.setting, claim.over)}
    if absent := [s for s, rows in curves.items() if not any(rows)]:
        return case.not_run(*absent)
    a, b = curves.values()
    if min(len(a), len(b)) < 2:
        return case.one_training(curves)
    epochs = _by_epoch(a, b)
    compared = [c for c in epochs if c is not None]
    if not compared:
        reason = "no epoch has two training runs on both sides"
        return case.untested(Verdict.INCONCLUSIVE, reason)
    lower = [1.0] * (len(epochs) - len(compared)) + [p_not_below(c.estimate) for c in compared]
    higher = [p_not_above(c.estimate) for c in compared]
    highest = max(compared, key=lambda c: c.difference)
    count = sum(c.difference < 0 for c in compared)
    where = f"lower on average in {count} of {len(compared)} epochs"
    name, other = case.names(claim.setting), case.names(claim.over)
    return Evidence(
        question=("below", claim.metric, claim.setting, claim.over),
        p_for=max(lower),
        p_against=min(1.0, len(higher) * min(higher)),
        amount=Size.NO_AMOUNT,
        value=highest.difference,
        interval=partial(_interval_of_largest, compared),
        write=partial(signed, claim.metric),
        unit=f"{metric} in the epoch of the largest difference, {versus(len(a), len(b))}",
        detectable=max(c.detectable for c in compared),
        texts=Texts(
            shown=f"{name} lies below {other} in every epoch",
            refuted=f"{name} lies above {other} in an epoch or more. It is {where}",
            open=f"{name} is {where}",
        ),
        remark=_untested(case, curves, len(epochs), len(epochs) - len(compared)),
    )


def _interval_of_largest(compared: Sequence[Comparison], confidence: float) -> Interval:
    """Interval of the largest difference. Each end is as sharp as its test."""
    each = simultaneous(len(compared), confidence)
    lows = [c.estimate.interval(each)[0] for c in compared]
    highs = [c.estimate.interval(confidence)[1] for c in compared]
    return max(lows), max(highs)


def _by_epoch(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]
) -> list[Comparison | None]:
    """Compare curves[training][epoch] in every epoch that both sides have."""
    epochs = min(max(map(len, a)), max(map(len, b)))
    return [compare(_values_at(a, epoch), _values_at(b, epoch)) for epoch in range(epochs)]


def _values_at(rows: Sequence[Sequence[float]], epoch: int) -> list[float]:
    return [row[epoch] for row in rows if epoch < len(row) and math.isfinite(row[epoch])]


def _untested(
    case: ClaimCase, curves: Mapping[str, Sequence[Sequence[float]]], common: int, without: int
) -> str:
    """The omitted epochs in words, among the `common` ones and beyond them."""
    longer = {s: n for s, rows in curves.items() if (n := max(map(len, rows))) > common}
    remarks = [
        f"the last {n - common} epochs of {case.names(s)} have no counterpart"
        for s, n in longer.items()
    ]
    if without:
        remarks.append(f"epochs without two training runs on both sides: {without}")
    return ", and ".join(remarks)
