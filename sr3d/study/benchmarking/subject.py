"""Which detector is measured, where and how; a value that measuring processes are sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sr3d.config import Config
from sr3d.deploy.compiled import PRECISIONS, CompiledDetector
from sr3d.detectors import build_detector
from sr3d.detectors.base import Detector
from sr3d.detectors.weights import load_weights


@dataclass(frozen=True)
class Subject:
    """weights: None for random ones, from seed 0. threads: of the CPU. compiled: the precision of
    the detector's inference runner; None to run it eagerly, in float32.
    """

    config: Config
    weights: Path | None = None
    device: str = "cpu"
    threads: int = 1
    compiled: str | None = None

    def build(self) -> Detector[Any, Any]:
        """The detector on its device, in evaluation mode.

        Raises:
            InputError: weights that do not fit.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = build_detector(self.config)
        if self.weights is not None:
            load_weights(model, self.weights)
        return model.to(self.device).eval()

    def compile(self, model: Detector[Any, Any]) -> CompiledDetector | None:
        """Its inference runner, where one is asked for.

        Raises:
            InputError: an engine that has none.
        """
        return None if self.compiled is None else model.compile(self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """In which the network computes."""
        return PRECISIONS[self.compiled or "fp32"]
