"""The commands that make a setting's runs again, from their records."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sr3d.runs.record import RunRecord, run_key
from sr3d.settings import CUSTOM, read_settings


@dataclass(frozen=True)
class Command:
    """Shell lines that make so many runs of one kind ("training" or "test")."""

    kind: str
    runs: int
    text: str


def commands_of(records: Sequence[RunRecord], trained: Sequence[RunRecord]) -> list[Command]:
    """Trainings, then tests; several of a kind where the runs were made in different ways.

    trained: the trainings that the tests are of. No record names the prepared folder or the user's
    own settings file: `$DATA` and `$SETTINGS` stand for them. $i and $j are the indices of
    trainings and tests.
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
    """A record of a test has the overrides of its training, then its own."""
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
    """One command writes all records of boxes from files."""
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
    """The options that name a setting; none for a run that is no setting."""
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
    """Nested loops; one such nest for all trainings that have the same tests."""
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
