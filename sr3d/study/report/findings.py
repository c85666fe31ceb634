"""What lies below `results/{dataset}/`: the summary of each setting, read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr3d.study.report.summary_files import find_summary


@dataclass(frozen=True)
class Findings:
    """All settings on one data set. A setting that never ran has no summary and no values."""

    results: Path
    dataset: str
    _read: dict[str, dict[str, Any] | None] = field(default_factory=dict, repr=False)

    def summary(self, setting: str) -> dict[str, Any] | None:
        """The setting's summary (`report.summary`), or None where nothing ran.

        Raises:
            InputError: an unreadable record or summary.
        """
        if setting not in self._read:
            self._read[setting] = find_summary(self.results / self.dataset / setting)
        return self._read[setting]

    def metric(self, setting: str, name: str) -> dict[str, Any] | None:
        """Statistics of one metric (fields of `stats.Summary`, and `values`), if there are any."""
        found: dict[str, Any] | None = (self.summary(setting) or {}).get("metrics", {}).get(name)
        return found

    def values(self, setting: str, name: str) -> list[list[float]]:
        """`[training][test]`; of what belongs to a training, one value each."""
        return [list(row) for row in (self.metric(setting, name) or {}).get("values", [])]

    def means(self, setting: str, name: str) -> list[float]:
        """The mean of each training."""
        return [
            float(value) for value in (self.metric(setting, name) or {}).get("training_means", [])
        ]

    def trainings(self, setting: str, name: str) -> list[str]:
        """Which training each of `means` is of (`summary.training_id`); [] where that is unknown,
        as in summaries of before it was kept.
        """
        return list((self.metric(setting, name) or {}).get("training_ids", []))

    def curves(self, setting: str, name: str) -> list[list[float]]:
        """`[training][epoch]` of "AIC" or "loss"."""
        found = (self.summary(setting) or {}).get("curves", {}).get(name, [])
        return [list(row) for row in found]

    def settings(self) -> list[str]:
        """The settings that have a folder here, by name."""
        folder = self.results / self.dataset
        return (
            sorted(path.name for path in folder.iterdir() if path.is_dir())
            if folder.is_dir()
            else []
        )
