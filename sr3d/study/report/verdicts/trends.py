"""Claims about a metric along a parameter.

The training runs of the settings are taken for independent: none of the settings along a trend may
evaluate another's training runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from sr3d.study import statistics as stats
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import Trend
from sr3d.study.report.verdicts.evidence import (
    Case,
    Evidence,
    Texts,
    names_in_print,
    p_not_above,
    p_not_below,
    without_values,
)
from sr3d.study.report.verdicts.judgement import Judgement, Size, Verdict
from sr3d.study.report.verdicts.wording import called, per_step

POINTS_OF_A_TREND = 3


def case_of_trend(claim: Trend, findings: Findings, labels: Mapping[str, str]) -> Case:
    """The claim as it is printed."""
    settings = [setting for _, setting in claim.along]
    first, last = (names_in_print(labels, settings[i]) for i in (0, -1))
    says = f"{called(claim.metric)} {claim.direction} from {first} to {last}"
    return Case(claim, says, findings, labels)


def evidence_of_trend(case: Case, claim: Trend) -> Evidence | Judgement:
    """Test the slope of a straight line through the training means; with `log`, per doubling.

    Settings that have not run are left out, and said to be, as long as three are left.
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


def _line(claim: Trend, findings: Findings) -> stats.Trend | None:
    """The line through what ran, if enough did."""
    points = [
        (math.log2(value) if claim.log else value, means)
        for value, setting in claim.along
        if (means := findings.means(setting, claim.metric))
    ]
    if len(points) < POINTS_OF_A_TREND:
        return None
    return stats.trend([x for x, _ in points], [means for _, means in points])
