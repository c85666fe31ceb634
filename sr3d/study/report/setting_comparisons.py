"""How settings are compared: which values are pairs, and which tests are one family.

Two settings are compared training by training if both evaluated the same trainings, such as the
oracles of the paper's Table 6 and their baseline. A training's own level is no part of their
difference, so a comparison as independent values would be far too careful.

Holm's rule adjusts the tests of a family together. Each kind of quantity is a family of its own
within a table or figure: a test of latency must not make one of AP harder to pass, as nobody calls
a detector more accurate for being faster.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from typing import NamedTuple, TypeVar

from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import PARAMETERS
from sr3d.study.statistics import Comparison, compare, holm


def compare_settings(findings: Findings, setting: str, over: str, metric: str) -> Comparison | None:
    """`stats.compare` of the training means; None where a side has fewer than two."""
    a, b, paired = sides(findings, setting, over, metric)
    return compare(a, b, paired)


def sides(
    findings: Findings, setting: str, over: str, metric: str
) -> tuple[list[float], list[float], bool]:
    """The training means of both, and whether they are pairs, of training runs that both evaluated.

    The run records identify a training run (`setting_summary.training_id`), never a setting's name.
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
    """The value is how it is called in print."""

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
    """Adjust p-values by Holm's rule, those of each family by themselves."""
    families: dict[Hashable, list[Key]] = {}
    for key in p:
        families.setdefault(family(key), []).append(key)
    return {
        key: AdjustedP(adjusted, len(keys))
        for keys in families.values()
        for key, adjusted in zip(keys, holm([p[k] for k in keys]), strict=True)
    }
