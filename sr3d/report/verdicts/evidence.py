"""What the results hold for a claim, and the verdicts where they hold too little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sr3d.report.findings import Findings
from sr3d.report.paper import Claim
from sr3d.report.verdicts.judged import Judged, Verdict
from sr3d.report.verdicts.wording import NOTHING, Place, listed, verb
from sr3d.stats import Comparison, has_spread

ALPHA = 0.05


def p_of(comparison: Comparison) -> float:
    """The t-test's p; 1 where nothing differs between trainings, which leaves nothing to test with.

    Not the permutation test's: with 5 against 5 trainings it is never below 2/252, so that after
    Holm's rule over seven claims or more it could find nothing; with five pairs it is never below
    2/32.
    """
    return comparison.p_t if has_spread(comparison.interval) else 1.0


def no_spread(paired: bool) -> str:
    """Why nothing can be tested without any spread."""
    what = (
        "the difference is the same in all trainings"
        if paired
        else ("the trainings do not differ at all")
    )
    return f"{what}, so nothing can be tested"


def not_run(
    claim: Claim, paper_says: str, place: Place, findings: Findings, metric: str, *settings: str
) -> Judged:
    """The verdict where `settings` have no value of the metric."""
    absent = [s for s in settings if findings.summary(s) is None]
    silent = [s for s in settings if s not in absent]
    reasons = []
    if absent:
        reasons.append(f"{listed(absent)} {verb(absent, 'has')} not run")
    if silent:
        reasons.append(f"the results of {listed(silent)} lack {metric}")
    why = place.sentence("; ".join(reasons), Verdict.NOT_RUN)
    return Judged(claim, Verdict.NOT_RUN, paper_says, NOTHING, None, None, why)


def one_training(
    claim: Claim, paper_says: str, ours: str, place: Place, numbers: Mapping[str, Sequence[object]]
) -> Judged:
    """The verdict where a setting was trained once: numbers[setting] has one entry a training."""
    alone = [setting for setting, values in numbers.items() if len(values) == 1]
    text = f"one training of {listed(alone)} does not show how much trainings differ"
    why = place.sentence(text, Verdict.CANNOT_TELL)
    return Judged(claim, Verdict.CANNOT_TELL, paper_says, ours, None, None, why)
