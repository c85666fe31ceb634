"""A printed table as Markdown, LaTeX and plain text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from sr3d.study.report.layout import Line, Printed

# Everything that TeX takes for its own, and our characters that its default fonts lack. Brackets
# and stars go in braces, because after a line's end TeX reads them as an option of the break.
_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": "$<$", ">": "$>$", "|": "$|$", '"': "''",
    "[": "{[}", "]": "{]}", "*": "{*}", "–": "--", "—": "---", "−": "$-$", "×": r"$\times$",
    "✓": r"$\surd$", "†": r"$\dagger$",
    "Δ": r"$\Delta$", "±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$",
    "τ": r"$\tau$", "μ": r"$\mu$", "β": r"$\beta$",
}  # fmt: skip
# So many lines fill a page beside caption and notes; a longer table becomes several floats.
_LINES_OF_A_FLOAT = 40

Block = tuple[str, tuple[Line, ...]]  # a metric and its lines


def to_markdown(table: Printed) -> str:
    """One Markdown table for each metric, then the notes."""
    lines = [f"# {escape_markdown(table.heading)}", ""]
    for label, block in table.blocks:
        lines += [f"## {escape_markdown(label)}", "", _pipes(table.columns)]
        lines += ["|" + " --- |" * len(table.columns)]
        lines += [_group(table, x) if isinstance(x, str) else _pipes(x) for x in block]
        lines.append("")
    return "\n".join(lines + [f"- {escape_markdown(note)}" for note in table.notes]) + "\n"


def to_latex(table: Printed) -> str:
    """Floats that compile as they are where `booktabs` is loaded; the notes are in the last.

    Made for the full width of a two-column page, six inches or more.
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
            lines += [rf"{tex(note)}\par" for note in table.notes]
            lines += [r"\end{minipage}"]
        lines += [r"\end{table*}"]
    return "\n".join(lines) + "\n"


def tex(text: str) -> str:
    """Text that LaTeX prints with any engine and no further package; accents are dropped."""
    return "".join(_TEX.get(letter) or _ascii(letter) for letter in text)


def _ascii(letter: str) -> str:
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return plain or "?"


def _floats(blocks: Sequence[Block]) -> list[list[Block]]:
    """As many metrics in each float as a page holds, but one at least."""
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


def _caption(table: Printed, number: int) -> str:
    label = f"tab:{table.name}-{table.dataset}".replace("_", "-")
    heading = tex(table.heading)
    if number:
        heading, label = f"{heading}, continued", f"{label}-{number + 1}"
    return rf"\caption{{{heading}}}\label{{{label}}}"


def _across(table: Printed, text: str) -> str:
    return rf"\multicolumn{{{len(table.columns)}}}{{l}}{{{text}}} \\"


def _ampersands(cells: Sequence[str]) -> str:
    return " & ".join(tex(cell) for cell in cells) + r" \\"


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"


def _group(table: Printed, text: str) -> str:
    """A group's heading as a row, in the column of the settings."""
    cells = [f"**{escape_markdown(text)}**" if name == "setting" else "" for name in table.columns]
    return "| " + " | ".join(cells) + " |"


def escape_markdown(text: str) -> str:
    """Text that Markdown prints as it is, in a table's cell too."""
    for letter in "\\|*_[]<`":
        text = text.replace(letter, "\\" + letter)
    return text
