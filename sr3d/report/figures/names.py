"""What the settings are called in figures, and how each looks in all of them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from sr3d.report.figures.style import Look, look
from sr3d.report.paper import Paper, Sweep, settings_of_figure


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
    """As in the first table that has a setting, or by its value in a sweep.

    Rows of our own tables mean little without their heading, and have it before them.
    """
    labels: dict[str, str] = {}
    for table in paper.tables.values():
        for row in table.rows:
            heading = f"{row.group}: " if row.group and not table.datasets else ""
            if row.setting:
                labels.setdefault(row.setting, heading + row.label)
    for figure in paper.figures.values():
        for panel in figure.panels if isinstance(figure, Sweep) else ():
            for value, setting in panel.points:
                labels.setdefault(setting, f"{panel.parameter} = {value:g}")
        for setting in settings_of_figure(figure):
            labels.setdefault(setting, setting)
    return Names(labels)
