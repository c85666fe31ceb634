"""Rules for comparing settings: which values are pairs, and which tests form a family.

Two settings are compared training run by training run if both evaluated the same training runs,
such as the oracles of the paper's Table 6 and their baseline. The effect of a training run cancels
in their difference. To treat them as independent values would be far too conservative.

Holm's rule adjusts the tests of a family together. Within a table or figure each kind of quantity
is a family. A test of latency must not make a test of AP harder to pass, because nobody calls a
detector more accurate for being faster.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from typing import NamedTuple, TypeVar

from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import PARAMETERS
from sr3d.study.statistics import Comparison, compare, holm


def compare_settings(findings: Findings, setting: str, over: str, metric: str) -> Comparison | None:
    """`stats.compare` of the training means. None if a side has fewer than two."""
    a, b, paired = sides(findings, setting, over, metric)
    return compare(a, b, paired)


def sides(
    findings: Findings, setting: str, over: str, metric: str
) -> tuple[list[float], list[float], bool]:
    """The training means of both settings, and whether they are pairs.

    They are pairs if both settings evaluated the same training runs. The run records identify a
    training run (`setting_summary.training_id`), not the name of its setting.
    """
    a, b = findings.means(setting, metric), findings.means(over, metric)
    of_a, of_b = findings.trainings(setting, metric), findings.trainings(over, metric)
    both = [training for training in of_a if training in of_b]
    if not both:
        return a, b, False
    from_a, from_b = dict(zip(of_a, a, strict=True)), dict(zip(of_b, b, strict=True))
    return [from_a[t] for t in both], [from_b[t] for t in both], True


ALPHA = 0.05  # the level of every family

Key = TypeVar("Key", bound=Hashable)


class HypothesisFamily(Enum):
    """The value is the printed name."""

    ACCURACY = "accuracy"
    COST = "cost"


class AdjustedP(NamedTuple):
    """A p-value, adjusted over the `tests` of its family."""

    p: float
    tests: int


def family_of(metric: str) -> HypothesisFamily:
    """Accuracy: AP25, AP50, PCE and AIC. Cost: latency, training time and parameters."""
    cost = metric in ("latency_ms", "minutes_per_epoch", PARAMETERS)
    return HypothesisFamily.COST if cost else HypothesisFamily.ACCURACY


def adjust(p: Mapping[Key, float], family: Callable[[Key], Hashable]) -> dict[Key, AdjustedP]:
    """Adjust p-values by Holm's rule within each family."""
    families: dict[Hashable, list[Key]] = {}
    for key in p:
        families.setdefault(family(key), []).append(key)
    return {
        key: AdjustedP(adjusted, len(keys))
        for keys in families.values()
        for key, adjusted in zip(keys, holm([p[k] for k in keys]), strict=True)
    }
