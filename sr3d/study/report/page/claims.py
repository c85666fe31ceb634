"""The verdicts in the order of reading: by verdict, then by table or figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sr3d.study.report.page.report import title_of
from sr3d.study.report.paper import Paper
from sr3d.study.report.verdicts import Judgement, Verdict, count
from sr3d.study.report.verdicts.judgement import VERDICTS


@dataclass(frozen=True)
class Mark:
    """How a verdict looks: a symbol, so that colour is never alone, and its class of style."""

    symbol: str
    css: str


MARKS = {
    Verdict.REPRODUCED: Mark("✓", "yes"),
    Verdict.DIRECTION_ONLY: Mark("↗", "part"),
    Verdict.NOT_REPRODUCED: Mark("✗", "no"),
    Verdict.INCONCLUSIVE: Mark("?", "open"),
    Verdict.NOT_RUN: Mark("○", "absent"),
    Verdict.NOT_CHECKABLE: Mark("–", "cited"),
}


@dataclass(frozen=True)
class Group:
    """Claims of one table or figure that got the same verdict."""

    of: str
    title: str
    judged: tuple[Judgement, ...]


@dataclass(frozen=True)
class Verdicts:
    """The claims that got one verdict."""

    verdict: Verdict
    mark: Mark
    word: str
    meaning: str
    count: int
    groups: tuple[Group, ...]

    @property
    def folded(self) -> bool:
        """Whether the page folds them away, as they say nothing of results."""
        return self.verdict in (Verdict.NOT_RUN, Verdict.NOT_CHECKABLE)


def by_verdict(paper: Paper, judged: Sequence[Judgement], place: str = "") -> tuple[Verdicts, ...]:
    """All that were given, those that say most first. place: the data that were judged on."""
    counts = count(judged)
    return tuple(
        Verdicts(
            verdict=verdict,
            mark=mark,
            word=VERDICTS[verdict].word,
            meaning=VERDICTS[verdict].meaning.format(place),
            count=counts[verdict],
            groups=_groups(paper, judged, verdict),
        )
        for verdict, mark in MARKS.items()
        if counts[verdict]
    )


def _groups(paper: Paper, judged: Sequence[Judgement], verdict: Verdict) -> tuple[Group, ...]:
    groups: dict[str, list[Judgement]] = {}
    for one in judged:
        if one.verdict is verdict:
            groups.setdefault(one.claim.of, []).append(one)
    return tuple(Group(of, title_of(paper, of), tuple(some)) for of, some in groups.items())
