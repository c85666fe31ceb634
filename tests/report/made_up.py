"""Artificial findings and claims for tests of the verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from sr3d.study.report.paper import AmountClaim, Claim, DifferenceClaim, Paper

ABOUT: dict[str, Any] = {
    "of": "table2",
    "says": "it is so",
    "where": "Ablation",
    "datasets": ("scannet",),
}


@dataclass(frozen=True)
class MadeUp:
    """What `Findings` tells, from numbers in memory.

    tests: (setting, metric) -> [training][test]. lines: (setting, metric) -> [training][epoch].
    summaries: setting -> further entries of its summary. tested: setting -> which trainings its
    tests are of, in their order, where two share some.
    """

    tests: dict[tuple[str, str], list[list[float]]] = field(default_factory=dict)
    lines: dict[tuple[str, str], list[list[float]]] = field(default_factory=dict)
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    tested: dict[str, list[str]] = field(default_factory=dict)
    dataset: str = "scannet"
    results: Path = Path("results")

    def summary(self, setting: str) -> dict[str, Any] | None:
        ran = {name for name, _ in (*self.tests, *self.lines)} | set(self.summaries)
        return self.summaries.get(setting, {}) if setting in ran else None

    def metric(self, setting: str, name: str) -> dict[str, Any] | None:
        values = self.values(setting, name)
        return {"values": values, "training_means": self.means(setting, name)} if values else None

    def values(self, setting: str, name: str) -> list[list[float]]:
        return self.tests.get((setting, name), [])

    def means(self, setting: str, name: str) -> list[float]:
        return [fmean(row) for row in self.values(setting, name)]

    def trainings(self, setting: str, name: str) -> list[str]:
        return self.tested.get(setting, []) if self.values(setting, name) else []

    def curves(self, setting: str, name: str) -> list[list[float]]:
        return self.lines.get((setting, name), [])


def once(*means: float) -> list[list[float]]:
    """One evaluation of each training run."""
    return [[mean] for mean in means]


def around(centre: float, spread: float = 0.1) -> list[list[float]]:
    """Five training runs that lie evenly about a centre."""
    return once(*(centre + spread * step for step in (-2, -1, 0, 1, 2)))


def paper_of(*claims: Claim) -> Paper:
    """A paper with these claims and without tables."""
    return Paper(tables={}, figures={}, claims={claim.id: claim for claim in claims})


def gain(setting: str, over: str, by: float | None = 1.0, **changes: Any) -> DifferenceClaim:
    """The claim that a setting's AP25 on ScanNet is higher (or lower). by: in the paper."""
    return DifferenceClaim(**(_fields(setting, over, by) | changes))


def amount(setting: str, over: str, by: float, **changes: Any) -> AmountClaim:
    """The claim that a setting's AP25 on ScanNet is higher (or lower) by an amount."""
    return AmountClaim(**(_fields(setting, over, by) | changes))


def _fields(setting: str, over: str, by: float | None) -> dict[str, Any]:
    return {
        **ABOUT,
        "id": f"{setting}_over_{over}",
        "metric": "AP25",
        "setting": setting,
        "over": over,
        "direction": "lower" if by is not None and by < 0 else "higher",
        "paper": {} if by is None else {"scannet": by},
    }
