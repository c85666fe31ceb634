"""The origin of the results, from the run records: machines, data, code, commands."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sr3d.detectors.configuration import config_from_dict, default_config
from sr3d.runs.record import RunRecord, run_key
from sr3d.settings import CUSTOM, read_settings
from sr3d.study.report.figures.style import Names
from sr3d.study.report.findings import Findings, runs_of
from sr3d.validation import flatten

NONE = "–"


@dataclass(frozen=True)
class SharedFact:
    """A fact that runs share. If they differ, each value with its runs."""

    what: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class SettingProvenance:
    """The origin of one setting's results.

    changes: (name, default, here) of its configuration. commands: empty if only the summary is
    left of its runs. external: (file, sha256) of the files of boxes, for a detector that sr3d did
    not run. Empty for our own runs.
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
class Provenance:
    """The origin of all results on one data set. first, last: times in UTC, "" without records."""

    dataset: str
    trainings: int
    tests: int
    hours: float
    first: str
    last: str
    machines: tuple[str, ...]
    facts: tuple[SharedFact, ...]
    settings: tuple[SettingProvenance, ...]

    @property
    def warnings(self) -> int:
        """The number of warnings."""
        return sum(len(made.warnings) for made in self.settings)


def origin_of(findings: Findings, settings: Sequence[str], names: Names) -> Provenance:
    """Read the records of settings that have results.

    Raises:
        InputError: an unreadable record.
    """
    records = {setting: _records(findings, setting) for setting in settings}
    every = [record for some in records.values() for record in some]
    made = tuple(_made(findings, s, names.label(s), records) for s in settings)
    return Provenance(
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
    """The records in the summary."""
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
) -> SettingProvenance:
    summary = findings.summary(setting) or {}
    tests_of = summary.get("tests_of")
    trained = [r for r in records.get(tests_of or setting, []) if r.test is None]
    return SettingProvenance(
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
    """The fields in which a configuration differs from its data set's default."""
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


def _facts(records: Sequence[RunRecord]) -> tuple[SharedFact, ...]:
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


def _fact(what: str, records: Iterable[RunRecord], read: Callable[[RunRecord], str]) -> SharedFact:
    return SharedFact(what, tuple(Counter(read(r) for r in records).most_common()))


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


@dataclass(frozen=True)
class Command:
    """Shell lines that make a number of runs of one kind ("training" or "test")."""

    kind: str
    runs: int
    text: str


def commands_of(records: Sequence[RunRecord], trained: Sequence[RunRecord]) -> list[Command]:
    """Training commands, then evaluation commands. A kind of run that was made in different ways
    has several.

    trained: the training runs of the evaluations. No record names the prepared folder or the user's
    own settings file, so `$DATA` and `$SETTINGS` stand for them. $i and $j are the indices of
    training runs and evaluations.
    """
    trainings: dict[str, list[RunRecord]] = {}
    tests: dict[str, list[RunRecord]] = {}
    external = [record for record in records if record.external]
    if external:
        return [Command("test", len(external), _external(external))]
    overrides = {r.train: r.overrides for r in trained}
    for record in records:
        if record.test is None:
            trainings.setdefault(_training(record), []).append(record)
        else:
            tests.setdefault(_test(record, overrides.get(record.train)), []).append(record)
    return [
        *(Command("training", len(some), _loop(line, some)) for line, some in trainings.items()),
        *(Command("test", len(some), _loops(line, some)) for line, some in tests.items()),
    ]


def _training(record: RunRecord) -> str:
    split = record.data.get("split", "train")
    return _lines(
        f'sr3d train --dataset {record.dataset} --data "$DATA" --split {split}',
        _setting(record.setting),
        f"--train $i --seed {record.config.get('seed', 0)}",
        f"--out {_folder(record.dataset, record.setting)} {_runtime(record)}",
        _set(record.overrides),
    )


def _test(record: RunRecord, trained: Sequence[str] | None) -> str:
    """The record of an evaluation has the overrides of its training run, then its own."""
    own = [item for item in record.overrides if item.startswith(("test.", "model.engine="))]
    if trained is not None and record.overrides[: len(trained)] == list(trained):
        own = record.overrides[len(trained) :]
    split = record.data.get("split", "val")
    training = _folder(record.dataset, record.tests_of or record.setting)
    return _lines(
        f'sr3d test --run {training} --data "$DATA" --split {split} --test $j',
        _setting(record.setting) if record.tests_of or own else "",
        f"--out {_folder(record.dataset, record.setting)}/test$j {_runtime(record)}",
        _set(own),
    )


def _external(records: Sequence[RunRecord]) -> str:
    """One command writes all records from files of boxes."""
    first, files = records[0], [(r.external or {})["file"] for r in records]
    tests = len({r.test for r in records})
    latency = first.timings.get("latency_ms")
    allowed = any((r.external or {})["missing_scenes"] for r in records)
    return _lines(
        f'sr3d evaluate --ground-truth "$DATA" --split {first.data.get("split", "val")}',
        f"--detections {shlex.join(files)}",
        f"--as {first.setting} --label {shlex.quote((first.external or {})['label'])}"
        + (f" --tests {tests}" if tests > 1 else "")
        + (f" --latency-ms {latency:g}" if latency is not None else "")
        + (" --allow-missing" if allowed else ""),
    )


def _setting(name: str) -> str:
    """The options that name a setting, "" for a run without a setting."""
    if name == CUSTOM:
        return ""
    own = "" if name in read_settings() else ' --settings "$SETTINGS"'
    return f"--setting {shlex.quote(name)}{own}"


def _lines(*parts: str) -> str:
    """One command over several lines."""
    return " \\\n    ".join(part for part in parts if part)


def _folder(dataset: str, setting: str) -> str:
    return f"results/{shlex.quote(run_key(dataset, setting, 0)[:-1])}$i"


def _runtime(record: RunRecord) -> str:
    threads = record.machine.get("threads")
    return (f"--threads {threads} " if threads else "") + f"--device {record.device}"


def _set(overrides: Sequence[str]) -> str:
    return f"--set {shlex.join(overrides)}" if overrides else ""


def _loop(line: str, records: Sequence[RunRecord]) -> str:
    return f"for i in {_listed(r.train for r in records)}; do\n  {line}\ndone"


def _loops(line: str, records: Sequence[RunRecord]) -> str:
    """Nested loops, one nest for all training runs that have the same evaluations."""
    tests: dict[int, list[int]] = {}
    for record in records:
        tests.setdefault(record.train, []).append(record.test or 0)
    alike: dict[str, list[int]] = {}
    for training, numbers in tests.items():
        alike.setdefault(_listed(numbers), []).append(training)
    return "\n".join(
        f"for i in {_listed(trainings)}; do for j in {numbers}; do\n  {line}\ndone; done"
        for numbers, trainings in alike.items()
    )


def _listed(numbers: Iterable[int]) -> str:
    return " ".join(str(number) for number in sorted(numbers))
