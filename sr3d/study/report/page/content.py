"""Everything that the page tells of one data set, gathered from the other modules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sr3d.config import default_config
from sr3d.study.report.figures import OWN, Drawn
from sr3d.study.report.figures.names import names_of
from sr3d.study.report.headline import Headline, headline_of
from sr3d.study.report.outliers import Outlier, outliers_of
from sr3d.study.report.page.claims import Verdicts, by_verdict
from sr3d.study.report.page.gaps import Gaps, gaps_of
from sr3d.study.report.page.provenance import Origin, origin_of
from sr3d.study.report.page.report import Part, Report, datasets_of, ran
from sr3d.study.report.page.values import Values, values_of
from sr3d.study.report.paper import Paper, printed_dataset
from sr3d.study.report.verdicts.wording import listed
from sr3d.validation import flatten

_VALUES = ("strip", "curves")  # the figures that show single values


@dataclass(frozen=True)
class Section:
    """A part of the report. ran: settings with results. cautions: sentences to read first."""

    part: Part
    headline: Headline
    ran: tuple[str, ...]
    verdicts: tuple[Verdicts, ...]
    origin: Origin
    gaps: Gaps
    values: tuple[Values, ...]
    cautions: tuple[str, ...]
    outliers: tuple[Outlier, ...]

    @property
    def figures(self) -> list[Drawn]:
        """The paper's."""
        return [drawn for drawn in self.part.figures if drawn.name not in OWN]

    @property
    def value_figures(self) -> list[Drawn]:
        """All values and learning curves."""
        return [drawn for drawn in self.part.figures if drawn.name in _VALUES]

    @property
    def detail_figures(self) -> list[Drawn]:
        """Classes, errors and scenes."""
        own = [drawn for drawn in self.part.figures if drawn.name in OWN]
        return [drawn for drawn in own if drawn.name not in _VALUES]

    @property
    def evaluated(self) -> str:
        """How many scenes of which split were evaluated; "" without any."""
        data = [(self.part.findings.summary(name) or {}).get("test_data") for name in self.ran]
        splits = dict.fromkeys((one["scenes"], one["split"]) for one in data if one)
        return listed(
            f"{scenes} scene{'' if scenes == 1 else 's'} of the split '{split}'"
            for scenes, split in splits
        )


def content_of(report: Report) -> list[Section]:
    """One for each data set.

    Raises:
        InputError: an unreadable record.
    """
    return [_shown(report.paper, part) for part in report.parts]


def untouched(report: Report) -> list[str]:
    """Data sets in words that the paper has results on and this report has none."""
    done = [part.dataset for part in report.parts if ran(part.findings, report.paper)]
    return labels(name for name in datasets_of(report.paper) if name not in done)


def labels(datasets: Iterable[str]) -> list[str]:
    """Data sets in words."""
    return [printed_dataset(name).label for name in datasets]


def _shown(paper: Paper, part: Part) -> Section:
    names, settings = names_of(paper), ran(part.findings, paper)
    return Section(
        part=part,
        headline=headline_of(part.findings, names.labels),
        ran=tuple(settings),
        verdicts=by_verdict(paper, part.judged, part.label),
        origin=origin_of(part.findings, settings, names),
        gaps=gaps_of(paper, part),
        values=values_of(part.findings, settings, names),
        cautions=tuple(_cautions(paper, part, settings)),
        outliers=tuple(one for name in settings for one in outliers_of(part.findings, name)),
    )


def _cautions(paper: Paper, part: Part, settings: Sequence[str]) -> list[str]:
    """What must be known before any number on this data set is read."""
    summaries = [s for name in settings if (s := part.findings.summary(name))]
    cautions, full = [], default_config("scannet").flat()["model.stem_channels"]
    if not part.own and part.dataset not in datasets_of(paper):
        cautions.append(
            f"The paper has no results on {part.label}; it tests on "
            f"{listed(labels(datasets_of(paper)))}. Numbers on these data cannot be compared with "
            "the paper's in absolute terms, and a verdict says no more than whether a claim also "
            "holds here."
        )
    if any(flatten(s["config"]).get("model.stem_channels", full) < full for s in summaries):
        sizes = sorted({s["parameters"] for s in summaries if s["parameters"] is not None})
        ends = f"{sizes[0]:,}" + (f" to {sizes[-1]:,}" if len(sizes) > 1 else "")
        cautions.append(
            f"On {part.label} the network is a thin one for small machines "
            f"({ends} parameters), trained on a short schedule."
            + ("" if part.own else " It is not the paper's network.")
        )
    deviations = dict.fromkeys(
        d for s in summaries for d in (s["test_data"] or {}).get("deviations", ())
    )
    if deviations:
        whole = "whole" if part.dataset == "own" else "the published ones"
        cautions.append(f"The data are not {whole}: {listed(deviations)}.")
    return cautions
