"""How the results were made, told by the run records: machines, data, code, commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sr3d.config import config_from_dict, default_config, flatten
from sr3d.runs.record import RunRecord
from sr3d.study.report.figures.names import Names
from sr3d.study.report.findings import Findings
from sr3d.study.report.page.commands import Command, commands_of
from sr3d.study.report.summary_files import runs_of

NONE = "–"


@dataclass(frozen=True)
class Fact:
    """Something that runs have in common; where they do not, each value with its runs."""

    what: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Made:
    """How one setting was made.

    changes: (name, default, here) of its configuration. commands: empty where the records are gone
    and only the summary is left. external: (file, sha256) of boxes from files, of a detector that
    sr3d did not run; empty of our own runs.
    """

    setting: str
    label: str
    tests_of: str | None
    trainings: int
    tests: int
    overrides: tuple[str, ...]
    changes: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...]
    commands: tuple[Command, ...]
    external: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Origin:
    """How everything on one data set was made. first, last: its time, UTC; "" without records."""

    dataset: str
    trainings: int
    tests: int
    hours: float
    first: str
    last: str
    machines: tuple[str, ...]
    facts: tuple[Fact, ...]
    settings: tuple[Made, ...]

    @property
    def warnings(self) -> int:
        """How many there are."""
        return sum(len(made.warnings) for made in self.settings)


def origin_of(findings: Findings, settings: Sequence[str], names: Names) -> Origin:
    """Read the records of some settings that have results.

    Raises:
        InputError: an unreadable record.
    """
    records = {setting: _records(findings, setting) for setting in settings}
    every = [record for some in records.values() for record in some]
    made = tuple(_made(findings, s, names.label(s), records) for s in settings)
    return Origin(
        dataset=findings.dataset,
        trainings=sum(one.trainings for one in made),
        tests=sum(one.tests for one in made),
        hours=sum(r.wall_seconds for r in every) / 3600,
        first=_minute(min((r.started for r in every), default="")),
        last=_minute(max((r.finished for r in every), default="")),
        machines=tuple(dict.fromkeys(_machine(r.machine) for r in every)),
        facts=_facts(every),
        settings=made,
    )


def _records(findings: Findings, setting: str) -> list[RunRecord]:
    """Those that the summary counts."""
    expected = (findings.summary(setting) or {}).get("expected") or {}
    trainings, tests = expected.get("trainings"), expected.get("tests")
    return [
        record
        for record in runs_of(findings.results / findings.dataset / setting)
        if (trainings is None or record.train < trainings)
        and (tests is None or record.test is None or record.test < tests)
    ]


def _made(
    findings: Findings, setting: str, label: str, records: dict[str, list[RunRecord]]
) -> Made:
    summary = findings.summary(setting) or {}
    tests_of = summary.get("tests_of")
    trained = [r for r in records.get(tests_of or setting, []) if r.test is None]
    return Made(
        setting=setting,
        label=label,
        tests_of=tests_of,
        trainings=summary["train"]["runs"],
        tests=summary["runs"],
        overrides=tuple(summary["overrides"]),
        changes=() if summary.get("external") else _changes(findings.dataset, summary["config"]),
        external=tuple(
            (f["file"], f["sha256"]) for f in (summary.get("external") or {}).get("files", ())
        ),
        warnings=tuple(summary["warnings"]),
        commands=tuple(commands_of(records[setting], trained)),
    )


def _changes(dataset: str, config: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """What a configuration sets otherwise than its data set's default."""
    own = config_from_dict({"dataset": dataset, "own": config.get("own", {})}).own
    default, ours = default_config(dataset, own).flat(), flatten(config)
    names = dict.fromkeys([*default, *ours])
    return tuple(
        (name, _plain(default, name), _plain(ours, name))
        for name in names
        if default.get(name, NONE) != ours.get(name, NONE)
    )


def _plain(config: dict[str, Any], name: str) -> str:
    return str(config[name]) if name in config else NONE


def _facts(records: Sequence[RunRecord]) -> tuple[Fact, ...]:
    trainings = [r for r in records if r.test is None]
    tests = [r for r in records if r.test is not None]
    facts = (
        _fact("machine", records, lambda r: _machine(r.machine)),
        _fact("device", records, _device),
        _fact("code", records, _code),
        _fact("versions", records, lambda r: ", ".join(f"{k} {v}" for k, v in r.versions.items())),
        _fact("training data", trainings, _data),
        _fact("test data", tests, _data),
    )
    return tuple(fact for fact in facts if fact.values)


def _fact(what: str, records: Iterable[RunRecord], read: Callable[[RunRecord], str]) -> Fact:
    return Fact(what, tuple(Counter(read(r) for r in records).most_common()))


def _machine(facts: dict[str, Any]) -> str:
    parts = [
        *(facts.get("gpus") or []),
        str(facts.get("processor")),
        f"{facts['cores']} cores" if facts.get("cores") else "",
        f"{facts['memory_gib']:g} GiB" if facts.get("memory_gib") else "",
        str(facts.get("system") or ""),
        f"CUDA {facts['cuda']}" if facts.get("cuda") else "",
    ]
    return ", ".join(part for part in parts if part)


def _device(record: RunRecord) -> str:
    threads = record.machine.get("threads")
    count = f", {threads} thread{'' if threads == 1 else 's'}" if threads else ""
    if record.external:
        return "unknown, boxes from files"
    return f"{record.device}{count}, engine '{record.engine}'"


def _code(record: RunRecord) -> str:
    code = record.code
    parts = [
        f"digest {code['digest']}" if code.get("digest") else "",
        f"commit {code['commit']}" if code.get("commit") else "",
        "with uncommitted changes" if code.get("edited") else "",
        *(
            f"resumed with digest {one['digest']} and PyTorch {one['torch']} at step {one['step']}"
            for one in code.get("resumed", [])[1:]
        ),
    ]
    return ", ".join(part for part in parts if part) or "unknown"


def _data(record: RunRecord) -> str:
    data = record.data
    parts = [
        f"{data.get('scenes')} scenes of the split '{data.get('split')}'",
        str(data.get("source") or ""),
        f"digest {data['digest']}" if data.get("digest") else "",
        *data.get("deviations", ()),
    ]
    return "; ".join(part for part in parts if part)


def _minute(moment: str) -> str:
    """An ISO 8601 time in UTC to the minute."""
    return moment[:16].replace("T", " ")
