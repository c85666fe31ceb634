"""Write tables as files: Markdown, LaTeX and CSV."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sr3d.runs.files import write_text
from sr3d.study.report.paper import STATISTICS
from sr3d.study.report.tables.cells import PrintedTable, TableLine
from sr3d.study.report.tables.filled import FilledRow, FilledTable

# Characters that TeX interprets, and characters of ours that its default fonts lack. Brackets and
# stars are put in braces, because TeX reads them as options of a line break before them.
_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": "$<$", ">": "$>$", "|": "$|$", '"': "''",
    "[": "{[}", "]": "{]}", "*": "{*}", "–": "--", "—": "---", "−": "$-$", "×": r"$\times$",
    "✓": r"$\surd$", "†": r"$\dagger$",
    "Δ": r"$\Delta$", "±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$",
    "τ": r"$\tau$", "μ": r"$\mu$", "β": r"$\beta$",
}  # fmt: skip
# Lines that fill a page beside caption and notes. A longer table becomes several floats.
_LINES_OF_A_FLOAT = 40

Block = tuple[str, tuple[TableLine, ...]]  # a metric and its lines


def to_markdown(table: PrintedTable) -> str:
    """One Markdown table per metric, then the notes."""
    lines = [f"# {escape_markdown(table.heading)}", ""]
    for label, block in table.blocks:
        lines += [f"## {escape_markdown(label)}", "", pipes(table.columns)]
        lines += ["|" + " --- |" * len(table.columns)]
        lines += [_group(table, x) if isinstance(x, str) else pipes(x) for x in block]
        lines.append("")
    return "\n".join(lines + [f"- {escape_markdown(note.text)}" for note in table.notes]) + "\n"


def to_latex(table: PrintedTable) -> str:
    """Floats that compile if `booktabs` is loaded. The last one has the notes.

    The layout is for the full width of a two-column page, six inches or more.
    """
    floats = _floats(table.blocks)
    lines = []
    for number, blocks in enumerate(floats):
        lines += [
            r"\begin{table*}",
            r"\centering\scriptsize\setlength{\tabcolsep}{2pt}",
            _caption(table, number),
            rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}",
            r"\toprule",
            _ampersands(table.columns),
        ]
        for label, block in blocks:
            lines += [r"\midrule", _across(table, rf"\textbf{{{tex(label)}}}")]
            lines += [
                _across(table, tex(x)) if isinstance(x, str) else _ampersands(x) for x in block
            ]
        lines += [r"\bottomrule", r"\end{tabular}"]
        if blocks is floats[-1]:
            lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}"]
            lines += [rf"{tex(note.text)}\par" for note in table.notes]
            lines += [r"\end{minipage}"]
        lines += [r"\end{table*}"]
    return "\n".join(lines) + "\n"


def tex(text: str) -> str:
    """Text that LaTeX prints with any engine and no further package. Accents are dropped."""
    return "".join(_TEX.get(letter) or _ascii(letter) for letter in text)


def _ascii(letter: str) -> str:
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return plain or "?"


def _floats(blocks: Sequence[Block]) -> list[list[Block]]:
    """As many metrics per float as a page holds, at least one."""
    floats: list[list[Block]] = []
    left = 0
    for label, block in blocks:
        height = len(block) + 1
        if height > left:
            floats.append([])
            left = _LINES_OF_A_FLOAT
        floats[-1].append((label, block))
        left -= height
    return floats


def _caption(table: PrintedTable, number: int) -> str:
    label = f"tab:{table.name}-{table.dataset}".replace("_", "-")
    heading = tex(table.heading)
    if number:
        heading, label = f"{heading}, continued", f"{label}-{number + 1}"
    return rf"\caption{{{heading}}}\label{{{label}}}"


def _across(table: PrintedTable, text: str) -> str:
    return rf"\multicolumn{{{len(table.columns)}}}{{l}}{{{text}}} \\"


def _ampersands(cells: Sequence[str]) -> str:
    return " & ".join(tex(cell) for cell in cells) + r" \\"


def pipes(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"


def _group(table: PrintedTable, text: str) -> str:
    """A group's heading as a row, in the column of the settings."""
    cells = [f"**{escape_markdown(text)}**" if name == "setting" else "" for name in table.columns]
    return "| " + " | ".join(cells) + " |"


def escape_markdown(text: str) -> str:
    """Text that Markdown prints unchanged, also in the cell of a table."""
    for letter in "\\|*_[]<`":
        text = text.replace(letter, "\\" + letter)
    return text


TABLE_FORMATS = ("md", "csv", "tex")


def write_table(filled: FilledTable, printed: PrintedTable, out: Path) -> list[Path]:
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


def raw_numbers(results: FilledTable) -> pd.DataFrame:
    """One row per setting and metric, in full precision. Empty if there is no value."""
    return pd.DataFrame(
        [
            _raw_row(results, entry, metric)
            for metric in results.table.metrics
            for entry in results.entries
        ]
    )


def _raw_row(results: FilledTable, entry: FilledRow, metric: str) -> dict[str, Any]:
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
