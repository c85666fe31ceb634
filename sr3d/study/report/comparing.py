"""Two settings set against each other, by training where both tested the same trainings.

Such are the oracles of the paper's Table 6 and their baseline. What a training has in common is no
part of their difference, so comparing them as independent would be far too careful.
"""

from __future__ import annotations

from sr3d.study.report.findings import Findings
from sr3d.study.statistics import Comparison, compare


def compare_settings(findings: Findings, setting: str, over: str, metric: str) -> Comparison | None:
    """`stats.compare` of the training means; None where a side has fewer than two."""
    a, b, paired = sides(findings, setting, over, metric)
    return compare(a, b, paired)


def sides(
    findings: Findings, setting: str, over: str, metric: str
) -> tuple[list[float], list[float], bool]:
    """The training means of both, and whether they are pairs: of the trainings that both tested.

    Which these are is told by the run records (`summary.training_id`), never by names of settings.
    """
    a, b = findings.means(setting, metric), findings.means(over, metric)
    of_a, of_b = findings.trainings(setting, metric), findings.trainings(over, metric)
    both = [training for training in of_a if training in of_b]
    if not both:
        return a, b, False
    from_a, from_b = dict(zip(of_a, a, strict=True)), dict(zip(of_b, b, strict=True))
    return [from_a[t] for t in both], [from_b[t] for t in both], True
