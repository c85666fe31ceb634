"""What the settings are called in figures, and how each looks in all of them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from sr3d.study.report.figures.style import Look, look
from sr3d.study.report.paper import Paper, labels_of


@dataclass(frozen=True)
class Names:
    """labels: setting -> its name in print, in the order of the paper's tables and figures."""

    labels: dict[str, str]

    def label(self, setting: str) -> str:
        """The name in print; that of the setting where the paper has none."""
        return self.labels.get(setting, setting)

    def lines(self, setting: str, width: int) -> str:
        """The name in print in lines of so many letters, formulas in one piece."""
        whole = re.sub(r" ([=−]) ", "\u00a0\\1\u00a0", self.label(setting))
        return textwrap.fill(whole, width, break_long_words=False)

    def look(self, setting: str) -> Look:
        """The same in every figure."""
        order = list(self.labels)
        return look(order.index(setting) if setting in order else len(order))


def names_of(paper: Paper) -> Names:
    """As tables and sweeps of the paper print them (`labels_of`)."""
    return Names(labels_of(paper))
