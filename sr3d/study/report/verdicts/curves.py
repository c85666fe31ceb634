"""Claims that a curve lies below another in every epoch of training.

Curves are of training runs, so two settings never share one. The quantity is the difference in the
epoch where it is largest. As of a highest value, it is below zero only if all differences are, so
the largest p of the epochs is that of the denial; the smallest, times their number, is that of the
claim.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import CurveBelow, signed
from sr3d.study.report.verdicts.evidence import Case, Evidence, Texts, p_not_above, p_not_below
from sr3d.study.report.verdicts.judgement import Judgement, Size, Verdict
from sr3d.study.report.verdicts.wording import called, versus
from sr3d.study.statistics import Comparison, Interval, compare, simultaneous


def case_of_curve(claim: CurveBelow, findings: Findings, labels: Mapping[str, str]) -> Case:
    """The claim as it is printed."""
    return Case(claim, f"lower {called(claim.metric)} in every epoch", findings, labels)


def evidence_of_curve(case: Case, claim: CurveBelow) -> Evidence | Judgement:
    """Test the largest difference over the epochs that both curves have.

    An epoch with fewer than two training runs on a side leaves the claim open.
    """
    metric = called(claim.metric)
    curves = {s: case.findings.curves(s, claim.metric) for s in (claim.setting, claim.over)}
    if absent := [s for s, rows in curves.items() if not any(rows)]:
        return case.not_run(*absent)
    a, b = curves.values()
    if min(len(a), len(b)) < 2:
        return case.one_training(curves)
    epochs = _by_epoch(a, b)
    compared = [c for c in epochs if c is not None]
    if not compared:
        reason = "no epoch has two training runs on both sides"
        return case.untested(Verdict.INCONCLUSIVE, reason)
    lower = [1.0] * (len(epochs) - len(compared)) + [p_not_below(c.estimate) for c in compared]
    higher = [p_not_above(c.estimate) for c in compared]
    highest = max(compared, key=lambda c: c.difference)
    count = sum(c.difference < 0 for c in compared)
    where = f"lower on average in {count} of {len(compared)} epochs"
    name, other = case.names(claim.setting), case.names(claim.over)
    return Evidence(
        question=("below", claim.metric, claim.setting, claim.over),
        p_for=max(lower),
        p_against=min(1.0, len(higher) * min(higher)),
        amount=Size.NO_AMOUNT,
        value=highest.difference,
        interval=partial(_interval, compared),
        write=partial(signed, claim.metric),
        unit=f"{metric} in the epoch of the largest difference, {versus(len(a), len(b))}",
        detectable=max(c.detectable for c in compared),
        texts=Texts(
            shown=f"{name} lies below {other} in every epoch",
            refuted=f"{name} lies above {other} in an epoch or more; it is {where}",
            open=f"{name} is {where}",
        ),
        remark=_untested(case, curves, len(epochs), len(epochs) - len(compared)),
    )


def _interval(compared: Sequence[Comparison], confidence: float) -> Interval:
    """Of the largest difference: each end is as sharp as the test that it belongs to."""
    each = simultaneous(len(compared), confidence)
    lows = [c.estimate.interval(each)[0] for c in compared]
    highs = [c.estimate.interval(confidence)[1] for c in compared]
    return max(lows), max(highs)


def _by_epoch(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]
) -> list[Comparison | None]:
    """Compare curves[training][epoch] in every epoch that both sides have."""
    epochs = min(max(map(len, a)), max(map(len, b)))
    return [compare(_values_at(a, epoch), _values_at(b, epoch)) for epoch in range(epochs)]


def _values_at(rows: Sequence[Sequence[float]], epoch: int) -> list[float]:
    return [row[epoch] for row in rows if epoch < len(row) and math.isfinite(row[epoch])]


def _untested(
    case: Case, curves: Mapping[str, Sequence[Sequence[float]]], common: int, without: int
) -> str:
    """Which epochs are left out, in words: of `common` ones, and beyond them."""
    longer = {s: n for s, rows in curves.items() if (n := max(map(len, rows))) > common}
    remarks = [
        f"the last {n - common} epochs of {case.names(s)} have no counterpart"
        for s, n in longer.items()
    ]
    if without:
        remarks.append(f"epochs without two training runs on both sides: {without}")
    return ", and ".join(remarks)
