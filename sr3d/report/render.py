"""A printed table as Markdown, LaTeX and plain text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from sr3d.report.layout import Printed

# Everything that TeX takes for its own, and our characters that its default fonts lack. Brackets
# and stars go in braces, because after a line's end TeX reads them as an option of the break.
_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": "$<$", ">": "$>$", "|": "$|$", '"': "''",
    "[": "{[}", "]": "{]}", "*": "{*}", "–": "--", "—": "---", "−": "$-$", "×": r"$\times$",
    "✓": r"$\surd$", "Δ": r"$\Delta$", "±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$",
    "τ": r"$\tau$", "μ": r"$\mu$", "β": r"$\beta$",
}  # fmt: skip
_METRIC = {"AP25": "AP$_{25}$", "AP50": "AP$_{50}$"}


def to_markdown(table: Printed) -> str:
    """One Markdown table for each metric, then the notes."""
    lines = [f"# {_md(table.heading)}", ""]
    for metric, rows in table.blocks:
        lines += [f"## {metric}", "", _pipes(table.columns), _pipes(["---"] * len(table.columns))]
        lines += [*(_pipes(row) for row in rows), ""]
    return "\n".join(lines + [f"- {_md(note)}" for note in table.notes]) + "\n"


def to_latex(table: Printed) -> str:
    """A float that compiles as it is where `booktabs` is loaded; a rule above each metric."""
    label = f"tab:{table.name}-{table.dataset}".replace("_", "-")
    lines = [
        r"\begin{table*}",
        r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{tex(table.heading)}}}\label{{{label}}}",
        rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}",
        r"\toprule",
        _ampersands(table.columns),
    ]
    for metric, rows in table.blocks:
        head = _METRIC.get(metric, tex(metric))
        lines += [r"\midrule", rf"\multicolumn{{{len(table.columns)}}}{{l}}{{{head}}} \\"]
        lines += [_ampersands(row) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}", r"\par\smallskip", r"\begin{minipage}{\linewidth}"]
    lines += [rf"{tex(note)}\par" for note in table.notes]
    return "\n".join([*lines, r"\end{minipage}", r"\end{table*}"]) + "\n"


def to_text(table: Printed) -> str:
    """Aligned columns for a terminal."""
    every = [table.columns, *(row for _, rows in table.blocks for row in rows)]
    widths = [max(len(line[i]) for line in every) for i in range(len(table.columns))]
    lines = [table.heading, "", _aligned(table.columns, widths)]
    for metric, rows in table.blocks:
        lines += [f"{metric} ".ljust(sum(widths) + 2 * len(widths) - 2, "─")]
        lines += [_aligned(row, widths) for row in rows]
    return "\n".join([*lines, "", *(f"- {note}" for note in table.notes)]) + "\n"


def tex(text: str) -> str:
    """Text that LaTeX prints with any engine and no further package; accents are dropped."""
    return "".join(_TEX.get(letter) or _ascii(letter) for letter in text)


def _ascii(letter: str) -> str:
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return plain or "?"


def _ampersands(cells: Sequence[str]) -> str:
    return " & ".join(tex(cell) for cell in cells) + r" \\"


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_md(cell) for cell in cells) + " |"


def _md(text: str) -> str:
    for letter in "\\|*_[]<`":
        text = text.replace(letter, "\\" + letter)
    return text


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip()
