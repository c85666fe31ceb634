"""Claims that one setting lies above or below another, with or without an amount.

Differences are tested on means of training runs: by Welch's test, or by the paired t-test where
both settings evaluate the same training runs (an oracle and its baseline), whose means rise and
fall together.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from statistics import fmean

from sr3d.study.report.comparing import compare_settings
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import Amount, Difference, signed
from sr3d.study.report.verdicts.evidence import (
    AmountTest,
    Case,
    Evidence,
    Texts,
    amount_test,
    no_spread,
    p_not_above,
    p_not_below,
    without_values,
)
from sr3d.study.report.verdicts.judgement import Judgement, Size
from sr3d.study.report.verdicts.wording import behind, called, printed_by, unit, versus
from sr3d.study.statistics import Comparison


def case_of_difference(
    claim: Difference | Amount, findings: Findings, labels: Mapping[str, str]
) -> Case:
    """The claim as it is printed: its direction, and the paper's number on the data."""
    has_unit = unit(claim.metric) != called(claim.metric)

    def show(value: float) -> str:
        return signed(claim.metric, value) + (f" {unit(claim.metric)}" if has_unit else "")

    numbers = printed_by(claim.paper, findings.dataset, show)
    text = f"{claim.direction} {called(claim.metric)}" + (f", {numbers}" if numbers else "")
    return Case(claim, text + (" (of the best)" if _of_bests(claim) else ""), findings, labels)


def evidence_of_difference(case: Case, claim: Difference | Amount) -> Evidence | Judgement:
    """Test the claimed direction, and the paper's amount where it has one on these data."""
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
        texts=_texts(case, claim, compared),
    )


def _of_bests(claim: Difference | Amount) -> bool:
    return isinstance(claim, Amount) and claim.statistic != "mean"


def _texts(case: Case, claim: Difference | Amount, compared: Comparison) -> Texts:
    name, other = case.names(claim.setting), case.names(claim.over)
    relation = "above" if compared.difference > 0 else "below"
    found = f"{name} lies {relation} {other} in {called(claim.metric)}"
    if not compared.estimate.has_spread:
        return Texts(found, found, no_spread(compared.paired))
    return Texts(found, f"{found}, against the claim", "no difference is shown")
