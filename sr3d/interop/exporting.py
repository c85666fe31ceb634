"""A whole detector, from points to boxes, as a program of `torch.export`.

Such a program consists of weights and tensor operators. It can be saved, and runs without this
package. It needs static shapes, so it takes scenes up to a capacity, and reports an overflow. A
sparse convolution is one gather and one product (`GatheredTensor`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from sr3d.deploy.fused_network import FusedNetwork
from sr3d.deploy.static_pass import Capacity, StaticPass, require_harmless_padding
from sr3d.detectors.common.sparse_detector import SparseDetector
from sr3d.sparse.fusion import GatheredTensor


class PortableDetector(nn.Module):
    """Detects in one scene at a time, up to a capacity, with a copy of the current weights."""

    def __init__(self, model: SparseDetector[Any], capacity: Capacity) -> None:
        super().__init__()
        self.network = FusedNetwork(model, kind=GatheredTensor)
        require_harmless_padding(self.network)
        self.static = StaticPass(self.network, capacity)

    def forward(
        self, points: Tensor, colors: Tensor, count: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """points, colors: (capacity.points, 3), metres and [0, 1]. Only the first `count`, ()
        int64, are valid.

        Returns boxes (n, 7), scores (n, C), keep (n, C) bool, and overflow, () bool. Box i is
        detected as class c if keep[i, c]. If overflow is True, the scene exceeded the capacity, or
        a score or box is NaN or infinite, and the rest is invalid.
        """
        found = self.static(points, colors, count)
        return found.boxes, found.scores, found.keep, found.overflow


def capacity_like(model: SparseDetector[Any], points: Tensor, colors: Tensor) -> Capacity:
    """The capacity for scenes like one, (N, 3) and (N, 3): a quarter more points, cells and extent,
    and twice as many boxes before NMS.

    `Capacity.joined` combines the capacities of several scenes.
    """
    return model.compile().capacity_like(points, colors)


def export_detector(model: SparseDetector[Any], capacity: Capacity) -> ExportedProgram:
    """`PortableDetector` as a program that `torch.export.save` writes.

    Raises:
        InputError: the detector has no fused inference, or see `require_harmless_padding`.
    """
    portable = PortableDetector(model, capacity).eval()
    inputs = torch.zeros(capacity.points, 3), torch.zeros(capacity.points, 3), torch.tensor(1)
    # Tracing must not record a switch of gradients, which saved programs cannot hold.
    with torch.no_grad():
        return torch.export.export(portable, inputs, strict=False)
