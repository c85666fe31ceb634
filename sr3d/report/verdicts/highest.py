"""Claims that one setting has the highest value of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sr3d.report.comparing import compare_settings
from sr3d.report.findings import Findings
from sr3d.report.paper import Highest
from sr3d.report.verdicts.evidence import ALPHA, Case, p_of
from sr3d.report.verdicts.judged import Judged, Verdict
from sr3d.report.verdicts.wording import called, estimate, missed, p_value, verb
from sr3d.stats import holm


def judge_highest(claim: Highest, findings: Findings, labels: Mapping[str, str]) -> Judged:
    """Compare the setting with each of the others, as differences are, with Holm's rule over them.

    It has to lie above all that the claim names, so one that has not run leaves the claim open.
    """
    others = claim.among
    says = f"highest {called(claim.metric)} of {len(others) + 1} settings"
    case = Case(claim, says, findings, labels)
    means = case.means(claim.setting, *others)
    if not means[claim.setting]:
        return case.not_run(claim.setting)
    if not any(means[s] for s in others):
        return case.not_run(*others)
    compared = {
        s: comparison
        for s in others
        if (comparison := compare_settings(findings, claim.setting, s, claim.metric)) is not None
    }
    if not compared:
        return case.one_training(means)
    ps = dict(zip(compared, holm([p_of(c) for c in compared.values()]), strict=True))
    higher = [s for s, c in compared.items() if ps[s] < ALPHA and c.difference < 0]
    tied = [s for s in compared if ps[s] >= ALPHA]
    untested = [s for s in others if s not in compared]
    detectable = max(c.detectable for c in compared.values())
    name = case.names(claim.setting)
    if higher:
        verdict, p = Verdict.NOT_REPRODUCED, min(ps[s] for s in higher)
        text = f"{case.names(*higher)} {verb(higher, 'lies')} above {name}, {p_value(p)}"
    elif tied or untested:
        verdict, p = Verdict.CANNOT_TELL, max(ps.values())
        text = _open(case, tied, untested, missed(claim.metric, detectable))
    else:
        verdict, p = Verdict.REPRODUCED, max(ps.values())
        text = f"{name} lies above {case.names(*others)}, {p_value(p)} after Holm"
    nearest = min(compared, key=lambda s: compared[s].difference)
    ours = f"{estimate(claim.metric, compared[nearest])}, over {case.names(nearest)}"
    return case.judged(verdict, text, ours, p, detectable)


def _open(case: Case, tied: Sequence[str], untested: Sequence[str], what_is_missed: str) -> str:
    reasons = []
    if tied:
        reasons.append(f"{case.names(*tied)} may lie as high or higher, as {what_is_missed}")
    if untested:
        reasons.append(f"{case.names(*untested)} {verb(untested, 'lacks')} a second training")
    return "; ".join(reasons)
