"""A whole detector, from points to boxes, as a program of `torch.export`.

Such a program holds weights and tensor operations alone: it runs without this package, and can be
saved. That needs shapes which are known beforehand, so it is for scenes up to a capacity; what does
not fit is told. Sparse convolutions are written as gathers and products (`GatheredConv`).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from sr3d.deploy.folded import FoldedConv
from sr3d.deploy.static_pass import Capacity, FixedPass
from sr3d.detectors.base import SparseDetector
from sr3d.sparse.static import NeighborTable

_ACTIVATIONS: dict[str, nn.Module] = {"none": nn.Identity(), "relu": nn.ReLU(), "elu": nn.ELU()}


class GatheredConv(nn.Module):
    """`FoldedConv` on a `NeighborTable`: all neighbours side by side, and one product.

    It takes K · Ci values of memory a row, where the engines go by blocks of rows; in return a
    layer is six operations whatever the scene's size.
    """

    def __init__(self, conv: FoldedConv) -> None:
        super().__init__()
        weight = cast(Tensor, conv.weight)
        self.activation = _ACTIVATIONS[conv.activation]
        self.register_buffer("weight", weight.flatten(0, 1).clone())
        self.register_buffer("shift", cast(Tensor, conv.shift).clone())

    def forward(self, x: Tensor, table: NeighborTable, residual: Tensor | None = None) -> Tensor:
        # A missing neighbour is the row after the last, of zeros.
        neighbors = torch.cat([x, x.new_zeros(1, x.shape[1])])[table.neighbors]
        out = neighbors.flatten(1) @ cast(Tensor, self.weight) + cast(Tensor, self.shift)
        if residual is not None:
            out = out + residual
        return self.activation(out)


class PortableDetector(nn.Module):
    """Scenes of one capacity, one at a time; a copy of the trained weights at the time."""

    def __init__(self, model: SparseDetector[Any], capacity: Capacity) -> None:
        super().__init__()
        self.network = model.folded()
        for parent in list(self.network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, FoldedConv):
                    setattr(parent, name, GatheredConv(child))
        rotated = model.dataset.rotated
        self.fixed = FixedPass(self.network, model.config, model.test_config, rotated, capacity)

    def forward(
        self, points: Tensor, colors: Tensor, count: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """points, colors: (capacity.points, 3), metres and [0, 1], of which the first `count`, ()
        int64, are real.

        Returns boxes (n, 7), scores (n, C), keep (n, C) bool: box i is detected as class c where
        keep[i, c]; and overflow, () bool: the scene did not fit, or a score or box is NaN or
        infinite, so the rest is invalid.
        """
        found = self.fixed(points, colors, count)
        return found.boxes, found.scores, found.keep, found.overflow


def capacity_like(model: SparseDetector[Any], points: Tensor, colors: Tensor) -> Capacity:
    """Room for scenes like one, (N, 3) and (N, 3): a quarter more points, cells and extent, and
    twice as many boxes before NMS.

    `Capacity.joined` makes one that holds either of two.
    """
    return model.compile().capacity_like(points, colors)


def export_detector(model: SparseDetector[Any], capacity: Capacity) -> ExportedProgram:
    """`PortableDetector` as a program that `torch.export.save` writes."""
    portable = PortableDetector(model, capacity).eval()
    inputs = torch.zeros(capacity.points, 3), torch.zeros(capacity.points, 3), torch.tensor(1)
    # Tracing must meet no switch of gradients on the way, which saved programs cannot hold.
    with torch.no_grad():
        return torch.export.export(portable, inputs, strict=False)
