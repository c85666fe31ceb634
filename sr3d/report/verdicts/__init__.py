"""Verdicts on the paper's claims from finished runs, with the rules that they follow.

Every claim is judged on one data set. On the paper's, "reproduced" says that our trainings show the
same; on another it says that the claim also holds there. Numbers are training means, never bests;
two trainings a side are the least that can tell anything. 5 % is the level of every test, after
Holm's rule: over the differences of a table or figure, or its trends, on one kind of quantity
(`families`); over all that one claim compares where it has to hold for each (highest, curves).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from sr3d.config import did_you_mean
from sr3d.errors import InputError
from sr3d.report.findings import Findings
from sr3d.report.paper import (
    Cited,
    Claim,
    CurveBelow,
    Difference,
    Equal,
    Highest,
    Paper,
    RatioBelow,
    Trend,
    labels_in,
)
from sr3d.report.verdicts.amounts import judge_equal, judge_ratio
from sr3d.report.verdicts.differences import Tested, compare_differences, judge_difference
from sr3d.report.verdicts.highest import judge_highest
from sr3d.report.verdicts.judged import Judged, Verdict
from sr3d.report.verdicts.trends import Line, fit_trends, judge_curve, judge_trend
from sr3d.report.verdicts.wording import NOTHING

__all__ = ["Judged", "Verdict", "count", "judge"]


def judge(paper: Paper, findings: Findings, of: str | None = None) -> list[Judged]:
    """Judge the paper's claims, in its order; with `of`, those of one table or figure alone.

    Raises:
        InputError: no table or figure of that name, an unknown data set, or unreadable results.
    """
    known = [*paper.tables, *paper.figures]
    if of is not None and of not in known:
        raise InputError(f"no table or figure '{of}'{did_you_mean(of, known)}")
    claims = [claim for claim in paper.claims.values() if of in (None, claim.of)]
    tested, lines = compare_differences(claims, findings), fit_trends(claims, findings)
    return [_judge(claim, findings, labels_in(paper, claim), tested, lines) for claim in claims]


def count(judged: Iterable[Judged]) -> dict[Verdict, int]:
    """How often each verdict was given, all five in their order."""
    counts = Counter(one.verdict for one in judged)
    return {verdict: counts[verdict] for verdict in Verdict}


def _judge(
    claim: Claim,
    findings: Findings,
    labels: Mapping[str, str],
    tested: Mapping[str, Tested],
    lines: Mapping[str, Line],
) -> Judged:
    match claim:
        case Difference():
            return judge_difference(claim, findings, labels, tested.get(claim.id))
        case Highest():
            return judge_highest(claim, findings, labels)
        case Trend():
            return judge_trend(claim, findings, labels, lines.get(claim.id))
        case CurveBelow():
            return judge_curve(claim, findings, labels)
        case RatioBelow():
            return judge_ratio(claim, findings, labels)
        case Equal():
            return judge_equal(claim, findings, labels)
        case Cited():
            return Judged(claim, Verdict.CITED, claim.says, NOTHING, None, None, claim.reason)
