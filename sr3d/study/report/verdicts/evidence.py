"""The evidence of the training runs on one claim, before adjustment over its family."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence, Sized
from dataclasses import dataclass

from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import BaseClaim, MeasuredClaim, Stated
from sr3d.study.report.verdicts.judgement import (
    NOTHING,
    Direction,
    Judgement,
    Size,
    Verdict,
    listed,
    place_of,
    quoted,
    verb,
)
from sr3d.study.statistics import Interval, TEstimate


@dataclass(frozen=True)
class Texts:
    """The reasons if the claim is shown, if it is refuted, and if it is inconclusive."""

    shown: str
    refuted: str
    open: str


@dataclass(frozen=True)
class AmountTest:
    """The paper's amount, and the two-sided p of the hypothesis that it is the true one.

    The p is never above `p_against`, because the claimed region includes the amount.
    """

    amount: float
    p: float


@dataclass(frozen=True)
class Evidence:
    """The tests of one claim about one quantity, and the format of the quantity.

    question: claims with the same question are one hypothesis of their family.
    p_for, p_against: as in `Numbers`, but not adjusted.
    amount: the test of the paper's amount, or the reason why there is none.
    value: the estimate. interval: its interval at a given confidence, which excludes what the tests
    reject at that level.
    write, unit: the format of a value, and the text after it.
    remark: an addition to the reasons, which may be empty.
    """

    question: Hashable
    p_for: float
    p_against: float
    amount: AmountTest | Size
    value: float
    interval: Callable[[float], Interval]
    write: Callable[[float], str]
    unit: str
    detectable: float | None
    texts: Texts
    remark: str = ""


@dataclass(frozen=True)
class ClaimCase:
    """One claim, before the results on one data set.

    paper_says: in print. labels: setting -> its printed name.
    """

    claim: MeasuredClaim
    paper_says: str
    findings: Findings
    labels: Mapping[str, str]

    def names(self, *settings: str) -> str:
        """Settings in a sentence, by their printed names."""
        return names_in_print(self.labels, *settings)

    def means(self, *settings: str) -> dict[str, list[float]]:
        """The means of the training runs of each setting, empty without any."""
        return {setting: self.findings.means(setting, self.claim.metric) for setting in settings}

    def sentence(self, text: str, verdict: Verdict) -> str:
        """The reasons as a sentence that names the data.

        Raises:
            InputError: an unknown data set.
        """
        return place_of(self.claim, self.findings.dataset).sentence(text, verdict)

    def untested(self, verdict: Verdict, reason: str, ours: str = NOTHING) -> Judgement:
        """The judgement if nothing can be tested.

        Raises:
            InputError: an unknown data set.
        """
        run = verdict is not Verdict.NOT_RUN
        return Judgement(
            claim=self.claim,
            verdict=verdict,
            direction=Direction.INCONCLUSIVE if run else Direction.NOT_JUDGED,
            size=Size.NOT_TESTED,
            paper_says=self.paper_says,
            ours=ours,
            numbers=None,
            why=self.sentence(reason, verdict),
        )

    def not_run(self, *settings: str) -> Judgement:
        """The judgement if these settings have no value of the metric."""
        absent = [s for s in settings if self.findings.summary(s) is None]
        silent = [s for s in settings if s not in absent]
        reasons = []
        if absent:
            reasons.append(f"{self.names(*absent)} {verb(absent, 'has')} not run")
        if silent:
            reasons.append(f"the results of {self.names(*silent)} lack {self.claim.metric}")
        return self.untested(Verdict.NOT_RUN, ", and ".join(reasons))

    def one_training(self, numbers: Mapping[str, Sized], ours: str = NOTHING) -> Judgement:
        """The judgement if a setting has one training run. numbers[setting] has one entry each."""
        alone = [setting for setting, values in numbers.items() if len(values) == 1]
        once = f"one training run of {self.names(*alone)}"
        reason = f"{once} does not show how much training runs differ"
        return self.untested(Verdict.INCONCLUSIVE, reason, ours)


def names_in_print(labels: Mapping[str, str], *settings: str) -> str:
    """Settings in a sentence. A setting without a printed name appears by its own name."""
    return listed(quoted(labels.get(setting, setting)) for setting in settings)


def without_values(numbers: Mapping[str, Sequence[object]]) -> list[str]:
    """The settings without values."""
    return [setting for setting, values in numbers.items() if not values]


def p_not_above(estimate: TEstimate, bound: float = 0.0) -> float:
    """Doubled p of the hypothesis that the true number is at most the bound.

    It is 1 if the values have no spread, because nothing can be tested then. The t-test decides,
    not the permutation test. With 5 against 5 training runs the latter is never below 2/252, so it
    could never be significant in a family of seven claims or more.
    """
    return min(1.0, 2 * estimate.p_at_most(bound)) if estimate.has_spread else 1.0


def p_not_below(estimate: TEstimate, bound: float = 0.0) -> float:
    """Doubled p of the hypothesis that the true number is at least the bound."""
    return min(1.0, 2 * estimate.p_at_least(bound)) if estimate.has_spread else 1.0


def amount_test(
    claim: BaseClaim,
    paper: Stated,
    dataset: str,
    estimate: TEstimate,
    scale: Callable[[float], float] = float,
) -> AmountTest | Size:
    """The test of the paper's number on these data. scale: converts it to the estimate's scale.

    On data other than the paper's, amounts are not judged: these data have other objects, another
    level of AP and, here, a thinner network.
    """
    stated = next((value for name, value in paper.items() if name == dataset), None)
    if stated is None:
        return Size.OTHER_DATA if paper and dataset not in claim.datasets else Size.NO_AMOUNT
    if not estimate.has_spread:
        return Size.NOT_TESTED
    return AmountTest(stated, estimate.p_equal(scale(stated)))


def no_spread(paired: bool) -> str:
    """The reason why nothing can be tested without spread."""
    what = (
        "the difference is the same in all training runs"
        if paired
        else "the training runs do not differ at all"
    )
    return f"{what}, so nothing can be tested"
