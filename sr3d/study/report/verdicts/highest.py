"""Claims that one setting has the highest value of several.

The quantity is the distance to the nearest of the others. It is above zero only if all distances
are, so the largest p of the single tests is that of the denial, without any adjustment (an
intersection–union test, Berger 1982). It is below zero if any of them is, so the smallest p,
times their number, is that of the claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from sr3d.study.report.comparing import compare_settings
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import Highest, signed
from sr3d.study.report.verdicts.evidence import Case, Evidence, Texts, p_not_above, p_not_below
from sr3d.study.report.verdicts.judgement import Judgement, Size
from sr3d.study.report.verdicts.wording import behind, called, unit, verb
from sr3d.study.statistics import Comparison, Interval, simultaneous


def case_of_highest(claim: Highest, findings: Findings, labels: Mapping[str, str]) -> Case:
    """The claim as it is printed."""
    says = f"highest {called(claim.metric)} of {len(claim.among) + 1} settings"
    return Case(claim, says, findings, labels)


def evidence_of_highest(case: Case, claim: Highest) -> Evidence | Judgement:
    """Test the distance to the nearest other; one that has not run leaves the claim open."""
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
        interval=partial(_interval, list(compared.values())),
        write=partial(signed, claim.metric),
        unit=f"{unit(claim.metric)} to {case.names(nearest)}, {behind(compared[nearest])}",
        detectable=max(c.detectable for c in compared.values()),
        texts=_texts(case, claim, compared, untested),
    )


def _interval(compared: Sequence[Comparison], confidence: float) -> Interval:
    """Of the distance to the nearest: each end is as sharp as the test that it belongs to."""
    lows = [c.estimate.interval(confidence)[0] for c in compared]
    each = simultaneous(len(compared), confidence)
    highs = [c.estimate.interval(each)[1] for c in compared]
    return min(lows), min(highs)


def _texts(
    case: Case, claim: Highest, compared: Mapping[str, Comparison], untested: Sequence[str]
) -> Texts:
    name = case.names(claim.setting)
    nearest = min(compared, key=lambda s: compared[s].difference)
    reason = f"{case.names(nearest)} may lie as high or higher"
    if untested:
        reason += f"; {case.names(*untested)} {verb(untested, 'lacks')} a second training run"
    return Texts(
        shown=f"{name} lies above {case.names(*claim.among)}",
        refuted=f"{case.names(nearest)} lies above {name}",
        open=reason,
    )
