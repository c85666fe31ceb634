"""Which tests of significance are one family, so that Holm's rule adjusts them together.

Each kind of quantity is a family of its own within a table or figure: a test of latency must not
make one of AP harder to pass, as nobody calls a detector more accurate for being faster.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from typing import NamedTuple, TypeVar

from sr3d.study.report.paper import PARAMETERS
from sr3d.study.statistics import holm

ALPHA = 0.05  # the level of every family

Key = TypeVar("Key", bound=Hashable)


class Family(Enum):
    """The value is how it is called in print."""

    ACCURACY = "accuracy"
    COST = "cost"


class Adjusted(NamedTuple):
    """A p-value, adjusted over the `tests` of its family."""

    p: float
    tests: int


def family_of(metric: str) -> Family:
    """Accuracy: AP25, AP50, PCE and AIC. Cost: latency, training time and parameters."""
    cost = metric in ("latency_ms", "minutes_per_epoch", PARAMETERS)
    return Family.COST if cost else Family.ACCURACY


def adjust(p: Mapping[Key, float], family: Callable[[Key], Hashable]) -> dict[Key, Adjusted]:
    """Adjust p-values by Holm's rule, those of each family by themselves."""
    families: dict[Hashable, list[Key]] = {}
    for key in p:
        families.setdefault(family(key), []).append(key)
    return {
        key: Adjusted(adjusted, len(keys))
        for keys in families.values()
        for key, adjusted in zip(keys, holm([p[k] for k in keys]), strict=True)
    }
