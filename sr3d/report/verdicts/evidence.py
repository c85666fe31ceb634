"""What the results hold for a claim, and the verdicts where they hold too little."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sr3d.report.findings import Findings
from sr3d.report.paper import Claim
from sr3d.report.verdicts.judged import Judged, Verdict
from sr3d.report.verdicts.wording import NOTHING, Place, listed, verb
from sr3d.stats import Comparison

ALPHA = 0.05
NO_SPREAD = "the trainings do not differ at all, so nothing can be tested"


def welch_p(comparison: Comparison) -> float:
    """Welch's p; 1 where the trainings of neither side differ, which leaves nothing to test with.

    Not the permutation test's: with 5 against 5 trainings it is never below 2/252, so that after
    Holm's rule over seven claims or more it could find nothing.
    """
    return comparison.p_welch if has_spread(comparison.interval) else 1.0


def has_spread(interval: tuple[float, float]) -> bool:
    """Whether the trainings behind an interval differ by more than rounding."""
    low, high = interval
    return not math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-9)


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
