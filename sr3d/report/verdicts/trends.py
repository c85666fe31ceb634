"""Claims about a metric along a parameter, and about curves along the epochs.

Both take the trainings of their settings for independent. Curves are of trainings, so two settings
never share one; none of the settings along a trend may be tests of another's trainings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from sr3d import stats
from sr3d.report.families import adjust, family_of
from sr3d.report.findings import Findings
from sr3d.report.paper import Claim, CurveBelow, Trend, signed
from sr3d.report.verdicts.evidence import ALPHA, Case, names_in_print, p_of, without_values
from sr3d.report.verdicts.judged import Judged, Verdict
from sr3d.report.verdicts.wording import (
    called,
    missed,
    p_value,
    per_step,
    versus,
)
from sr3d.stats import Comparison, compare, holm

POINTS_OF_A_TREND = 3


@dataclass(frozen=True)
class Line:
    """A fitted line with its p-value, adjusted over the `family` trends of its figure."""

    line: stats.Trend
    p: float
    family: int


def fit_trends(claims: Sequence[Claim], findings: Findings) -> dict[str, Line]:
    """Fit the line of every Trend claim for which enough settings ran, by its id.

    The p-values are adjusted by Holm's rule over all such claims of a table or figure on the same
    kind of quantity.
    """
    fitted = {
        claim: line
        for claim in claims
        if isinstance(claim, Trend) and (line := _fit(claim, findings)) is not None
    }
    adjusted = adjust(
        {claim: line.p for claim, line in fitted.items()},
        lambda claim: (claim.of, family_of(claim.metric)),
    )
    return {claim.id: Line(line, *adjusted[claim]) for claim, line in fitted.items()}


def judge_trend(
    claim: Trend, findings: Findings, labels: Mapping[str, str], fitted: Line | None
) -> Judged:
    """Judge the slope of a straight line through the training means; with `log`, per doubling.

    Settings that have not run are left out, and said to be, as long as three are left. fitted: the
    claim's entry of `fit_trends`.
    """
    metric = called(claim.metric)
    settings = [setting for _, setting in claim.along]
    first, last = (names_in_print(labels, settings[i]) for i in (0, -1))
    says = f"{metric} {claim.direction} from {first} to {last}"
    case = Case(claim, says, findings, labels)
    absent = without_values(case.means(*settings))
    ran = [s for s in settings if s not in absent]
    if not ran:
        return case.not_run(*absent)
    if fitted is None:
        only = case.names(*ran)
        reason = f"a trend needs {POINTS_OF_A_TREND} settings, and only {only} ran"
        return case.judged(Verdict.CANNOT_TELL, reason)
    line, p = fitted.line, f"{p_value(fitted.p)} after Holm over {fitted.family}"
    per = "a doubling" if claim.log else "a unit of the parameter"
    low, high = (per_step(end) for end in line.interval)
    if fitted.p >= ALPHA or line.slope == 0:
        verdict, text = Verdict.CANNOT_TELL, f"no slope is shown, {p}"
    elif (line.slope > 0) == (claim.direction == "rises"):
        verdict, text = Verdict.REPRODUCED, f"{metric} {claim.direction}, {p}"
    else:
        other = "rises" if line.slope > 0 else "falls"
        verdict, text = Verdict.NOT_REPRODUCED, f"{metric} {other} instead, {p}"
    if absent:
        text += f"; without {case.names(*absent)}"
    ours = f"{per_step(line.slope)} [{low}, {high}] {metric} {per}, {len(ran)} settings"
    return case.judged(verdict, text, ours, fitted.p)


def judge_curve(claim: CurveBelow, findings: Findings, labels: Mapping[str, str]) -> Judged:
    """Judge whether a curve lies below another in every epoch that both have.

    Welch's test in each epoch, Holm's rule over the epochs. An epoch with fewer than two trainings
    on a side leaves the claim open.
    """
    metric = called(claim.metric)
    case = Case(claim, f"lower {metric} in every epoch", findings, labels)
    curves = {s: findings.curves(s, claim.metric) for s in (claim.setting, claim.over)}
    if absent := [s for s, rows in curves.items() if not any(rows)]:
        return case.not_run(*absent)
    a, b = curves.values()
    if min(len(a), len(b)) < 2:
        return case.one_training(curves)
    epochs = _by_epoch(a, b)
    compared = [c for c in epochs if c is not None]
    if not compared:
        return case.judged(Verdict.CANNOT_TELL, "no epoch has two trainings on both sides")
    ps = holm([p_of(c) for c in compared])
    below = [p for p, c in zip(ps, compared, strict=True) if p < ALPHA and c.difference < 0]
    above = [p for p, c in zip(ps, compared, strict=True) if p < ALPHA and c.difference > 0]
    detectable = max(c.detectable for c in compared)
    counted = f"below in {len(below)} and above in {len(above)} of {len(epochs)} epochs"
    text = f"{case.names(claim.setting)} lies significantly {counted}"
    p = max(ps)
    if above:
        verdict, p = Verdict.NOT_REPRODUCED, min(above)
    elif len(below) == len(epochs):
        verdict = Verdict.REPRODUCED
    else:
        verdict = Verdict.CANNOT_TELL
        text += f", where {missed(claim.metric, detectable)}"
    text += _fewer_epochs(case, curves, len(epochs))
    difference = signed(claim.metric, fmean(c.difference for c in compared))
    ours = f"{difference} {metric} over the epochs, {counted}, {versus(len(a), len(b))}"
    return case.judged(verdict, text, ours, p, detectable)


def _fit(claim: Trend, findings: Findings) -> stats.Trend | None:
    """The line through what ran, if enough did."""
    points = [
        (math.log2(value) if claim.log else value, means)
        for value, setting in claim.along
        if (means := findings.means(setting, claim.metric))
    ]
    if len(points) < POINTS_OF_A_TREND:
        return None
    return stats.trend([x for x, _ in points], [means for _, means in points])


def _by_epoch(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]
) -> list[Comparison | None]:
    """Compare curves[training][epoch] in every epoch that both sides have."""
    epochs = min(max(map(len, a)), max(map(len, b)))
    return [compare(_values_at(a, epoch), _values_at(b, epoch)) for epoch in range(epochs)]


def _values_at(rows: Sequence[Sequence[float]], epoch: int) -> list[float]:
    return [row[epoch] for row in rows if epoch < len(row) and math.isfinite(row[epoch])]


def _fewer_epochs(case: Case, curves: Mapping[str, Sequence[Sequence[float]]], common: int) -> str:
    """Which curve has epochs that are left out, in words."""
    longer = {s: n for s, rows in curves.items() if (n := max(map(len, rows))) > common}
    return "".join(
        f"; the last {n - common} epochs of {case.names(s)} have no counterpart"
        for s, n in longer.items()
    )
