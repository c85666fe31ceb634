"""Verdicts on the paper's claims from finished runs, and their rules.

Every claim is judged on one data set, by its kind of statement: a direction, an amount, an upper
bound or an equivalence. A judgement has three codes: the direction of the effect, whether the
paper's amount lies inside our interval, and the verdict on the claim as worded. On data other than
the paper's, amounts are not judged. Numbers are means of training runs, never bests. A decision
needs at least two training runs on either side. `ruling` explains how errors are controlled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sr3d.study.report.findings import Findings, is_thin
from sr3d.study.report.paper import (
    AmountClaim,
    AtMostClaim,
    CitedClaim,
    Claim,
    CurveBelowClaim,
    DifferenceClaim,
    EqualClaim,
    EquivalenceClaim,
    HighestClaim,
    Paper,
    TrendClaim,
    labels_in,
    settings_of_claim,
)
from sr3d.study.report.verdicts.evidence import ClaimCase, Evidence
from sr3d.study.report.verdicts.judgement import (
    NOTHING,
    THIN,
    Direction,
    Judgement,
    Numbers,
    Size,
    Verdict,
)
from sr3d.study.report.verdicts.pair_claims import (
    case_of_difference,
    case_of_equivalence,
    case_of_limit,
    evidence_of_difference,
    evidence_of_equivalence,
    evidence_of_limit,
    judge_equal,
)
from sr3d.study.report.verdicts.ruling import rule_all
from sr3d.study.report.verdicts.series_claims import (
    case_of_curve,
    case_of_highest,
    case_of_trend,
    evidence_of_curve,
    evidence_of_highest,
    evidence_of_trend,
)
from sr3d.validation import flatten

__all__ = ["Direction", "Judgement", "Numbers", "Size", "Verdict", "count", "judge"]


def judge(paper: Paper, findings: Findings) -> list[Judgement]:
    """Judge the paper's claims, in the order of the paper.

    Raises:
        InputError: an unknown data set, or unreadable results.
    """
    claims = list(paper.claims.values())
    judged: dict[str, Judgement] = {}
    tested: list[tuple[ClaimCase, Evidence]] = []
    for claim in claims:
        found = _examine(claim, findings, labels_in(paper, claim))
        if isinstance(found, Judgement):
            judged[claim.id] = found
        else:
            tested.append(found)
    judged |= rule_all(tested)
    return [_with_caution(judged[claim.id], findings) for claim in claims]


def _with_caution(one: Judgement, findings: Findings) -> Judgement:
    """The judgement, whose reason says if it compares thin networks of several detectors."""
    if one.numbers is None:
        return one
    summaries = map(findings.summary, settings_of_claim(one.claim))
    # External detectors have no configuration.
    configs = [s["config"] for s in summaries if s and not s.get("external")]
    detectors = {flatten(config).get("model.name") for config in configs}
    if len(detectors) < 2 or not any(map(is_thin, configs)):
        return one
    return replace(one, why=f"{one.why} {THIN}")


def count(judged: Iterable[Judgement]) -> dict[Verdict, int]:
    """The number of judgements with each verdict, in the order of the verdicts."""
    counts = Counter(one.verdict for one in judged)
    return {verdict: counts[verdict] for verdict in Verdict}


def _examine(
    claim: Claim, findings: Findings, labels: Mapping[str, str]
) -> Judgement | tuple[ClaimCase, Evidence]:
    """The evidence on a claim, or its judgement if nothing can be tested."""
    match claim:
        case DifferenceClaim() | AmountClaim():
            about = case_of_difference(claim, findings, labels)
            found = evidence_of_difference(about, claim)
        case EquivalenceClaim():
            about = case_of_equivalence(claim, findings, labels)
            found = evidence_of_equivalence(about, claim)
        case AtMostClaim():
            about = case_of_limit(claim, findings, labels)
            found = evidence_of_limit(about, claim)
        case HighestClaim():
            about = case_of_highest(claim, findings, labels)
            found = evidence_of_highest(about, claim)
        case TrendClaim():
            about = case_of_trend(claim, findings, labels)
            found = evidence_of_trend(about, claim)
        case CurveBelowClaim():
            about = case_of_curve(claim, findings, labels)
            found = evidence_of_curve(about, claim)
        case EqualClaim():
            return judge_equal(claim, findings, labels)
        case CitedClaim():
            return Judgement(
                claim=claim,
                verdict=Verdict.NOT_CHECKABLE,
                direction=Direction.NOT_JUDGED,
                size=Size.NOT_TESTED,
                paper_says=claim.says,
                ours=NOTHING,
                numbers=None,
                why=claim.reason,
            )
    return found if isinstance(found, Judgement) else (about, found)
