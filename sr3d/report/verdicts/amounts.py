"""Claims that an amount grows by less than so much, or not at all."""

from __future__ import annotations

from sr3d.report.comparing import sides
from sr3d.report.findings import Findings
from sr3d.report.paper import Equal, RatioBelow
from sr3d.report.verdicts.evidence import no_spread, not_run, one_training
from sr3d.report.verdicts.judged import Judged, Verdict
from sr3d.report.verdicts.wording import NOTHING, behind, called, place_of, printed_by
from sr3d.stats import has_spread, ratio


def judge_ratio(claim: RatioBelow, findings: Findings) -> Judged:
    """Judge a limit by the 95 % interval of the ratio of two settings' training means."""
    place = place_of(claim, findings.dataset)
    printed = printed_by(claim.paper, findings.dataset, lambda value: f"×{value:.3f}")
    says = f"below ×{claim.limit:g} in {called(claim.metric)}" + (f", {printed}" if printed else "")
    means = {s: findings.means(s, claim.metric) for s in (claim.setting, claim.over)}
    absent = [s for s, values in means.items() if not values]
    if absent:
        return not_run(claim, says, place, findings, claim.metric, *absent)
    a, b, paired = sides(findings, claim.setting, claim.over, claim.metric)
    if min(*a, *b) <= 0:
        why = place.sentence("a value is not above zero, so it has no ratio", Verdict.CANNOT_TELL)
        return Judged(claim, Verdict.CANNOT_TELL, says, NOTHING, None, None, why)
    found = ratio(a, b, paired)
    if found is None:
        return one_training(claim, says, NOTHING, place, means)
    low, high = found.interval
    interval = f"[{low:.3f}, {high:.3f}]"
    if not has_spread(found.interval):
        verdict, text = Verdict.CANNOT_TELL, no_spread(paired)
    elif high < claim.limit:
        verdict, text = Verdict.REPRODUCED, f"all of {interval} lies below {claim.limit:g}"
    elif low > claim.limit:
        verdict, text = Verdict.NOT_REPRODUCED, f"all of {interval} lies above {claim.limit:g}"
    else:
        verdict, text = Verdict.CANNOT_TELL, f"{claim.limit:g} lies within {interval}"
    return Judged(
        claim=claim,
        verdict=verdict,
        paper_says=says,
        ours=f"×{found.ratio:.3f} {interval} in {called(claim.metric)}, {behind(found)}",
        p=None,
        detectable=None,
        why=place.sentence(text, verdict),
    )


def judge_equal(claim: Equal, findings: Findings) -> Judged:
    """Judge whether a number of the settings' summaries, which has no spread, is the same."""
    place = place_of(claim, findings.dataset)
    says = f"equal {called(claim.metric)}"
    settings = (claim.setting, claim.over)
    found = {s: (findings.summary(s) or {}).get(claim.metric) for s in settings}
    absent = [s for s, value in found.items() if value is None]
    if absent:
        return not_run(claim, says, place, findings, claim.metric, *absent)
    ours, theirs = found.values()
    verdict = Verdict.REPRODUCED if ours == theirs else Verdict.NOT_REPRODUCED
    text = f"{claim.setting} and {claim.over} have {'the same' if ours == theirs else 'different'}"
    return Judged(
        claim=claim,
        verdict=verdict,
        paper_says=says,
        ours=f"{ours:,} and {theirs:,} {called(claim.metric)}",
        p=None,
        detectable=None,
        why=place.sentence(f"{text} {called(claim.metric)}", verdict),
    )
