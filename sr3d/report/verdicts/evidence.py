"""A claim before the results of one data set: what they hold for it, and what is said where they
hold too little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass

from sr3d.report.findings import Findings
from sr3d.report.paper import CurveBelow, Difference, Equal, Highest, RatioBelow, Trend
from sr3d.report.verdicts.judged import Judged, Verdict
from sr3d.report.verdicts.wording import NOTHING, listed, place_of, quoted, verb
from sr3d.stats import Comparison, has_spread

ALPHA = 0.05
Measured = Difference | Highest | Trend | CurveBelow | RatioBelow | Equal


@dataclass(frozen=True)
class Case:
    """One claim, and what it is judged by.

    paper_says: as it is printed. labels: setting -> its name in print.
    """

    claim: Measured
    paper_says: str
    findings: Findings
    labels: Mapping[str, str]

    def names(self, *settings: str) -> str:
        """Settings in a sentence, by their names in print."""
        return names_in_print(self.labels, *settings)

    def means(self, *settings: str) -> dict[str, list[float]]:
        """The means of the trainings of each setting; empty where there are none."""
        return {setting: self.findings.means(setting, self.claim.metric) for setting in settings}

    def judged(
        self,
        verdict: Verdict,
        reason: str,
        ours: str = NOTHING,
        p: float | None = None,
        detectable: float | None = None,
    ) -> Judged:
        """The verdict. reason: why, without the data that it is true on.

        Raises:
            InputError: unknown data set.
        """
        why = place_of(self.claim, self.findings.dataset).sentence(reason, verdict)
        return Judged(self.claim, verdict, self.paper_says, ours, p, detectable, why)

    def not_run(self, *settings: str) -> Judged:
        """The verdict where these have no value of the metric."""
        absent = [s for s in settings if self.findings.summary(s) is None]
        silent = [s for s in settings if s not in absent]
        reasons = []
        if absent:
            reasons.append(f"{self.names(*absent)} {verb(absent, 'has')} not run")
        if silent:
            reasons.append(f"the results of {self.names(*silent)} lack {self.claim.metric}")
        return self.judged(Verdict.NOT_RUN, "; ".join(reasons))

    def one_training(self, numbers: Mapping[str, Sized], ours: str = NOTHING) -> Judged:
        """The verdict where a setting was trained once: numbers[setting] has one entry each."""
        alone = [setting for setting, values in numbers.items() if len(values) == 1]
        once = f"one training of {self.names(*alone)}"
        reason = f"{once} does not show how much trainings differ"
        return self.judged(Verdict.CANNOT_TELL, reason, ours)


def names_in_print(labels: Mapping[str, str], *settings: str) -> str:
    """Settings in a sentence; one that has no name in print by its own."""
    return listed(quoted(labels.get(setting, setting)) for setting in settings)


def without_values(numbers: Mapping[str, Sequence[object]]) -> list[str]:
    """The settings that have none."""
    return [setting for setting, values in numbers.items() if not values]


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
