"""Write the claims of a report as CSV and as Markdown."""

from __future__ import annotations

import csv
import io

from sr3d.study.report.page import Report
from sr3d.study.report.paper import (
    AtMostClaim,
    Claim,
    EquivalenceClaim,
    printed_dataset,
    settings_of_claim,
    title_of,
)
from sr3d.study.report.tables.formats import pipes
from sr3d.study.report.verdicts import Judgement, Numbers, count
from sr3d.study.report.verdicts.judgement import DIRECTIONS, SIZES, VERDICTS

COLUMNS = (
    "dataset", "of", "claim", "kind", "says", "where", "verdict", "direction", "size", "paper",
    "ours", "estimate", "low", "high", "simultaneous_low", "simultaneous_high", "p_holm_for",
    "p_holm_against", "p_holm_amount", "family", "detectable", "bound", "bound_reason", "why",
    "footnote", "settings",
)  # fmt: skip


def claims_as_csv(report: Report) -> str:
    """One line per claim and data set. A claim that no run can check has an empty data set.

    `verdict`, `direction` and `size` are codes (`verdicts.judgement`). `kind` is the kind of
    statement, and `bound` its margin or limit. The numbers are those of `Numbers`, with adjusted
    p-values. The last column holds the settings by the names of their run folders.
    """
    lines = io.StringIO()
    writer = csv.DictWriter(lines, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for dataset, one in _every(report):
        claim = one.claim
        row = {
            "dataset": dataset,
            "of": claim.of,
            "claim": claim.id,
            "kind": claim.kind,
            "says": claim.says,
            "where": claim.where,
            "verdict": one.verdict.value,
            "direction": one.direction.value,
            "size": one.size.value,
            "paper": one.paper_says,
            "ours": one.ours,
            "why": one.why,
            "footnote": claim.footnote,
            "settings": " ".join(settings_of_claim(claim)),
        }
        writer.writerow(row | _bound(claim) | _numbers(one.numbers))
    return lines.getvalue()


def claims_as_markdown(report: Report) -> str:
    """The number of claims with each verdict, then a table per table or figure and data set."""
    lines = ["# The paper's claims", ""]
    for part in report.parts:
        counts = [f"{n} {VERDICTS[verdict].word}" for verdict, n in count(part.judged).items()]
        lines.append(f"- On {part.label}: {', '.join(counts[:-1])}.")
    lines += [
        "- Brackets show simultaneous 95 % intervals (Bonferroni) over all claims of a table or "
        "figure on one kind of quantity. Holm's rule adjusts p-values over the same claims.",
    ]
    heading = ""
    for dataset, one in _every(report):
        place = f"on {printed_dataset(dataset).label}" if dataset else "on any data"
        if heading != (heading := f"## {title_of(report.paper, one.claim.of)} ({place})"):
            columns = ("claim", "verdict", "direction", "amount", "paper", "ours", "why")
            lines += ["", heading, "", pipes(columns), "| --- " * len(columns) + "|"]
        words = VERDICTS[one.verdict], DIRECTIONS[one.direction], SIZES[one.size]
        cells = (one.claim.says, *(w.word for w in words), one.paper_says, one.ours, one.why)
        lines.append(pipes(cells))
    return "\n".join(lines) + "\n"


def _bound(claim: Claim) -> dict[str, str]:
    """The margin or limit of a claim with its reason. Empty for other claims."""
    match claim:
        case EquivalenceClaim():
            return {"bound": f"{claim.margin:g}", "bound_reason": claim.margin_reason}
        case AtMostClaim():
            return {"bound": f"{claim.limit:g}", "bound_reason": claim.limit_reason}
        case _:
            return {}


def _numbers(numbers: Numbers | None) -> dict[str, str]:
    if numbers is None:
        return {}
    (low, high), (lowest, highest) = numbers.interval, numbers.simultaneous
    values = {
        "estimate": numbers.value,
        "low": low,
        "high": high,
        "simultaneous_low": lowest,
        "simultaneous_high": highest,
        "p_holm_for": numbers.p_for,
        "p_holm_against": numbers.p_against,
        "p_holm_amount": numbers.p_amount,
        "family": numbers.family,
        "detectable": numbers.detectable,
    }
    return {name: "" if value is None else f"{value:.6g}" for name, value in values.items()}


def _every(report: Report) -> list[tuple[str, Judgement]]:
    """Each claim with its data set, "" if no run can check it, ordered by table and figure."""
    every = [(part.dataset, one) for part in report.parts for one in part.judged]
    every += [("", one) for one in report.cited]
    return sorted(every, key=lambda pair: report.names.index(pair[1].claim.of))
