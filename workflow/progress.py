"""Print the progress and the estimated time left, from the events that Snakemake logs.

Snakemake prints "n of m steps" and counts a training run as one step. This module listens to the
events of Snakemake's logger plugins and reads the metrics of running training runs. Its lines are
plain, so they read the same on a terminal and in a log.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from sr3d.study.tracking.runs_page import runs_pages

RULES = {"train": "training runs", "test": "evaluations"}  # the counted jobs, and their plural
CURVE = "metrics.partial.jsonl"
_TOLD = 0.02  # share of a training run from which its speed counts
TAIL = 20  # lines shown of a failed job's log
FULL = 1_000_000  # bytes. With less free space, a job cannot even write its error into its log


@dataclass(frozen=True)
class RunningJob:
    """A running job.

    curve: the metrics log of a training run, which shows its progress. markers: of the evaluation
    runs of the job, each written when its run has finished.
    """

    rule: str
    name: str
    kind: tuple[str, str]  # rule and data set. Jobs of one kind take about equally long
    started: float
    curve: Path | None = None
    markers: tuple[Path, ...] = ()

    def fraction(self) -> float:
        """Share of the finished steps of a training run, 0 if unknown."""
        return 0.0 if self.curve is None else steps_done(self.curve)

    def finished_runs(self) -> int:
        """Number of evaluation runs of the job that have finished."""
        return sum(marker.exists() for marker in self.markers)


@dataclass
class Tally:
    """The planned, running and finished jobs of this call of Snakemake.

    tests: the number of evaluation runs in a job of the rule `test`.
    """

    tests: int = 1
    planned: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    running: dict[int, RunningJob] = field(default_factory=dict)
    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    at_once: int = 1  # the maximum number of counted jobs that ran in parallel

    def start(self, number: int, job: RunningJob) -> None:
        self.running[number] = job
        side_by_side = sum(job.rule in RULES for job in self.running.values())
        self.at_once = max(self.at_once, side_by_side)

    def finish(self, number: int, now: float) -> None:
        job = self.running.pop(number, None)
        if job is not None:
            self.done[job.rule] += 1
            self.seconds.setdefault(job.kind, []).append(now - job.started)

    def line(self, elapsed: float, now: float) -> str:
        """The progress in one line."""
        parts = [self._count(rule) for rule in RULES if self.planned[rule]]
        parts += [job.name for job in self.running.values() if job.rule not in RULES]
        parts.append(f"{duration(elapsed)} so far")
        seconds, whole = self.seconds_left(now)
        if seconds:
            parts.append(f"{'about' if whole else 'at least'} {duration(seconds)} left")
        return " · ".join(parts)

    def seconds_left(self, now: float) -> tuple[float, bool]:
        """Wall time of the remaining jobs in seconds, and whether it covers all of them.

        It does not cover a rule without any finished job or known progress. Waiting jobs count with
        the mean over all data sets, because their data sets are not known here. The means use the
        latest and the running jobs, so the estimate follows the load of the machine.
        """
        owed = [rule for rule in RULES if self.planned[rule] > self.done[rule]]
        means = {rule: self._mean(rule, now) for rule in owed}
        work = 0.0
        for rule, mean in means.items():
            mine = [job for job in self.running.values() if job.rule == rule]
            work += (self.planned[rule] - self.done[rule] - len(mine)) * mean
            work += sum(self._length(job, now, mean) - (now - job.started) for job in mine)
        return work / self.at_once, all(means.values())

    def finished_runs(self, rule: str) -> int:
        """The number of finished training or evaluation runs."""
        running = sum(job.finished_runs() for job in self.running.values() if job.rule == rule)
        return self.done[rule] * self._runs(rule) + running

    def _runs(self, rule: str) -> int:
        return self.tests if rule == "test" else 1

    def _count(self, rule: str) -> str:
        shares = [job.fraction() for job in self.running.values() if job.rule == rule]
        count = f"{RULES[rule]} {self.finished_runs(rule)}/{self.planned[rule] * self._runs(rule)}"
        if not any(shares):
            return count
        if len(shares) > 4:
            return f"{count} (+ {len(shares)} running, {sum(shares) / len(shares):.0%} on average)"
        return f"{count} (+ {', '.join(f'{share:.0%}' for share in shares)})"

    def _mean(self, rule: str, now: float) -> float:
        """Mean seconds per job of a rule, from the latest finished jobs and the running ones."""
        ended = [t for kind, times in self.seconds.items() if kind[0] == rule for t in times[-5:]]
        shares = [(now - j.started, j.fraction()) for j in self.running.values() if j.rule == rule]
        running = [ran / share for ran, share in shares if share > _TOLD]
        seconds = ended + running
        return sum(seconds) / len(seconds) if seconds else 0.0

    def _length(self, job: RunningJob, now: float, mean: float) -> float:
        """Total seconds of a running job: by its progress, else as other jobs of its kind.

        A job that already ran longer than its kind is assumed to be at nine tenths.
        """
        ran, share = now - job.started, job.fraction()
        if share > _TOLD:
            return ran / share
        known = self.seconds.get(job.kind, [])[-5:]
        expected = sum(known) / len(known) if known else mean
        return max(expected, ran / 0.9) if expected else ran


class ProgressLog(logging.Handler):
    """Follows Snakemake's events. From `start` to `close`, prints a line at intervals."""

    def __init__(self, tests: int = 1) -> None:
        """tests: see `Tally`."""
        super().__init__(logging.INFO)
        self.tally = Tally(tests)
        self.failed: list[str] = []
        self.began = time.monotonic()
        self._state = threading.Lock()
        self._stop = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        with self._state:
            match getattr(record, "event", None):
                case "run_info":
                    self.tally.planned = Counter(record.stats)  # type: ignore[attr-defined]
                case "job_info":
                    job = job_of(record, now)
                    self.tally.start(record.jobid, job)  # type: ignore[attr-defined]
                case "job_finished":
                    self.tally.finish(record.job_id, now)  # type: ignore[attr-defined]
                case "job_error":
                    self._fail(record)

    def start(self, quiet: Iterable[Enum] | None) -> None:
        """Begin to print. The intervals grow, so the log of a day fits one or two screens.

        quiet: Snakemake's `--quiet`. With `progress`, Snakemake reports no end of a job.
        """
        self.began = time.monotonic()
        if not {kind.name for kind in quiet or ()} & {"PROGRESS", "ALL"}:
            threading.Thread(target=self._print, daemon=True).start()

    def close(self) -> None:
        self._stop.set()
        super().close()

    def succeed(self, results: str) -> None:
        """Print the last lines of a successful run."""
        self._stop.set()
        if not any(self.tally.planned[rule] for rule in ("report", "track", *RULES)):
            return  # something small, such as `snakemake plan`
        done = " and ".join(f"{self.tally.finished_runs(rule)} {RULES[rule]}" for rule in RULES)
        say(f"finished in {duration(time.monotonic() - self.began)}: {done}")
        page, store = Path(results) / "report" / "index.html", Path(results) / "mlflow.db"
        if page.exists():
            say(f"report: {page} (tables beside it as .md, .csv and .tex)")
        if store.exists():
            say(f"runs: mlflow ui --backend-store-uri sqlite:///{store}")
            for dataset, address in runs_pages(store).items():
                say(f"      then open {address} ({dataset})")

    def fail(self) -> None:
        """Print the last lines of a failed run."""
        self._stop.set()
        for name in self.failed:
            say(f"failed: {name}")
        say("fix the cause, then run the same command again. Finished work is kept")

    def _fail(self, record: logging.LogRecord) -> None:
        job = self.tally.running.pop(record.jobid, None)  # type: ignore[attr-defined]
        name = job.name if job else record.rule_name  # type: ignore[attr-defined]
        logs = [str(path) for path in record.log]  # type: ignore[attr-defined]
        self.failed.append(f"{name} (log: {', '.join(logs)})")
        say(f"failed: {self.failed[-1]}, which ends:")
        for path in logs:
            for line in tail(Path(path)):
                say(f"    {line}")

    def _print(self) -> None:
        while True:
            elapsed = time.monotonic() - self.began
            if self._stop.wait(min(max(15.0, elapsed / 20), 600.0)):
                return
            with self._state:
                now = time.monotonic()
                say(self.tally.line(now - self.began, now))


def watch(tests: int) -> ProgressLog:
    """Follow this call of Snakemake. Prints nothing until `start`, so nothing in a dry run.

    tests: see `Tally`.
    """
    progress = ProgressLog(tests)
    logger = logging.getLogger("snakemake.logging")
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(worth_reading)
    logger.addHandler(progress)
    return progress


def worth_reading(record: logging.LogRecord) -> bool:
    """False for Snakemake's lines about the start and end of jobs, which our lines replace."""
    return getattr(record, "event", None) not in ("job_started", "job_finished", "progress") and (
        not record.getMessage().startswith("Select jobs to execute")
    )


def job_of(record: logging.LogRecord, now: float) -> RunningJob:
    """The job that Snakemake announces."""
    fields = vars(record)
    rule, outputs = fields["rule_name"], [str(path) for path in fields["output"]]
    # A training run writes its metrics beside its marker, under this name until it has finished.
    curve = Path(outputs[0]).with_name(CURVE) if rule == "train" else None
    return RunningJob(
        rule=rule,
        name=fields.get("rule_msg") or rule,
        kind=(rule, dict(fields["wildcards"]).get("dataset", "")),
        started=now,
        curve=curve,
        markers=tuple(map(Path, outputs)) if rule == "test" else (),
    )


def steps_done(curve: Path) -> float:
    """Share of the finished steps of a training run in its metrics log, 0 if there are none."""
    try:
        with curve.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 8192, 0))
            # The last piece is empty or an incomplete line.
            line = json.loads(file.read().split(b"\n")[-2])
        return min(line["step"] / line["steps"], 1.0)
    except (OSError, IndexError, KeyError, ValueError):
        return 0.0


def tail(path: Path) -> list[str]:
    """The last lines of a log, or the reason that there are none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        return [f"({error.strerror})"]
    if free < FULL:
        lines.append(f"(the disk of {path.parent} is full: free some space)")
    return lines or ["(empty)"]


def duration(seconds: float) -> str:
    """A duration as text: 40 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def say(text: str) -> None:
    """Print a line with our prefix to stderr, where Snakemake also prints."""
    print(f"[sr3d] {text}", file=sys.stderr, flush=True)
