"""The momentum of batch norms, which some detectors change at the start of each epoch."""

from __future__ import annotations

from torch import Tensor, nn


def set_norm_momentum(model: nn.Module, momentum: float) -> None:
    """For `Detector.start_epoch`: set it in every norm with running statistics.

    Sparse norms, and norms that the processes of a multi-GPU run share, are found by these
    statistics. momentum: PyTorch's, the weight of the newest batch. Source: `BNMomentumScheduler`
    of facebookresearch/votenet.
    """
    for module in model.modules():
        if isinstance(getattr(module, "running_mean", None), Tensor):
            module.momentum = momentum  # type: ignore[assignment]
