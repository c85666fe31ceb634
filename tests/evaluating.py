"""An evaluation run by one call, as `sr3d test` makes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sr3d.evaluate.loop import Evaluator
from sr3d.runs.files import exclusive
from sr3d.runs.record import RUN_FILE, RunRecord


def evaluate(run: Path, data: Path, out: Path, index: int, **options: Any) -> RunRecord:
    """The record of an evaluation run in `out`. options: of `Evaluator`."""
    evaluator = Evaluator(run, data, **options)
    with exclusive(out / RUN_FILE):
        return evaluator.evaluate(out, index)
