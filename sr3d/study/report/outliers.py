"""Training runs whose AP25 lies far from that of their siblings."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import number

METRIC = "AP25"
LEAST_RUNS = 4  # of a setting: fewer do not show which run is the odd one
# Robust standard deviations from the median. In simulations 6 % of settings with five normally
# distributed runs had a run beyond it by chance, and 20 % a run beyond the usual 3.5.
DEVIATIONS = 7.0
POINTS = 2.0  # AP25 from the median: a smaller distance is no outlier however close the siblings
_TO_SD = 1.4826  # the standard deviation of normal values by their median absolute deviation


@dataclass(frozen=True)
class Outlier:
    """A training run: its folder below the results, its mean AP25 and the median of its setting."""

    folder: str
    mean: float
    median: float

    def __str__(self) -> str:
        size = number(METRIC, abs(self.mean - self.median))
        where = "above" if self.mean > self.median else "below"
        return (
            f"The training run {self.folder} is an outlier: its mean of {number(METRIC, self.mean)}"
            f" {METRIC} lies {size} {where} the median of its setting."
        )


def outliers_of(findings: Findings, setting: str) -> list[Outlier]:
    """The outliers of a setting, in the order of the training runs.

    A run is an outlier if its mean AP25 differs from the median of the setting's runs by more than
    `POINTS` and by more than `DEVIATIONS` robust standard deviations. The robust standard deviation
    is 1.4826 times the median absolute deviation.

    Raises:
        InputError: an unreadable record or summary.
    """
    found = findings.metric(setting, METRIC) or {}
    means = findings.means(setting, METRIC)
    numbers = found.get("training_numbers", [])
    if len(means) < LEAST_RUNS or len(numbers) != len(means):
        return []
    middle = median(means)
    deviation = _TO_SD * median(abs(mean - middle) for mean in means)
    least = max(POINTS, DEVIATIONS * deviation)
    return [
        Outlier(f"{findings.dataset}/{setting}/train{i}", mean, middle)
        for i, mean in zip(numbers, means, strict=True)
        if abs(mean - middle) > least
    ]
