"""Where time goes: the seconds during which each stage was the innermost one.

The stages wrap functions while they are measured. `torch.profiler.record_function` in the network
would cost every detection 1.2 ms even without a profiler: 6 µs each for 189 stages, which are
mostly kernel maps. With a profiler it would record 40,000 operations, and the times of stages would
contain that work.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from sr3d.detectors import Detector
from sr3d.runs.folder import synchronise
from sr3d.sparse import Sites
from sr3d.train import step

STAGES = ("voxelise", "maps", "backbone", "neck", "head", "selection")
TRAINING_STAGES = ("forward", "loss", "backward", "optimiser")
_MAP_BUILDERS = ("strided", "generated", "union", "kernel_map")  # of Sites; they call all others


class StageClock:
    """Seconds by stage. Stages nest; time counts for the innermost one alone, so that the sum is
    the whole. Every change of stage waits for the device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
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
        """The function, with its calls as that stage."""

        @functools.wraps(function)
        def staged(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return staged

    def _charge(self) -> None:
        synchronise(self.device)
        now = time.perf_counter()
        if self._open:
            name = self._open[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now


@contextmanager
def detection_staged(model: Detector[Any, Any], clock: StageClock) -> Iterator[None]:
    """While it lasts, detecting fills the clock with `STAGES`.

    Decoding boxes counts as head; maps are what `Sites` derives, whoever asks for it.
    """
    parts = model.stages().items()
    with _staged(
        clock,
        (model, "inputs", "voxelise"),
        (model, "forward", "head"),
        (model, "detections", "selection"),
        *((model.get_submodule(name), "forward", stage) for name, stage in parts),
        *((Sites, builder, "maps") for builder in _MAP_BUILDERS),
    ):
        yield


@contextmanager
def training_staged(
    model: Detector[Any, Any], optimizer: torch.optim.Optimizer, clock: StageClock
) -> Iterator[None]:
    """While it lasts, training steps fill the clock with `TRAINING_STAGES`."""
    with _staged(
        clock,
        (step, "batch_losses", "forward"),
        (model, "loss", "loss"),
        (step, "ordered_backward", "backward"),
        (step, "clip_grad_norm_", "optimiser"),
        (optimizer, "step", "optimiser"),
    ):
        yield


@contextmanager
def _staged(clock: StageClock, *stages: tuple[Any, str, str]) -> Iterator[None]:
    """stages: owner, name of its function, and the stage that calls of it are."""
    with ExitStack() as stack:
        for owner, name, stage in stages:
            timed = clock.timed(stage, getattr(owner, name))
            stack.enter_context(replaced(owner, name, timed))
        yield


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another attribute while it lasts: of the class, or of this very module."""
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
