"""The output of `sr3d evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from sr3d.text_tables import text_table

if TYPE_CHECKING:
    from sr3d.study.external_boxes import Evaluation, ScoredFile


def describe(found: Evaluation) -> str:
    """A table of classes with means over the files. Several files add intervals and the
    difference.
    """
    from sr3d.study.external_boxes import METRICS

    rows = [("class", *METRICS)]
    for name in found.files[0].result["per_class"]:
        values = [_class_mean(found.files, name, metric) for metric in METRICS]
        rows.append((name, *(f"{value:.2f}" for value in values)))
    rows.append(("mean", *(f"{found.summary(metric).mean:.2f}" for metric in METRICS)))
    lines = text_table(rows)
    if without := found.files[0].result["without_ground_truth"]:
        lines.append("left out, no ground truth: " + ", ".join(without))
    for metric in METRICS:
        if len(found.files) > 1 or found.against:
            lines.append(_summary(found, metric))
    for metric in METRICS:
        if found.against:
            lines.append(_difference(found, metric))
    return "\n".join(lines) + "\n"


def _class_mean(files: Sequence[ScoredFile], name: str, metric: str) -> float:
    return fmean(file.result["per_class"][name][metric] for file in files)


def _summary(found: Evaluation, metric: str) -> str:
    """`AP25: mean 70.1, best 71.2, median 70.0, 95 % interval 69.0 to 71.2 (5 training runs)`."""
    summary = found.summary(metric)
    count = f"{summary.n_trainings} training run{'s' if summary.n_trainings > 1 else ''}"
    if summary.interval is None:
        return f"{metric}: {summary.mean:.2f} ({count}, so no interval)"
    low, high = summary.interval
    return (
        f"{metric}: mean {summary.mean:.2f}, best {summary.best:.2f}, median {summary.median:.2f}, "
        f"95 % interval {low:.2f} to {high:.2f} ({count})"
    )


def _difference(found: Evaluation, metric: str) -> str:
    """The difference, with intervals over training runs and over the choice of scenes."""
    text = f"{metric} difference: {found.difference(metric):+.2f}"
    comparison = found.comparison(metric)
    if comparison is None:
        text += ", no interval over training runs (two files of each are needed)"
    else:
        low, high = comparison.interval
        text += (
            f", 95 % interval over training runs {low:+.2f} to {high:+.2f} (Welch p "
            f"{comparison.p_t:.3g}, permutation p {comparison.p_permutation:.3g}, "
            f"{comparison.n_a} against {comparison.n_b})"
        )
    half = found.scene_half_width(metric)
    return text if half is None else f"{text}, over the choice of scenes ±{half:.2f}"
