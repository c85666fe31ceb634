"""Builds optimisers and computes learning rates by the names in a configuration."""

from __future__ import annotations

import math

import torch

from sr3d.config import TrainConfig
from sr3d.detectors.base import Detector


def build_optimizer(model: Detector, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser for the detector's parameter groups, at the first learning rate.

    Parameters that are frozen, because no loss depends on them, are left out. Gradients summed over
    processes are zero for them, and weight decay would change them.
    """
    groups = [
        group | {"params": [p for p in group["params"] if p.requires_grad]}
        for group in model.parameter_groups(config)
    ]
    fused = model.device.type == "cuda" or None
    warms_up = config.warmup_iters or config.warmup_epochs
    lr, decay = config.warmup_start_lr if warms_up else config.lr, config.weight_decay
    optimizer: torch.optim.Optimizer
    match config.optimizer:
        case "adamw":
            optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=decay, fused=fused)
        case "adam":
            optimizer = torch.optim.Adam(groups, lr=lr, weight_decay=decay, fused=fused)
        case "sgd":
            optimizer = torch.optim.SGD(
                groups, lr=lr, momentum=config.momentum, dampening=config.dampening,
                weight_decay=decay, fused=fused,
            )  # fmt: skip
    set_learning_rate(optimizer, lr)
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every parameter group, times the group's `lr_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1)


def learning_rate(config: TrainConfig, step: int, epoch: int, steps: int) -> float:
    """The rate before a step, counted from 0, of all `steps`. A linear warm-up comes first.

    "step" divides the rate by ten after each milestone epoch. "cosine" and "polynomial" fall from
    `lr` to `min_lr` over the whole run, by epoch or by step. Their warm-up ends at `lr`, slightly
    above the rate that follows, as in facebookresearch/3detr. "exponential" multiplies the rate by
    `decay` after every `decay_steps`.
    """
    warmup = config.warmup_iters
    if config.warmup_epochs:
        warmup = config.warmup_epochs * steps // config.epochs
    progress = step / steps if config.schedule_by == "step" else epoch / config.epochs
    rate = _scheduled(config, progress, epoch, step)
    if step < warmup:
        falls = config.schedule in ("cosine", "polynomial")
        end = config.lr if falls else rate
        return config.warmup_start_lr + step / warmup * (end - config.warmup_start_lr)
    return rate


def _scheduled(config: TrainConfig, progress: float, epoch: int, step: int) -> float:
    """progress: from 0 at the start to 1 at the end of the run."""
    match config.schedule:
        case "step":
            return config.lr * 0.1 ** sum(epoch >= milestone for milestone in config.milestones)
        case "exponential":
            return config.lr * config.decay ** (step // config.decay_steps)
        case "cosine":
            share = (1 + math.cos(math.pi * progress)) / 2
        case "polynomial":
            share = (1 - progress) ** config.schedule_power
    return config.min_lr + share * (config.lr - config.min_lr)
