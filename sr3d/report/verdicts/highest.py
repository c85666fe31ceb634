"""Claims that one setting has the highest value of several."""

from __future__ import annotations

from collections.abc import Sequence

from sr3d.report.comparing import compare_settings
from sr3d.report.findings import Findings
from sr3d.report.paper import Highest
from sr3d.report.verdicts.evidence import ALPHA, not_run, one_training, p_of
from sr3d.report.verdicts.judged import Judged, Verdict
from sr3d.report.verdicts.wording import (
    NOTHING,
    called,
    estimate,
    listed,
    missed,
    p_value,
    place_of,
    verb,
)
from sr3d.stats import holm


def judge_highest(claim: Highest, findings: Findings) -> Judged:
    """Compare the setting with each of the others, as differences are, with Holm's rule over them.

    It has to lie above all that the claim names, so one that has not run leaves the claim open.
    """
    place = place_of(claim, findings.dataset)
    others = claim.among
    says = f"highest {called(claim.metric)} of {len(others) + 1} settings"
    means = {s: findings.means(s, claim.metric) for s in (claim.setting, *others)}
    if not means[claim.setting]:
        return not_run(claim, says, place, findings, claim.metric, claim.setting)
    if not any(means[s] for s in others):
        return not_run(claim, says, place, findings, claim.metric, *others)
    compared = {
        s: comparison
        for s in others
        if (comparison := compare_settings(findings, claim.setting, s, claim.metric)) is not None
    }
    if not compared:
        return one_training(claim, says, NOTHING, place, means)
    ps = dict(zip(compared, holm([p_of(c) for c in compared.values()]), strict=True))
    higher = [s for s, c in compared.items() if ps[s] < ALPHA and c.difference < 0]
    tied = [s for s in compared if ps[s] >= ALPHA]
    untested = [s for s in others if s not in compared]
    detectable = max(c.detectable for c in compared.values())
    if higher:
        verdict, p = Verdict.NOT_REPRODUCED, min(ps[s] for s in higher)
        text = f"{listed(higher)} {verb(higher, 'lies')} above {claim.setting}, {p_value(p)}"
    elif tied or untested:
        verdict, p = Verdict.CANNOT_TELL, max(ps.values())
        text = _open(tied, untested, missed(claim.metric, detectable))
    else:
        verdict, p = Verdict.REPRODUCED, max(ps.values())
        text = f"{claim.setting} lies above {listed(others)}, {p_value(p)} after Holm"
    nearest = min(compared, key=lambda s: compared[s].difference)
    return Judged(
        claim=claim,
        verdict=verdict,
        paper_says=says,
        ours=f"{estimate(claim.metric, compared[nearest])}, over {nearest}",
        p=p,
        detectable=detectable,
        why=place.sentence(text, verdict),
    )


def _open(tied: Sequence[str], untested: Sequence[str], what_is_missed: str) -> str:
    reasons = []
    if tied:
        reasons.append(f"{listed(tied)} may lie as high or higher, as {what_is_missed}")
    if untested:
        reasons.append(f"{listed(untested)} {verb(untested, 'lacks')} a second training")
    return "; ".join(reasons)
