"""The result on one data set in one sentence, and training runs that are outliers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import number, printed_dataset
from sr3d.study.report.setting_comparisons import compare_settings
from sr3d.study.statistics import Comparison

METRIC = "AP25"
# The paper's detector and the detector that it is compared with. Settings of these names.
DETECTOR, BASELINE = "sr3d", "baseline"


@dataclass(frozen=True)
class Headline:
    """The result on one data set.

    text: one or more sentences. setting: the setting that the text is about, None if no setting has
    an AP25. mean: its AP25 in percent. over: the setting that it is compared with, if both have
    AP25. difference: of the means. comparison: None if a side has fewer than two training runs or
    if no training run differs from its siblings.
    """

    text: str
    setting: str | None = None
    mean: float | None = None
    over: str | None = None
    difference: float | None = None
    comparison: Comparison | None = None


def headline_of(findings: Findings, labels: Mapping[str, str]) -> Headline:
    """State the AP25 of SR3D and its difference to the baseline.

    If SR3D has no AP25, the text is about the setting with the highest mean.

    labels: the printed name of each setting.

    Raises:
        InputError: an unreadable record or summary.
    """
    place = printed_dataset(findings.dataset).label
    means = _means(findings)
    if not means:
        return Headline(f"No setting has been evaluated on {place} yet.")
    setting = settings_of_result(findings)[0]
    mean = means[setting]
    reached = f"{labels.get(setting, setting)} reaches {number(METRIC, mean)} {METRIC} on {place}"
    gap = _missing(findings, setting, labels)
    if setting == BASELINE or BASELINE not in means:
        return Headline(f"{reached} {_alone(findings, setting)}{gap}", setting, mean)
    found = compare_settings(findings, setting, BASELINE, METRIC)
    comparison = found if found is not None and found.estimate.has_spread else None
    difference = comparison.difference if comparison else mean - means[BASELINE]
    compared = _compared(difference, labels.get(BASELINE, BASELINE), comparison)
    gap += _missing(findings, BASELINE, labels)
    return Headline(f"{reached}, {compared}{gap}", setting, mean, BASELINE, difference, comparison)


def settings_of_result(findings: Findings) -> tuple[str, ...]:
    """The setting of the headline, then the baseline if both have AP25. Empty without any."""
    means = _means(findings)
    if not means:
        return ()
    first = DETECTOR if DETECTOR in means else max(means, key=lambda name: means[name])
    return (first, BASELINE) if BASELINE in means and first != BASELINE else (first,)


def _means(findings: Findings) -> dict[str, float]:
    return {
        setting: float(found["mean"])
        for setting in findings.settings()
        if (found := findings.metric(setting, METRIC))
    }


def _alone(findings: Findings, setting: str) -> str:
    """The end of a sentence about a setting without a baseline."""
    found = findings.metric(setting, METRIC) or {}
    runs = _count(len(findings.means(setting, METRIC)))
    interval = found.get("interval")
    if not interval:
        return f"({runs}, no confidence interval). The baseline has not been evaluated."
    return f"(95 % CI {_ends(*interval)}, {runs}). The baseline has not been evaluated."


def _compared(difference: float, baseline: str, comparison: Comparison | None) -> str:
    """The end of a sentence about a difference to the baseline."""
    size = number(METRIC, abs(difference))
    where = "above" if difference > 0 else "below"
    same = not any(digit in size for digit in "123456789")
    how = f"as much as {baseline}" if same else f"{size} {where} {baseline}"
    if comparison is None:
        return f"{how}. There is no confidence interval: it needs two differing training runs each."
    low, high = comparison.interval
    counts = dict.fromkeys((comparison.n_a, comparison.n_b))
    runs = _count(comparison.n_a) if len(counts) == 1 else " and ".join(map(_count, counts))
    each = " each" if len(counts) == 1 and not comparison.paired else ""
    found = f"{how} (95 % CI {_ends(low, high)}): statistically"
    if low <= 0 <= high:
        return f"{found} inconclusive with {runs}{each}."
    # The claims below the headline, which correct for their number, may still be inconclusive.
    return f"{found} significant with {runs}{each}, as the only comparison."


def _ends(low: float, high: float) -> str:
    return f"{number(METRIC, low)} to {number(METRIC, high)}"


def _count(runs: int) -> str:
    return f"{runs} training run{'' if runs == 1 else 's'}"


def _missing(findings: Findings, setting: str, labels: Mapping[str, str]) -> str:
    """A sentence about incomplete evaluations that were planned, "" if there are none."""
    summary = findings.summary(setting) or {}
    wanted = (summary.get("expected") or {}).get("runs") or 0
    have = summary.get("runs", 0)
    if have >= wanted:
        return ""
    return f" {labels.get(setting, setting)}: {have} of {wanted} evaluations are complete."


LEAST_RUNS = 4  # of a setting: with fewer it is unclear which run is the outlier
# Robust standard deviations from the median. In simulations 6 % of settings with five normally
# distributed runs had a run beyond it by chance, and 20 % a run beyond the usual 3.5.
DEVIATIONS = 7.0
POINTS = 2.0  # AP25 from the median: a smaller distance is never an outlier
_TO_SD = 1.4826  # standard deviation of normal values, relative to median absolute deviation


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
            f"The training run {self.folder} has a mean of {number(METRIC, self.mean)} {METRIC}, "
            f"{size} {where} the median of its setting."
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
