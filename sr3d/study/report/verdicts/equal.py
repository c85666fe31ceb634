"""Claims that two settings have the same number of something, which has no spread."""

from __future__ import annotations

from collections.abc import Mapping

from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import Equal
from sr3d.study.report.verdicts.evidence import Case
from sr3d.study.report.verdicts.judgement import Direction, Judgement, Size, Verdict
from sr3d.study.report.verdicts.wording import called


def judge_equal(claim: Equal, findings: Findings, labels: Mapping[str, str]) -> Judgement:
    """Judge whether a number of the settings' summaries is the same."""
    metric = called(claim.metric)
    case = Case(claim, f"equal {metric}", findings, labels)
    settings = (claim.setting, claim.over)
    found = {s: (findings.summary(s) or {}).get(claim.metric) for s in settings}
    if absent := [s for s, value in found.items() if value is None]:
        return case.not_run(*absent)
    ours, theirs = found.values()
    same = ours == theirs
    verdict = Verdict.REPRODUCED if same else Verdict.NOT_REPRODUCED
    text = f"{case.names(*settings)} have {'the same' if same else 'different'} {metric}"
    return Judgement(
        claim=claim,
        verdict=verdict,
        direction=Direction.ABSENT if same else Direction.THERE,
        size=Size.NO_AMOUNT,
        paper_says=case.paper_says,
        ours=f"{ours:,} and {theirs:,} {metric}",
        numbers=None,
        why=case.sentence(text, verdict),
    )
