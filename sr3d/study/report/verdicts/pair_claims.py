"""Claims about two settings: one is higher than the other, both are about the same, or equal.

Differences and ratios are tested on means of training runs with Welch's test. If both settings
evaluate the same training runs (an oracle and its baseline), their means are correlated, and the
test is the paired t-test.

An equivalence is shown by two one-sided tests (Schuirmann 1987), which exclude a change as large as
the margin on either side. Each has a level of 2.5 % like every one-sided test here, so that "shown"
means that the 95 % interval lies within the margin.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import (
    AmountClaim,
    AtMostClaim,
    DifferenceClaim,
    EqualClaim,
    EquivalenceClaim,
    number,
    signed,
)
from sr3d.study.report.setting_comparisons import compare_settings, sides
from sr3d.study.report.verdicts.evidence import (
    AmountTest,
    ClaimCase,
    Evidence,
    Texts,
    amount_test,
    no_spread,
    p_not_above,
    p_not_below,
    without_values,
)
from sr3d.study.report.verdicts.judgement import (
    Direction,
    Judgement,
    Size,
    Verdict,
    behind,
    called,
    printed_by,
    unit,
    versus,
)
from sr3d.study.statistics import Comparison, Interval, TEstimate, ratio


def case_of_difference(
    claim: DifferenceClaim | AmountClaim, findings: Findings, labels: Mapping[str, str]
) -> ClaimCase:
    """The claim in print: its direction, and the paper's number on the data."""
    has_unit = unit(claim.metric) != called(claim.metric)

    def show(value: float) -> str:
        return signed(claim.metric, value) + (f" {unit(claim.metric)}" if has_unit else "")

    numbers = printed_by(claim.paper, findings.dataset, show)
    text = f"{claim.direction} {called(claim.metric)}" + (f", {numbers}" if numbers else "")
    return ClaimCase(claim, text + (" (of the best)" if _of_bests(claim) else ""), findings, labels)


def evidence_of_difference(
    case: ClaimCase, claim: DifferenceClaim | AmountClaim
) -> Evidence | Judgement:
    """Test the claimed direction, and the paper's amount if it has one on these data."""
    means = case.means(claim.setting, claim.over)
    if absent := without_values(means):
        return case.not_run(*absent)
    compared = compare_settings(case.findings, claim.setting, claim.over, claim.metric)
    if compared is None:
        a, b = means.values()
        difference = signed(claim.metric, fmean(a) - fmean(b))
        ours = f"{difference} {unit(claim.metric)}, {versus(len(a), len(b))}"
        return case.one_training(means, ours)
    estimate = compared.estimate
    p_for, p_against = p_not_above(estimate), p_not_below(estimate)
    pair = (claim.setting, claim.over)
    if claim.direction == "lower":
        p_for, p_against, pair = p_against, p_for, pair[::-1]
    amount: AmountTest | Size = Size.OF_BESTS
    if not _of_bests(claim):
        amount = amount_test(claim, claim.paper, case.findings.dataset, estimate)
    return Evidence(
        question=("above", claim.metric, *pair),
        p_for=p_for,
        p_against=p_against,
        amount=amount,
        value=estimate.value,
        interval=estimate.interval,
        write=partial(signed, claim.metric),
        unit=f"{unit(claim.metric)}, {behind(compared)}",
        detectable=compared.detectable,
        texts=_texts_of_difference(case, claim, compared),
    )


def _of_bests(claim: DifferenceClaim | AmountClaim) -> bool:
    return isinstance(claim, AmountClaim) and claim.statistic != "mean"


def _texts_of_difference(
    case: ClaimCase, claim: DifferenceClaim | AmountClaim, compared: Comparison
) -> Texts:
    name, other = case.names(claim.setting), case.names(claim.over)
    relation = "above" if compared.difference > 0 else "below"
    found = f"{name} lies {relation} {other} in {called(claim.metric)}"
    if not compared.estimate.has_spread:
        return Texts(found, found, no_spread(compared.paired))
    return Texts(found, f"{found}, against the claim", "no difference is shown")


@dataclass(frozen=True)
class _Change:
    """A difference or a ratio of two settings. estimate: for a ratio, its logarithm.

    shown: converts a value of the estimate to the printed difference or ratio.
    """

    estimate: TEstimate
    shown: Callable[[float], float]
    write: Callable[[float], str]
    unit: str
    behind: str
    paired: bool

    def interval(self, confidence: float) -> Interval:
        """The interval of the difference or ratio."""
        low, high = self.estimate.interval(confidence)
        return self.shown(low), self.shown(high)


def case_of_equivalence(
    claim: EquivalenceClaim, findings: Findings, labels: Mapping[str, str]
) -> ClaimCase:
    """The claim in print: its margin, and the paper's number on the data."""
    metric = called(claim.metric)
    if claim.scale == "ratio":
        bound = f"about the same {metric}, {_times(1 / claim.margin)} to {_times(claim.margin)}"
        printed = printed_by(claim.paper, findings.dataset, _times)
    else:
        bound = f"about the same {metric}, ±{number(claim.metric, claim.margin)}"
        printed = printed_by(claim.paper, findings.dataset, partial(signed, claim.metric))
    return ClaimCase(claim, bound + (f"; {printed}" if printed else ""), findings, labels)


def case_of_limit(claim: AtMostClaim, findings: Findings, labels: Mapping[str, str]) -> ClaimCase:
    """The claim in print: its limit, and the paper's number on the data."""
    printed = printed_by(claim.paper, findings.dataset, _times)
    text = f"below ×{claim.limit:g} in {called(claim.metric)}"
    return ClaimCase(claim, text + (f"; {printed}" if printed else ""), findings, labels)


def evidence_of_equivalence(case: ClaimCase, claim: EquivalenceClaim) -> Evidence | Judgement:
    """Test whether a change as large as the margin is excluded, and whether one within it is."""
    found = _ratio(case, claim) if claim.scale == "ratio" else _difference(case, claim)
    if isinstance(found, Judgement):
        return found
    of_ratio = claim.scale == "ratio"
    scale: Callable[[float], float] = math.log if of_ratio else float
    margin = scale(claim.margin)
    within = (
        f"{_times(1 / claim.margin)} to {_times(claim.margin)}"
        if of_ratio
        else f"±{number(claim.metric, claim.margin)} {unit(claim.metric)}"
    )
    estimate = found.estimate
    change = f"change of {called(claim.metric)}"
    return Evidence(
        question=("same", claim.scale, claim.margin, claim.metric, claim.setting, claim.over),
        p_for=max(p_not_below(estimate, margin), p_not_above(estimate, -margin)),
        p_against=min(p_not_above(estimate, margin), p_not_below(estimate, -margin)),
        amount=amount_test(claim, claim.paper, case.findings.dataset, estimate, scale),
        value=found.shown(estimate.value),
        interval=found.interval,
        write=found.write,
        unit=f"{found.unit}, {found.behind}",
        detectable=None,
        texts=_texts_of_bound(
            found, f"the {change}", ("within", "beyond"), f"the margin of {within}"
        ),
        remark=f"margin: {claim.margin_reason}",
    )


def evidence_of_limit(case: ClaimCase, claim: AtMostClaim) -> Evidence | Judgement:
    """Test whether a ratio as large as the limit is excluded, and whether one below it is."""
    found = _ratio(case, claim)
    if isinstance(found, Judgement):
        return found
    estimate, limit = found.estimate, math.log(claim.limit)
    what = f"the ratio of {called(claim.metric)}"
    return Evidence(
        question=("at most", claim.limit, claim.metric, claim.setting, claim.over),
        p_for=p_not_below(estimate, limit),
        p_against=p_not_above(estimate, limit),
        amount=amount_test(claim, claim.paper, case.findings.dataset, estimate, math.log),
        value=found.shown(estimate.value),
        interval=found.interval,
        write=found.write,
        unit=f"{found.unit}, {found.behind}",
        detectable=None,
        texts=_texts_of_bound(found, what, ("below", "above"), f"the limit of ×{claim.limit:g}"),
        remark=f"limit: {claim.limit_reason}",
    )


def _difference(case: ClaimCase, claim: EquivalenceClaim) -> _Change | Judgement:
    means = case.means(claim.setting, claim.over)
    if absent := without_values(means):
        return case.not_run(*absent)
    compared = compare_settings(case.findings, claim.setting, claim.over, claim.metric)
    if compared is None:
        return case.one_training(means)
    return _Change(
        estimate=compared.estimate,
        shown=float,
        write=partial(signed, claim.metric),
        unit=unit(claim.metric),
        behind=behind(compared),
        paired=compared.paired,
    )


def _ratio(case: ClaimCase, claim: EquivalenceClaim | AtMostClaim) -> _Change | Judgement:
    means = case.means(claim.setting, claim.over)
    if absent := without_values(means):
        return case.not_run(*absent)
    a, b, paired = sides(case.findings, claim.setting, claim.over, claim.metric)
    if min(*a, *b) <= 0:
        reason = "a value is not above zero, so it has no ratio"
        return case.untested(Verdict.INCONCLUSIVE, reason)
    found = ratio(a, b, paired)
    if found is None:
        return case.one_training(means)
    return _Change(
        estimate=found.log,
        shown=math.exp,
        write=_times,
        unit=f"in {called(claim.metric)}",
        behind=behind(found),
        paired=paired,
    )


def _texts_of_bound(found: _Change, what: str, sides_of: tuple[str, str], bound: str) -> Texts:
    """sides_of: the words for either side of the bound, the claimed side first."""
    claimed, other = sides_of
    shown, refuted = f"{what} lies {claimed} {bound}", f"{what} lies {other} {bound}"
    if not found.estimate.has_spread:
        return Texts(shown, refuted, no_spread(found.paired))
    return Texts(shown, refuted, f"{what} may lie {claimed} or {other} {bound}")


def _times(value: float) -> str:
    return f"×{value:.3f}"


def judge_equal(claim: EqualClaim, findings: Findings, labels: Mapping[str, str]) -> Judgement:
    """Judge whether a number is the same in the summaries of both settings."""
    metric = called(claim.metric)
    case = ClaimCase(claim, f"equal {metric}", findings, labels)
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
