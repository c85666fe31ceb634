"""One training step: data, network, matching and losses, gradients, optimiser.

Training, the benchmark and the planner all take this step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scene import Scene
from sr3d.detectors.base import Detector
from sr3d.detectors.outputs import Losses
from sr3d.sparse.determinism import ordered_backward
from sr3d.train.distributed import ALONE, Processes
from sr3d.train.metrics_log import STOP


def train_step(
    model: Detector[Any, Any],
    scenes: Sequence[Scene],
    optimizer: torch.optim.Optimizer,
    clip_norm: float,
    processes: Processes = ALONE,
    stop: bool = False,
    generators: Sequence[torch.Generator] | None = None,
) -> dict[str, Tensor]:
    """Update the weights by the gradient of a batch. Returns scalars by name, still on the device.

    scenes: this process's share of the batch. clip_norm: maximum norm of the gradient, 0 for none.
    stop: whether this process was asked to stop. The returned `STOP` is the number of such
    processes. generators: see `Detector.inputs`.
    """
    losses = batch_losses(model, scenes, processes, generators)
    optimizer.zero_grad(set_to_none=True)
    ordered_backward(losses.total)
    values = processes.add(model.parameters(), {**losses.values(), STOP: float(stop)})
    norm = clip_grad_norm_(model.parameters(), clip_norm or math.inf)
    optimizer.step()
    return {**values, "grad_norm": norm}


def batch_losses(
    model: Detector[Any, Any],
    scenes: Sequence[Scene],
    processes: Processes = ALONE,
    generators: Sequence[torch.Generator] | None = None,
) -> Losses:
    """The losses of the network on this process's share of a batch."""
    predictions = model(model.inputs(scenes, generators))
    return model.loss(predictions, GroundTruth.of(scenes, model.device), processes.total)
