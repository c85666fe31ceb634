"""Set aside the finished runs that the user forces (`--forcerun`, `--forceall`, `--force`).

A job returns the finished run that it finds. So a forced run must move away first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sr3d.errors import InputError
from sr3d.runs.files import exclusive
from sr3d.runs.record import RUN_FILE
from sr3d.train.replacing import set_aside
from workflow.refusal import Refusal


def set_forced_aside(workflow: Any, rules: tuple[str, ...]) -> None:
    """Set aside the finished runs that the user forces.

    rules: the rules that make a run in the folder of each output. The rule of training runs comes
    first, because their evaluation runs move with them. A forced file of a job with several runs
    sets aside only its own run, and the job returns the others.

    Raises:
        Refusal: another process works in a run's folder.
    """
    if workflow.touch:  # no job will make a run again
        return
    settings = workflow.dag_settings
    forced = set(settings.forcerun) | (set(settings.targets) if settings.forcetargets else set())
    jobs = [job for job in workflow.dag.needrun_jobs() if job.rule.name in rules]
    for job in sorted(jobs, key=lambda job: rules.index(job.rule.name)):
        for marker in job.output:
            record = Path(marker).parent / RUN_FILE
            chosen = settings.forceall or forced & {job.rule.name, marker}
            if chosen and record.exists():
                try:
                    with exclusive(record):
                        set_aside(record.parent)
                except InputError as error:
                    raise Refusal(str(error)) from None
