"""Time the stages of detection and training: each stage's seconds as the innermost stage.

Stages wrap functions only while they are measured. With `torch.profiler.record_function` in the
network, every detection would take 1.2 ms more even without a profiler: 6 µs each for 189 stages,
mostly kernel maps. A profiler would record 40,000 operations, and the times would include that.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from sr3d.detectors.base import Detector
from sr3d.points import cpu_engine, torch_engine
from sr3d.points.functional import points_engine
from sr3d.runs.folder import synchronise
from sr3d.sparse import Sites
from sr3d.sparse.functional import engine
from sr3d.train import step

# After the stage of the inputs (`Detector.input_stage`). A detector has those that it needs.
STAGES = ("maps", "points", "backbone", "neck", "head", "selection")
TRAINING_STAGES = ("forward", "loss", "backward", "optimiser")
_MAP_BUILDERS = ("strided", "generated", "union", "kernel_map")  # methods of Sites, call the rest
_POINT_OPERATIONS = ("furthest_points", "ball_query", "nearest")  # of an engine of sr3d.points


class StageClock:
    """Seconds by stage. Stages nest, and time counts for the innermost one only, so the sum of the
    stages is the total time. Every change of stage synchronises with the device.

    processor: count the CPU time of the process, which other programs do not lengthen.
    """

    def __init__(self, device: torch.device, processor: bool = False) -> None:
        self.device, self.processor = device, processor
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with each call timed as that stage."""

        @functools.wraps(function)
        def staged(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return staged

    def _charge(self) -> None:
        synchronise(self.device)
        now = time.process_time() if self.processor else time.perf_counter()
        if self._open:
            name = self._open[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now


@contextmanager
def detection_staged(model: Detector[Any, Any], clock: StageClock) -> Iterator[None]:
    """Within the block, detection adds its times to the clock, by the input stage and `STAGES`.

    Decoding boxes counts as head. All that `Sites` derives counts as maps, and sampling and
    neighbour search on points as points, whichever layer calls.
    """
    parts = model.stages().items()
    with engine(model.config.engine):
        engines = {cpu_engine, torch_engine, points_engine(clock.device)}
    with staged(
        clock,
        (model, "inputs", model.input_stage),
        (model, "forward", "head"),
        (model, "detections", "selection"),
        *((model.get_submodule(name), "forward", stage) for name, stage in parts),
        *((Sites, builder, "maps") for builder in _MAP_BUILDERS),
        *((one, name, "points") for one in engines for name in _POINT_OPERATIONS),
    ):
        yield


@contextmanager
def training_staged(
    model: Detector[Any, Any], optimizer: torch.optim.Optimizer, clock: StageClock
) -> Iterator[None]:
    """Within the block, training steps add their times to the clock, by `TRAINING_STAGES`."""
    with staged(
        clock,
        (step, "batch_losses", "forward"),
        (model, "loss", "loss"),
        (step, "ordered_backward", "backward"),
        (step, "clip_grad_norm_", "optimiser"),
        (optimizer, "step", "optimiser"),
    ):
        yield


@contextmanager
def staged(clock: StageClock, *stages: tuple[Any, str, str]) -> Iterator[None]:
    """stages: owner, name of its function, and the stage of its calls."""
    with ExitStack() as stack:
        for owner, name, stage in stages:
            timed = clock.timed(stage, getattr(owner, name))
            stack.enter_context(replaced(owner, name, timed))
        yield


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of a class or of this module within the block."""
    own = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
