"""Turn evidence into judgements: adjust p-values over families, then derive codes and words.

A family is all claims of a table or figure on one kind of quantity (`family_of`). Holm's rule
adjusts three sets of hypotheses, each separately at 5 %:

- the denials. Rejecting a denial shows its claim. So without any true effect the chance of a false
  "reproduced" in the family stays below 5 %.
- the claims, each as the paper's amount if it has one on these data. So if the paper is exactly
  right, the chance of a false "outside" in the family stays below 5 %.
- the claims as regions: an opposite direction, a change beyond the margin. The p of an amount is
  never above the p of the region that includes it. So if the paper is exactly right, Holm's rule
  rejects no region without its amount, and the chance of a false "not reproduced" is below 5 % too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from sr3d.study.report.paper import AmountClaim, AtMostClaim, EquivalenceClaim, printed_dataset
from sr3d.study.report.setting_comparisons import (
    ALPHA,
    AdjustedP,
    HypothesisFamily,
    adjust,
    family_of,
)
from sr3d.study.report.verdicts.evidence import AmountTest, ClaimCase, Evidence
from sr3d.study.report.verdicts.judgement import (
    SIZES,
    Direction,
    Judgement,
    Numbers,
    Size,
    Verdict,
    missed,
    p_value,
)
from sr3d.study.statistics import simultaneous

_Key = tuple[str, HypothesisFamily, Hashable, float | None]


@dataclass(frozen=True)
class _AdjustedTests:
    """The p-values of a hypothesis, adjusted over its family."""

    p_for: AdjustedP
    p_against: AdjustedP
    p_amount: AdjustedP


def rule_all(tested: Iterable[tuple[ClaimCase, Evidence]]) -> dict[str, Judgement]:
    """The judgements of all claims that could be tested, by the ids of the claims."""
    tested = list(tested)
    keys = _keys(tested)
    p_for = {keys[case.claim.id]: found.p_for for case, found in tested}
    p_against = {keys[case.claim.id]: found.p_against for case, found in tested}
    p_amount = p_against | {
        keys[case.claim.id]: found.amount.p
        for case, found in tested
        if isinstance(found.amount, AmountTest)
    }
    denials, regions, amounts = (adjust(p, lambda k: k[:2]) for p in (p_for, p_against, p_amount))
    return {
        case.claim.id: _rule(case, found, _AdjustedTests(denials[key], regions[key], amounts[key]))
        for case, found in tested
        for key in [keys[case.claim.id]]
    }


def _keys(tested: Iterable[tuple[ClaimCase, Evidence]]) -> dict[str, _Key]:
    """The hypothesis of each claim, by its id.

    A claim without an amount shares the hypothesis of a claim with the same question and an amount.
    """
    plain = {
        case.claim.id: (case.claim.of, family_of(case.claim.metric), found.question)
        for case, found in tested
    }
    amounts = {
        case.claim.id: found.amount.amount
        for case, found in tested
        if isinstance(found.amount, AmountTest)
    }
    known = {plain[name]: amount for name, amount in amounts.items()}
    return {name: (*key, amounts.get(name, known.get(key))) for name, key in plain.items()}


def _rule(case: ClaimCase, found: Evidence, adjusted: _AdjustedTests) -> Judgement:
    numbers = _numbers(found, adjusted)
    size = _size(found, numbers)
    verdict = _verdict(case, size, numbers)
    value, low, high = map(found.write, (numbers.value, *numbers.simultaneous))
    return Judgement(
        claim=case.claim,
        verdict=verdict,
        direction=_direction(case, numbers),
        size=size,
        paper_says=case.paper_says,
        ours=f"{value} [{low}, {high}] {found.unit}",
        numbers=numbers,
        why=case.sentence(_why(case, found, numbers, size), verdict),
    )


def _numbers(found: Evidence, adjusted: _AdjustedTests) -> Numbers:
    family = adjusted.p_for.tests
    decided = [(found.p_for, adjusted.p_for.p), (found.p_against, adjusted.p_against.p)]
    p_amount = None
    if isinstance(found.amount, AmountTest):
        p_amount = adjusted.p_amount.p
        decided.append((found.amount.p, p_amount))
    return Numbers(
        value=found.value,
        interval=found.interval(simultaneous(1)),
        simultaneous=found.interval(simultaneous(family)),
        p_for=adjusted.p_for.p,
        p_against=adjusted.p_against.p,
        p_amount=p_amount,
        family=family,
        sharper=any(holm < ALPHA <= alone * family for alone, holm in decided),
        detectable=found.detectable,
    )


def _direction(case: ClaimCase, numbers: Numbers) -> Direction:
    of_margin = isinstance(case.claim, EquivalenceClaim | AtMostClaim)
    if numbers.p_for < ALPHA:
        return Direction.ABSENT if of_margin else Direction.THERE
    if numbers.p_against < ALPHA:
        return Direction.BEYOND if of_margin else Direction.OPPOSITE
    return Direction.INCONCLUSIVE


def _size(found: Evidence, numbers: Numbers) -> Size:
    if isinstance(found.amount, Size):
        return found.amount
    outside = numbers.p_amount is not None and numbers.p_amount < ALPHA
    return Size.OUTSIDE if outside else Size.INSIDE


def _verdict(case: ClaimCase, size: Size, numbers: Numbers) -> Verdict:
    of_amount = isinstance(case.claim, AmountClaim)
    if numbers.p_against < ALPHA or (of_amount and size is Size.OUTSIDE):
        return Verdict.NOT_REPRODUCED
    if numbers.p_for >= ALPHA:
        return Verdict.INCONCLUSIVE
    return Verdict.DIRECTION_ONLY if of_amount and not size.judged else Verdict.REPRODUCED


def _why(case: ClaimCase, found: Evidence, numbers: Numbers, size: Size) -> str:
    """The reasons as sentences: the decision, the amount, then further remarks."""
    is_open = numbers.p >= ALPHA
    text = found.texts.open
    if not is_open:
        text = found.texts.shown if numbers.p_for < ALPHA else found.texts.refuted
    sentences = [f"{text}, {p_value(numbers.p)} after Holm over {numbers.family}"]
    if is_open and found.detectable:
        sentences.append(missed(case.claim.metric, found.detectable))
    if isinstance(found.amount, AmountTest) and numbers.p_amount is not None:
        phrase = SIZES[size].meaning.format(found.write(found.amount.amount))
        inside = size is Size.INSIDE
        sentences.append(phrase if inside else f"{phrase}, {p_value(numbers.p_amount)}")
    elif size in (Size.OTHER_DATA, Size.OF_BESTS):
        sentences.append(SIZES[size].meaning.format(printed_dataset(case.findings.dataset).label))
    if numbers.sharper:
        sentences.append("Holm's rule decides here what the more cautious interval leaves open")
    first, *rest = (sentence for sentence in (*sentences, found.remark) if sentence)
    return ". ".join([first, *(f"{sentence[0].upper()}{sentence[1:]}" for sentence in rest)])
