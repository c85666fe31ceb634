"""The numbers and sentences of verdicts, as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sr3d.report.paper import Claim, number, printed_dataset, signed
from sr3d.report.verdicts.judged import Verdict
from sr3d.stats import Comparison, Ratio

NOTHING = "–"

# How a metric is called in a sentence, and its unit; of a score both are its name.
_CALLED = {"latency_ms": ("latency", "ms"), "minutes_per_epoch": ("time an epoch", "minutes")}


@dataclass(frozen=True)
class Place:
    """The data that a claim is judged on. known: the paper makes the claim on them."""

    label: str
    known: bool

    def sentence(self, text: str, verdict: Verdict) -> str:
        """The text as a sentence that says on which data it is true."""
        if self.known:
            return f"On {self.label}: {text}."
        if verdict is Verdict.REPRODUCED:
            return f"Also holds on {self.label}, where the paper does not claim it: {text}."
        return f"On {self.label}, where the paper does not claim it: {text}."


def place_of(claim: Claim, dataset: str) -> Place:
    """Where a claim is judged.

    Raises:
        InputError: unknown data set.
    """
    return Place(printed_dataset(dataset).label, dataset in claim.datasets)


def called(metric: str) -> str:
    """The metric's name in a sentence."""
    return _CALLED.get(metric, (metric, metric))[0]


def unit(metric: str) -> str:
    """Its unit."""
    return _CALLED.get(metric, (metric, metric))[1]


def verb(subjects: Sequence[str], singular: str) -> str:
    """The verb as the number of subjects wants it."""
    return singular if len(subjects) == 1 else {"has": "have"}.get(singular, singular[:-1])


def per_step(slope: float) -> str:
    """A slope, which no number of digits suits: three that count."""
    return f"{slope:+.3g}".replace("-", "−")


def estimate(metric: str, comparison: Comparison) -> str:
    """A difference with its interval and the trainings behind it."""
    low, high = (signed(metric, end) for end in comparison.interval)
    return (
        f"{signed(metric, comparison.difference)} [{low}, {high}] {unit(metric)}, "
        f"{behind(comparison)}"
    )


def behind(found: Comparison | Ratio) -> str:
    """The trainings behind a comparison."""
    return f"{found.n_a} trainings, paired" if found.paired else versus(found.n_a, found.n_b)


def versus(n_a: int, n_b: int) -> str:
    """How many trainings stand on either side."""
    return f"{n_a} vs {n_b} trainings"


def p_value(p: float) -> str:
    """A p-value as text."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def listed(names: Iterable[str]) -> str:
    """'a', 'a and b', 'a, b and c'; "" for none."""
    *first, last = list(names) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def quoted(name: str) -> str:
    """A name in print within a sentence: several words in quotation marks, as where it begins and
    ends must be seen; a single word or "k = 7" as it is.
    """
    return name if re.fullmatch(r"\S+( = \S+)?", name) else f"“{name}”"


def missed(metric: str, detectable: float) -> str:
    """What a design cannot tell."""
    return (
        f"a true difference below {number(metric, detectable)} {unit(metric)} would be missed "
        "more often than one time in five"
    )


def printed_by(paper: Mapping[str, float], dataset: str, show: Callable[[float], str]) -> str:
    """The paper's number on the data, or else all that it has on its own; "" without any."""
    known = {d: value for d, value in paper.items() if d == dataset} or paper
    return listed(f"{show(value)} on {printed_dataset(d).label}" for d, value in known.items())
