"""Tables of the commands, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """The rows as aligned lines, two spaces between columns. A header is the first row.

    Lines have no colours and are never cut, so that a pipe gets the same text as a terminal.

    left: number of columns that are aligned to the left, such as names. The others are aligned to
    the right.
    """
    from tabulate import tabulate  # costs a tenth of a second, and most verbs print no table

    columns = len(rows[0]) if rows else 0
    align = ["left" if i < left else "right" for i in range(columns)]
    text = tabulate(rows, tablefmt="plain", colalign=align, disable_numparse=True)
    return text.splitlines()
