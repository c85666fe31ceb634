"""Claims that an amount grows by less than so much, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

from sr3d.report.comparing import sides
from sr3d.report.findings import Findings
from sr3d.report.paper import Equal, RatioBelow
from sr3d.report.verdicts.evidence import Case, no_spread, without_values
from sr3d.report.verdicts.judged import Judged, Verdict
from sr3d.report.verdicts.wording import behind, called, printed_by
from sr3d.stats import has_spread, ratio


def judge_ratio(claim: RatioBelow, findings: Findings, labels: Mapping[str, str]) -> Judged:
    """Judge a limit by the 95 % interval of the ratio of two settings' training means."""
    case = Case(claim, _below(claim, findings.dataset), findings, labels)
    means = case.means(claim.setting, claim.over)
    if absent := without_values(means):
        return case.not_run(*absent)
    a, b, paired = sides(findings, claim.setting, claim.over, claim.metric)
    if min(*a, *b) <= 0:
        return case.judged(Verdict.CANNOT_TELL, "a value is not above zero, so it has no ratio")
    found = ratio(a, b, paired)
    if found is None:
        return case.one_training(means)
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
    ours = f"×{found.ratio:.3f} {interval} in {called(claim.metric)}, {behind(found)}"
    return case.judged(verdict, text, ours)


def judge_equal(claim: Equal, findings: Findings, labels: Mapping[str, str]) -> Judged:
    """Judge whether a number of the settings' summaries, which has no spread, is the same."""
    metric = called(claim.metric)
    case = Case(claim, f"equal {metric}", findings, labels)
    settings = (claim.setting, claim.over)
    found = {s: (findings.summary(s) or {}).get(claim.metric) for s in settings}
    if absent := [s for s, value in found.items() if value is None]:
        return case.not_run(*absent)
    ours, theirs = found.values()
    same = ours == theirs
    return case.judged(
        Verdict.REPRODUCED if same else Verdict.NOT_REPRODUCED,
        f"{case.names(*settings)} have {'the same' if same else 'different'} {metric}",
        f"{ours:,} and {theirs:,} {metric}",
    )


def _below(claim: RatioBelow, dataset: str) -> str:
    printed = printed_by(claim.paper, dataset, lambda value: f"×{value:.3f}")
    return f"below ×{claim.limit:g} in {called(claim.metric)}" + (f", {printed}" if printed else "")
