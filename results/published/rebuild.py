"""Write the published tables and verdicts anew from the published evaluation runs:
`python results/published/rebuild.py [FOLDER]`, from the root of the repository.

Each `tests_*.csv` but the rotated one, which lacks the configurations, has what is needed of every
evaluation run. Two things that a report needs are not in
them. The draws of scenes: the half widths of the intervals over scenes are taken over from the
tables as they stand. The AIC of every epoch but the last: a claim on the whole curve can be refuted
from the last epoch, and not shown.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.runs.record import RunRecord, train_seed
from sr3d.settings import read_settings
from sr3d.study.report.claim_files import claims_as_csv, claims_as_markdown
from sr3d.study.report.findings import Findings
from sr3d.study.report.page import Report, ReportPart
from sr3d.study.report.paper import CitedClaim, Paper, read_paper
from sr3d.study.report.scene_draws import DRAWS, THRESHOLDS
from sr3d.study.report.setting_comparisons import HypothesisFamily, family_of
from sr3d.study.report.setting_summary import summarise_runs
from sr3d.study.report.tables.cells import lay_out
from sr3d.study.report.tables.filled import Delta, FilledRow, FilledTable, collect
from sr3d.study.report.tables.formats import raw_numbers, to_markdown
from sr3d.study.report.verdicts import Judgement, Verdict, judge
from sr3d.validation import read_yaml

HERE = Path(__file__).parent
WORKFLOW = HERE.parents[1] / "workflow"
UNKNOWN = 4  # epochs of a training run before the last, whose AIC was not published
ROOMS = 120  # scenes of the published sets of rooms whose intervals over scenes were drawn


@dataclass(frozen=True)
class Published:
    """One file of evaluation runs: its name, the tables made of it, and its design."""

    name: str
    tables: tuple[str, ...]
    tests: int = 5
    scenes: int = ROOMS


PUBLISHED = (
    Published("rooms", tuple(f"table{i}" for i in range(1, 7))),
    Published("rooms_seed1", ("table2",), tests=2),
    Published("rooms_seed2", ("eq6",), tests=2),
    Published("synthetic", ("table2",), scenes=40),
)
CLAIMS_OF = ("table1", "table2", "table3", "table4", "table5", "table6", "fig5", "fig6")
REMARKS = """\
- The form of Eq. 6 was chosen on these rooms, which favours SR3D. For other rooms see
  `table2_rooms_seed1.md`.
- Left out are claims on latency and training time, because other work shared the machine. Figures
  1, 8 and 10 and what needs the paper's data were not run.
- Of the AIC curves only the last epoch was published. It can refute a claim on all epochs, and
  cannot show it.
- Made by `results/published/rebuild.py` from `tests_rooms.csv`.
"""


def main(out: Path) -> None:
    """Write all files below `out`."""
    paper = read_paper(WORKFLOW / "tables.yaml")
    cited = read_yaml(WORKFLOW / "tiers.yaml")["rooms"]["cited"]
    for published in PUBLISHED:
        findings = findings_of(published)
        for table in published.tables:
            stem = f"{table}_{published.name}"
            filled = collect(findings, paper.tables[table], cited)
            filled = _with_scenes(filled, stem, published.scenes)
            (out / f"{stem}.md").write_text(to_markdown(lay_out(filled)), encoding="utf-8")
            numbers = _scenes_in(raw_numbers(filled), filled)
            numbers.to_csv(out / f"{stem}.csv", index=False, lineterminator="\n")
    report = report_of(paper, findings_of(PUBLISHED[0]))
    head, gap, rest = claims_as_markdown(report).partition("\n\n##")
    text = f"{head}\n{REMARKS.rstrip()}{gap}{rest}"
    (out / "claims_rooms.md").write_text(text, encoding="utf-8")
    (out / "claims_rooms.csv").write_text(claims_as_csv(report), encoding="utf-8")


def findings_of(published: Published) -> Findings:
    """The published runs as a report sees them."""
    rows = _read(HERE / f"tests_{published.name}.csv")
    records: dict[str, list[RunRecord]] = {}
    for record in _records(rows):
        records.setdefault(record.setting, []).append(record)
    summaries: dict[str, dict[str, Any] | None] = {
        setting: summarise_runs(runs, 5, published.tests) | {"scenes": None}
        for setting, runs in records.items()
    }
    for summary in summaries.values():
        if summary is not None:
            last = (summary["metrics"].get("AIC") or {}).get("training_means", ())
            # A value that is no number leaves its epoch open.
            summary["curves"] = {"AIC": [[*[float("nan")] * UNKNOWN, value] for value in last]}
    return Findings(HERE, "synthetic", summaries)


def report_of(paper: Paper, findings: Findings) -> Report:
    """The claims that could be judged, and those that no run can check."""
    every = [one for one in judge(paper, findings) if one.claim.of in CLAIMS_OF]
    judged = tuple(one for one in every if _is_told(one))
    cited = tuple(one for one in every if one.verdict is Verdict.NOT_CHECKABLE)
    return Report(paper, CLAIMS_OF, (ReportPart(findings, (), judged, ()),), cited)


def _is_told(one: Judgement) -> bool:
    if isinstance(one.claim, CitedClaim) or one.verdict is Verdict.NOT_RUN:
        return False
    return family_of(one.claim.metric) is HypothesisFamily.ACCURACY


def _records(rows: Sequence[Mapping[str, str]]) -> Iterator[RunRecord]:
    """The evaluation runs, and before those of a training run what is known of itself."""
    settings = read_settings()
    trained = set()
    for row in rows:
        tests_of = settings[row["setting"]].tests_of
        key = row["setting"], row["train"]
        if tests_of is None and key not in trained:
            trained.add(key)
            yield _record(row, None, None)
        yield _record(row, int(row["test"]), tests_of)


def _record(row: Mapping[str, str], test: int | None, tests_of: str | None) -> RunRecord:
    overrides = row.get("overrides", "").split()
    number = {name: float(row[name]) for name in _NUMBERS if row.get(name)}
    if test is None:
        metrics: dict[str, Any] = {"epochs": {"AIC": [number["AIC"]]} if "AIC" in number else {}}
        timings = {"seconds_per_epoch": number["seconds_per_epoch"]} if "AIC" in number else {}
    else:
        metrics = {name: number[name] for name in ("AP25", "AP50", "PCE") if name in number}
        timings = {"latency_ms": number["latency_ms"]} if "latency_ms" in number else {}
    return RunRecord(
        kind="train" if test is None else "test",
        dataset=row["dataset"],
        setting=row["setting"],
        train=int(row["train"]),
        test=test,
        config=with_overrides(default_config(row["dataset"]), overrides).to_dict(),
        config_digest=row["config_digest"],
        overrides=overrides,
        seeds={"train": train_seed(0, int(row["train"]))},
        code={"commit": row["commit"], "edited": row["edited"] == "True"},
        data={"digest": row["data_digest"], "split": "val"},
        machine={"processor": row["processor"], "cores": int(row["cores"])},
        versions={"torch": row["torch"], "sr3d": row["sr3d"]},
        engine="native",
        device="cpu",
        started="",
        finished="",
        wall_seconds=0.0,
        peak_memory_mb={},
        metrics=metrics,
        parameters=0,
        timings=timings,
        tests_of=tests_of,
    )


_NUMBERS = ("AP25", "AP50", "PCE", "AIC", "latency_ms", "seconds_per_epoch")


@dataclass(frozen=True)
class _PublishedEntry(FilledRow):
    """A row whose half widths over scenes were published without the draws behind them."""

    half_widths: Mapping[str, float]

    def scenes(self, metric: str) -> float | None:
        return self.half_widths.get(metric)


def _with_scenes(filled: FilledTable, stem: str, scenes: int) -> FilledTable:
    """The table with the half widths over scenes that its published CSV has."""
    widths = _published(stem, "scenes_half_width")
    of_differences = _published(stem, "difference_scenes_half_width")
    if not widths:
        return filled
    drawn = {"scenes": scenes, "drawn": stem, **dict.fromkeys(THRESHOLDS, [0.0] * DRAWS)}
    entries = {
        entry.row.label: _PublishedEntry(
            entry.row,
            entry.summary and entry.summary | {"scenes": drawn},
            entry.cited,
            {m: width for (setting, m), width in widths.items() if setting == entry.row.setting},
        )
        for entry in filled.entries
    }
    deltas: dict[tuple[str | None, str], Delta] = {
        key: replace(delta, scenes=of_differences.get(key)) for key, delta in filled.deltas.items()
    }
    reference = filled.reference and entries[filled.reference.row.label]
    return replace(filled, entries=tuple(entries.values()), reference=reference, deltas=deltas)


def _scenes_in(numbers: pd.DataFrame, filled: FilledTable) -> pd.DataFrame:
    """Without the columns on scenes where none were drawn."""
    if any(entry.drawn for entry in filled.entries):
        return numbers
    return numbers.drop(columns=["scenes_half_width", "difference_scenes_half_width"])


def _published(stem: str, column: str) -> dict[tuple[str | None, str], float]:
    """A column of a published table, by setting and metric."""
    return {
        (row["setting"], row["metric"]): float(row[column])
        for row in _read(HERE / f"{stem}.csv")
        if row.get(column)
    }


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
