"""Trainings that die after a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from sr3d.train import checkpoint, loop
from sr3d.train.checkpoint import write_state
from sr3d.train.loop import TrainingJob
from sr3d.train.training import train


class Killed(Exception):
    pass


def interrupt(job: TrainingJob, step: int) -> None:
    """Train with a checkpoint after every step, and die after `step` of them."""

    def write_and_die(folder: Path, state: checkpoint.TrainingState) -> None:
        write_state(folder, state)
        if state.step == step:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        patch.setattr(loop, "write_state", write_and_die)
        with pytest.raises(Killed):
            train(job)
