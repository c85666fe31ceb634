"""Claims that one setting differs from another by so much.

Differences are tested on training means: by Welch's test, or by the paired t-test where both
settings are tests of the same trainings (an oracle and its baseline), whose means rise and fall
together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from sr3d.report.comparing import compare_settings
from sr3d.report.families import adjust, family_of
from sr3d.report.findings import Findings
from sr3d.report.paper import Claim, Difference, signed
from sr3d.report.verdicts.evidence import ALPHA, Case, no_spread, p_of, without_values
from sr3d.report.verdicts.judged import Judged, Verdict
from sr3d.report.verdicts.wording import (
    called,
    estimate,
    missed,
    p_value,
    printed_by,
    unit,
    versus,
)
from sr3d.stats import Comparison, has_spread


@dataclass(frozen=True)
class Tested:
    """A comparison with its p-value, adjusted over the `family` comparisons of its table that are
    of the same kind of quantity.
    """

    comparison: Comparison
    p: float
    family: int


def compare_differences(claims: Sequence[Claim], findings: Findings) -> dict[str, Tested]:
    """Compare the sides of every Difference claim that has two trainings on both sides, by its id.

    The p-values are adjusted by Holm's rule over all such claims of a table or figure on the same
    kind of quantity; claims of the same comparison count once.
    """
    compared = [
        (claim, comparison)
        for claim in claims
        if isinstance(claim, Difference)
        and (comparison := compare_settings(findings, claim.setting, claim.over, claim.metric))
    ]
    adjusted = adjust(
        {_what(claim): p_of(comparison) for claim, comparison in compared},
        lambda what: (what.of, family_of(what.metric)),
    )
    return {claim.id: Tested(comparison, *adjusted[_what(claim)]) for claim, comparison in compared}


def judge_difference(
    claim: Difference, findings: Findings, labels: Mapping[str, str], tested: Tested | None
) -> Judged:
    """Judge a difference; `tested` is its entry of `compare_differences`."""
    case = Case(claim, _paper_says(claim, findings.dataset), findings, labels)
    if tested is None:
        return _untested(claim, case)
    comparison = tested.comparison
    verdict, text = _verdict(claim, case, tested)
    if claim.statistic != "mean":
        text += f"; judged on means, not as the paper's on the {claim.statistic} of all tests"
    ours = estimate(claim.metric, comparison)
    return case.judged(verdict, text, ours, tested.p, comparison.detectable)


class _What(NamedTuple):
    """What is compared, and where; the test of a difference is that of its opposite."""

    of: str
    metric: str
    settings: frozenset[str]


def _what(claim: Difference) -> _What:
    return _What(claim.of, claim.metric, frozenset({claim.setting, claim.over}))


def _verdict(claim: Difference, case: Case, tested: Tested) -> tuple[Verdict, str]:
    comparison, metric = tested.comparison, claim.metric
    low, high = comparison.interval
    printed = claim.paper.get(case.findings.dataset) if claim.statistic == "mean" else None
    sign = 1 if claim.direction == "higher" else -1
    adjusted = f"{p_value(tested.p)} after Holm over {tested.family}"
    relation = "above" if comparison.difference > 0 else "below"
    name, other = case.names(claim.setting), case.names(claim.over)
    found = f"{name} lies {relation} {other} in {called(metric)}, {adjusted}"
    if not has_spread(comparison.interval):
        return Verdict.CANNOT_TELL, no_spread(comparison.paired)
    if tested.p < ALPHA:
        if comparison.difference * sign < 0:
            return Verdict.NOT_REPRODUCED, f"{found}, against the claim"
        if printed is not None and not low <= printed <= high:
            found += f"; the paper's {signed(metric, printed)} lies outside our interval"
        return Verdict.REPRODUCED, found
    # Compared in the claim's direction: a difference beyond ours the other way is not too large.
    if printed is not None and sign * printed > max(sign * low, sign * high):
        text = f"a difference as large as the paper's {signed(metric, printed)} is excluded"
        return Verdict.NOT_REPRODUCED, text
    text = f"no difference is shown, {adjusted}, and {missed(metric, comparison.detectable)}"
    return Verdict.CANNOT_TELL, text


def _paper_says(claim: Difference, dataset: str) -> str:
    """The paper's difference on the data, or else on all of its own."""
    has_unit = unit(claim.metric) != called(claim.metric)

    def show(value: float) -> str:
        return signed(claim.metric, value) + (f" {unit(claim.metric)}" if has_unit else "")

    numbers = printed_by(claim.paper, dataset, show)
    text = f"{claim.direction} {called(claim.metric)}" + (f", {numbers}" if numbers else "")
    return text + ("" if claim.statistic == "mean" else f" (of the {claim.statistic})")


def _untested(claim: Difference, case: Case) -> Judged:
    means = case.means(claim.setting, claim.over)
    if absent := without_values(means):
        return case.not_run(*absent)
    a, b = means.values()
    difference = signed(claim.metric, fmean(a) - fmean(b))
    return case.one_training(means, f"{difference} {unit(claim.metric)}, {versus(len(a), len(b))}")
