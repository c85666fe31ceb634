"""Initialisations that several originals share."""

from __future__ import annotations

from torch import nn


def draw_over_outputs(conv: nn.Conv1d | nn.Conv2d) -> None:
    """Kaiming's normal distribution over the outputs, and no bias, as mmcv initialises layers."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def draw_matrices(module: nn.Module) -> None:
    """Xavier's uniform distribution for every matrix of a transformer. Other weights stay."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
