"""Writes a table of the paper with our results: Markdown, CSV and LaTeX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sr3d.runs.files import write_text
from sr3d.study.report.index import TABLE_FORMATS
from sr3d.study.report.layout import Printed
from sr3d.study.report.paper import STATISTICS
from sr3d.study.report.render import to_latex, to_markdown
from sr3d.study.report.table_results import Entry, Results


def write_table(filled: Results, printed: Printed, out: Path) -> list[Path]:
    """Write one table on one data set: `{table}_{dataset}.{md,csv,tex}`."""
    texts = {
        "md": to_markdown(printed),
        "csv": raw_numbers(filled).to_csv(index=False),
        "tex": to_latex(printed),
    }
    paths = [out / f"{printed.name}_{printed.dataset}.{ending}" for ending in TABLE_FORMATS]
    for path, ending in zip(paths, TABLE_FORMATS, strict=True):
        write_text(path, texts[ending])
    return paths


def raw_numbers(results: Results) -> pd.DataFrame:
    """One row for each setting and metric, at full precision; empty where there is no value."""
    return pd.DataFrame(
        [
            _raw_row(results, entry, metric)
            for metric in results.table.metrics
            for entry in results.entries
        ]
    )


def _raw_row(results: Results, entry: Entry, metric: str) -> dict[str, Any]:
    found = entry.metric(metric) or {}
    low, high = found.get("interval") or (None, None)
    delta = results.delta(entry, metric)
    delta_low, delta_high = (delta and delta.interval) or (None, None)
    lowest, highest = (delta and delta.simultaneous) or (None, None)
    row: dict[str, Any] = {
        "table": results.table.name,
        "dataset": results.dataset,
        "group": entry.row.group,
        "setting": entry.row.setting,
        "label": entry.row.label,
    }
    row |= {name: name in entry.row.ticks for name in results.table.components}
    row |= {
        "metric": metric,
        "mean": found.get("mean"),
        "interval_low": low,
        "interval_high": high,
        "scenes_half_width": entry.scenes(metric),
        "best": found.get("best"),
        "median": found.get("median"),
        "sd_between": found.get("sd_between"),
        "sd_within": found.get("sd_within"),
        "trainings": found.get("n_trainings", 0),
        "runs": found.get("n_tests", 0),
        "expected_runs": results.runs(entry, metric)[1] if entry.row.setting else 0,
        "difference": delta and delta.difference,
        "difference_low": delta_low,
        "difference_high": delta_high,
        "difference_simultaneous_low": lowest,
        "difference_simultaneous_high": highest,
        "difference_scenes_half_width": delta and delta.scenes,
        "paired": delta and delta.paired,
        "p_holm": delta and delta.p,
        "p_permutation": delta and delta.p_permutation,
        "detectable": delta and delta.detectable,
        "paper_dataset": results.paper_dataset,
    }
    row |= {f"paper_{s}": results.paper_value(entry, metric, s) for s in STATISTICS}
    return row | {
        f"paper_difference_{s}": results.paper_difference(entry, metric, s)
        for s in ("best", "mean")
    }
