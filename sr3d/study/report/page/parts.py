"""The content of a report by data set, before it becomes a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sr3d.study.report.figures import OWN, ReportFigure
from sr3d.study.report.figures.style import names_of
from sr3d.study.report.findings import Findings, is_thin, ran
from sr3d.study.report.headline import Headline, Outlier, headline_of, outliers_of
from sr3d.study.report.page.overview import Gaps, Values, Verdicts, by_verdict, gaps_of, values_of
from sr3d.study.report.page.provenance import Provenance, origin_of
from sr3d.study.report.paper import (
    OWN_DATA,
    Paper,
    datasets_of,
    printed_dataset,
)
from sr3d.study.report.tables.cells import PrintedTable
from sr3d.study.report.verdicts import Judgement
from sr3d.study.report.verdicts.judgement import listed
from sr3d.validation import flatten


@dataclass(frozen=True)
class ReportPart:
    """All results on one data set."""

    findings: Findings
    tables: tuple[PrintedTable, ...]
    judged: tuple[Judgement, ...]
    figures: tuple[ReportFigure, ...]

    @property
    def dataset(self) -> str:
        """The name of the data set."""
        return self.findings.dataset

    @property
    def label(self) -> str:
        """The data set in words."""
        return printed_dataset(self.dataset).label

    @property
    def own(self) -> bool:
        """Whether the data are the user's. Nothing on them is compared with the paper."""
        return self.dataset == OWN_DATA


@dataclass(frozen=True)
class Report:
    """The parts, and what all data sets share.

    names: tables and figures of the paper in the report. cited: claims that no run can check.
    """

    paper: Paper
    names: tuple[str, ...]
    parts: tuple[ReportPart, ...]
    cited: tuple[Judgement, ...]

    @property
    def own(self) -> bool:
        """Whether the report is about the user's detector instead of the paper."""
        return all(part.own for part in self.parts)


_VALUES = ("strip", "curves")  # the figures that show single values


@dataclass(frozen=True)
class Section:
    """A part of the report. ran: settings with results. cautions: sentences to read first."""

    part: ReportPart
    headline: Headline
    ran: tuple[str, ...]
    verdicts: tuple[Verdicts, ...]
    origin: Provenance
    gaps: Gaps
    values: tuple[Values, ...]
    cautions: tuple[str, ...]
    outliers: tuple[Outlier, ...]

    @property
    def figures(self) -> list[ReportFigure]:
        """The figures of the paper."""
        return [drawn for drawn in self.part.figures if drawn.name not in OWN]

    @property
    def value_figures(self) -> list[ReportFigure]:
        """All values and learning curves."""
        return [drawn for drawn in self.part.figures if drawn.name in _VALUES]

    @property
    def detail_figures(self) -> list[ReportFigure]:
        """Classes, errors and scenes."""
        own = [drawn for drawn in self.part.figures if drawn.name in OWN]
        return [drawn for drawn in own if drawn.name not in _VALUES]

    @property
    def evaluated(self) -> str:
        """The number of evaluated scenes and their split, "" if there are none."""
        data = [(self.part.findings.summary(name) or {}).get("test_data") for name in self.ran]
        splits = dict.fromkeys((one["scenes"], one["split"]) for one in data if one)
        return listed(
            f"{scenes} scene{'' if scenes == 1 else 's'} of the split '{split}'"
            for scenes, split in splits
        )


def content_of(report: Report) -> list[Section]:
    """One section per data set.

    Raises:
        InputError: an unreadable record.
    """
    return [_shown(report.paper, part) for part in report.parts]


def untouched(report: Report) -> list[str]:
    """Labels of the data sets with results in the paper but not in this report."""
    done = [part.dataset for part in report.parts if ran(part.findings, report.paper)]
    return labels(name for name in datasets_of(report.paper) if name not in done)


def labels(datasets: Iterable[str]) -> list[str]:
    """Labels of the data sets."""
    return [printed_dataset(name).label for name in datasets]


def _shown(paper: Paper, part: ReportPart) -> Section:
    names, settings = names_of(paper), ran(part.findings, paper)
    return Section(
        part=part,
        headline=headline_of(part.findings, names.labels),
        ran=tuple(settings),
        verdicts=by_verdict(paper, part.judged, part.label),
        origin=origin_of(part.findings, settings, names),
        gaps=gaps_of(paper, part.findings, part.tables, part.figures),
        values=values_of(part.findings, settings, names),
        cautions=tuple(_cautions(paper, part, settings)),
        outliers=tuple(one for name in settings for one in outliers_of(part.findings, name)),
    )


def _cautions(paper: Paper, part: ReportPart, settings: Sequence[str]) -> list[str]:
    """What a reader must know before reading any number on this data set."""
    summaries = [s for name in settings if (s := part.findings.summary(name))]
    cautions = []
    if not part.own and part.dataset not in datasets_of(paper):
        cautions.append(
            f"The paper has no results on {part.label}. It evaluates on "
            f"{listed(labels(datasets_of(paper)))}. Do not compare absolute numbers on these data "
            "with the paper's. A verdict says only whether a claim also holds here."
        )
    thin = [s for s in summaries if is_thin(s["config"])]
    if thin:
        sizes = sorted({s["parameters"] for s in thin if s["parameters"] is not None})
        ends = f"{sizes[0]:,}" + (f" to {sizes[-1]:,}" if len(sizes) > 1 else "")
        several = len({flatten(s["config"]).get("model.name") for s in thin}) > 1
        networks = "networks are thin ones" if several else "network is a thin one"
        cautions.append(
            f"On {part.label} the {networks} for small machines ({ends} parameters), trained on a "
            "short schedule." + ("" if part.own else " The paper's networks are larger.")
        )
    deviations = dict.fromkeys(
        d for s in summaries for d in (s["test_data"] or {}).get("deviations", ())
    )
    if deviations:
        whole = "complete" if part.dataset == "own" else "the published ones"
        cautions.append(f"The data are not {whole}: {listed(deviations)}.")
    return cautions
