"""Fill the tables of a report with our results on one data set.

Detectors of which sr3d has only the boxes have their own tables.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import (
    METRICS,
    OWN_DATA,
    PARAMETERS,
    MetricName,
    Paper,
    PaperRow,
    PaperTable,
    labels_of,
    printed_dataset,
)
from sr3d.study.report.scene_draws import over_scenes, paired_over_scenes
from sr3d.study.report.setting_comparisons import ALPHA, adjust, compare_settings, family_of
from sr3d.study.statistics import Interval, TEstimate, simultaneous


@dataclass(frozen=True)
class FilledRow:
    """One row of a table with its summary, which is None without runs.

    cited: whether the row has the paper's numbers only, and no run is missing.
    """

    row: PaperRow
    summary: dict[str, Any] | None
    cited: bool

    def metric(self, name: str) -> dict[str, Any] | None:
        """The summary of one metric, if a run has it. For parameters, their number as the mean."""
        summary = self.summary or {}
        if name == PARAMETERS:
            count = summary.get(PARAMETERS)
            return None if count is None else {"mean": count}
        found: dict[str, Any] | None = summary.get("metrics", {}).get(name)
        return found

    def scenes(self, metric: str) -> float | None:
        """Half of the mean's 95 % interval over the choice of scenes, if the summary has it."""
        return over_scenes(self.drawn, metric)

    @property
    def busy(self) -> bool:
        """Whether any latency was measured on a busy machine."""
        return bool((self.summary or {}).get("busy_tests"))

    @property
    def drawn(self) -> dict[str, Any] | None:
        """The summary's entry about draws of the scenes (`scene_draws`)."""
        return (self.summary or {}).get("scenes")


@dataclass(frozen=True)
class Delta:
    """A row's mean minus the reference row's.

    estimate: the difference as an estimate over training runs. p: of its t-test, adjusted by Holm's
    rule over the table's tests of the same kind of quantity (`family_of`). simultaneous: the 95 %
    interval, simultaneous over the same tests (`stats.simultaneous`). p_permutation: of the exact
    test over training runs, not adjusted, for the CSV. detectable: the true difference that such a
    design finds with 80 % power. All of these are None if a side has one training run or nothing
    varies, because nothing can be tested then.
    paired: whether both rows evaluate the same training runs, which are then compared one by one.
    Otherwise interval and test are Welch's.
    scenes: half of the paired 95 % interval over the choice of scenes. None if it is unknown or the
    two rows were evaluated on different scenes.
    """

    difference: float

    estimate: TEstimate | None = None
    p: float | None = None
    simultaneous: Interval | None = None
    p_permutation: float | None = None
    detectable: float | None = None
    paired: bool = False
    scenes: float | None = None

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval over training runs, without correction for other comparisons."""
        return None if self.estimate is None else self.estimate.interval()

    @property
    def sharper(self) -> bool:
        """Whether Holm's rule shows the difference although the simultaneous interval has 0."""
        if self.p is None or self.simultaneous is None:
            return False
        low, high = self.simultaneous
        return self.p < ALPHA and low <= 0 <= high


@dataclass(frozen=True)
class FilledTable:
    """A table filled with our results.

    paper_dataset: the data set of the paper's values. It differs from `dataset` if the paper has
    none on that, and is None for a table of our own. reference: the row that differences refer to,
    if any. deltas: by setting and metric.
    """

    table: PaperTable
    dataset: str
    paper_dataset: str | None
    entries: tuple[FilledRow, ...]
    reference: FilledRow | None
    deltas: dict[tuple[str | None, str], Delta]

    def delta(self, entry: FilledRow, metric: str) -> Delta | None:
        """The row's difference to the reference. None for the reference, or if one has no runs."""
        return self.deltas.get((entry.row.setting, metric))

    def paper_value(self, entry: FilledRow, metric: str, statistic: str) -> float | None:
        """The paper's number in a row."""
        if self.paper_dataset is None:
            return None
        return entry.row.value(self.paper_dataset, metric, statistic)

    def paper_difference(self, entry: FilledRow, metric: str, statistic: str) -> float | None:
        """The paper's number minus that of the reference row."""
        if self.reference is None or entry is self.reference:
            return None
        theirs = self.paper_value(entry, metric, statistic)
        to = self.paper_value(self.reference, metric, statistic)
        return None if theirs is None or to is None else theirs - to

    def runs(self, entry: FilledRow, metric: str) -> tuple[int, int]:
        """Actual and expected runs of a row: evaluations, or training runs for their metrics."""
        of_trainings = METRICS[metric].of_trainings
        expected = (entry.summary or {}).get("expected") or {}
        wanted = self.table.trainings * (1 if of_trainings else self.table.tests)
        counted, kind = ("n_trainings", "trainings") if of_trainings else ("n_tests", "runs")
        return (entry.metric(metric) or {}).get(counted, 0), expected.get(kind, wanted)


def collect(findings: Findings, table: PaperTable, cited: Collection[str] = ()) -> FilledTable:
    """Fill a table with the results on one data set.

    cited: settings that were not meant to run. Without runs, their rows are cited, as those of
    methods without a setting. Cited rows are omitted if the paper does not have the table on this
    data set.

    Raises:
        InputError: an unknown data set, or an unreadable record.
    """
    printed_dataset(findings.dataset)
    known = findings.dataset in table.datasets
    every = []
    for row in table.rows:
        summary = findings.summary(row.setting) if row.setting else None
        only_cited = summary is None and (row.setting is None or row.setting in cited)
        every.append(FilledRow(row, summary, only_cited))
    entries = tuple(
        entry
        for entry in every
        if entry.summary or (known if entry.cited else entry.row.belongs_on(findings.dataset))
    )
    wanted = table.reference
    reference = next((e for e in entries if wanted and e.row.setting == wanted), None)
    return FilledTable(
        table=table,
        dataset=findings.dataset,
        paper_dataset=_paper_dataset(findings.dataset, table),
        entries=entries,
        reference=reference,
        deltas=_deltas(findings, table.metrics, entries, reference),
    )


def _paper_dataset(dataset: str, table: PaperTable) -> str | None:
    """The data set of the paper's values beside ours. None for results on the user's own data."""
    if dataset == OWN_DATA:
        return None
    return dataset if dataset in table.datasets else next(iter(table.datasets), None)


def _deltas(
    findings: Findings,
    metrics: Sequence[str],
    entries: Sequence[FilledRow],
    reference: FilledRow | None,
) -> dict[tuple[str | None, str], Delta]:
    """All differences to the reference row, with p-values adjusted by family."""
    found = {
        (entry.row.setting, metric): delta
        for metric in metrics
        for entry in entries
        if reference is not None and entry is not reference
        if (delta := _delta(findings, metric, entry, reference)) is not None
    }
    estimates = {key: delta.estimate for key, delta in found.items() if delta.estimate is not None}
    raw = {key: estimate.p_equal(0.0) for key, estimate in estimates.items()}
    for key, adjusted in adjust(raw, lambda key: family_of(key[1])).items():
        interval = estimates[key].interval(simultaneous(adjusted.tests))
        found[key] = replace(found[key], p=adjusted.p, simultaneous=interval)
    return found


def _delta(findings: Findings, metric: str, entry: FilledRow, reference: FilledRow) -> Delta | None:
    """The difference, before the adjustment over the tests of the table."""
    ours, theirs = entry.metric(metric), reference.metric(metric)
    setting, to = entry.row.setting, reference.row.setting
    if ours is None or theirs is None or setting is None or to is None:
        return None
    if metric == PARAMETERS:
        return Delta(ours["mean"] - theirs["mean"])
    scenes = paired_over_scenes(entry.drawn, reference.drawn, metric)
    tested = compare_settings(findings, setting, to, metric)
    if tested is None or not tested.estimate.has_spread:
        return Delta(ours["mean"] - theirs["mean"], scenes=scenes)
    return Delta(
        difference=tested.difference,
        estimate=tested.estimate,
        p_permutation=tested.p_permutation,
        detectable=tested.detectable,
        paired=tested.paired,
        scenes=scenes,
    )


# The settings that a user's detector is compared with if they ran: SR3D and the baselines.
BESIDE = ("sr3d", "baseline", "tr3d", "fcaf3d")
_EXTERNAL_METRICS: tuple[MetricName, ...] = ("AP25", "AP50")
_NOTE = (
    "sr3d has only the boxes of this detector. Its evaluation runs have no training run here, and "
    "sr3d does not know how it was trained."
)


def external_settings(findings: Findings) -> list[str]:
    """The settings whose boxes come from files, by name."""
    return [name for name in findings.settings() if _external(findings, name)]


def with_external(paper: Paper, found: Sequence[Findings]) -> Paper:
    """The paper with a table of external detectors for each setting that they are compared with.

    If no external detector ran, the paper is unchanged. All these tables have the same rows. Each
    has differences to another setting of `BESIDE` that ran. If none ran, there is a single table
    without differences.
    """
    labels: dict[str, str] = {}
    for findings in found:
        for name in external_settings(findings):
            labels.setdefault(name, (findings.summary(name) or {})["external"]["label"])
    if not labels:
        return paper
    known = labels_of(paper)
    beside = [
        name
        for name in BESIDE
        if any(external_settings(f) and f.summary(name) is not None for f in found)
    ]
    rows = tuple(PaperRow(label=known.get(name, name), setting=name, paper={}) for name in beside)
    rows += tuple(
        PaperRow(label=label, setting=name, paper={}, note=_NOTE) for name, label in labels.items()
    )
    references: list[str | None] = [*beside] or [None]
    tables = {
        table.name: table
        for to in references
        if (table := _external_table(rows, to, known.get(to or "", to or ""))).name
        not in paper.tables
    }
    return replace(paper, tables={**paper.tables, **tables})


def external_tables(paper: Paper, findings: Findings) -> list[str]:
    """The names of the tables that `with_external` added and that have results on this data set."""
    if not external_settings(findings):
        return []
    there = [name for name in paper.tables if name.startswith("external")]
    return [
        name
        for name in there
        if (to := paper.tables[name].reference) is None or findings.summary(to) is not None
    ]


def _external_table(rows: tuple[PaperRow, ...], reference: str | None, label: str) -> PaperTable:
    return PaperTable(
        name=f"external_{reference}" if reference else "external",
        title=f"External detectors, differences to {label}" if reference else "External detectors",
        source="",
        datasets=(),
        metrics=_EXTERNAL_METRICS,
        prints="best_mean",
        trainings=1,
        tests=1,
        reference=reference,
        rows=rows,
    )


def _external(findings: Findings, name: str) -> bool:
    return bool((findings.summary(name) or {}).get("external"))
