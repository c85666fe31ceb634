"""A fused network made of a detector's own modules, on sites of any kind."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sr3d.detectors.common.selection import best_anchors
from sr3d.detectors.common.sparse_detector import SparseDetector
from sr3d.errors import InputError, Kind
from sr3d.sparse import Sites
from sr3d.sparse.functional import engine
from sr3d.sparse.fusion import FusedTensor, FusedWeights
from sr3d.sparse.tensor import plan


@dataclass(frozen=True)
class Outputs:
    """The outputs for all anchors, level after level, in float32.

    levels: the cells of each level, finest first. reg: (A, 6 or 8), raw. scores: (A, C).
    """

    levels: Sequence[Sites]
    reg: Tensor
    scores: Tensor


class FusedNetwork(nn.Module):
    """A fused copy of a detector, for inference only. kind: the class of its tensors.

    Raises:
        InputError: the detector has no `decode`, or its engine is MinkowskiEngine.
    """

    def __init__(
        self,
        detector: SparseDetector[Any],
        dtype: torch.dtype = torch.float32,
        kind: type[FusedTensor] = FusedTensor,
    ) -> None:
        super().__init__()
        if detector.config.engine == "minkowski":
            raise InputError(
                "minkowski has no inference runner",
                field="model.engine",
                kind=Kind.CONFLICT,
                remedy="Take model.engine=native.",
            )
        device = next(detector.parameters()).device
        self.detector = copy.deepcopy(detector).cpu().eval().requires_grad_(False)
        for name in detector.training_only:
            delattr(self.detector, name)
        self.kind, self.weights = kind, FusedWeights()
        self._fuse()
        self.to(device, dtype)

    @torch.no_grad()
    def _fuse(self) -> None:
        """Run on one voxel, to find which norm follows which convolution."""
        sites, _ = Sites.unique(torch.zeros(1, 4, dtype=torch.int64))
        with engine("torch"):
            outputs = self(torch.zeros(1, 3), sites)
            self.detector.decode(torch.zeros(len(outputs.reg), 3), outputs.reg)
        self.weights.release()

    def plan(self, sites: Sites) -> None:
        """See `sr3d.sparse.tensor.plan`."""
        plan(self.detector.planned, sites)

    def forward(self, features: Tensor, sites: Sites) -> Outputs:
        """features: (voxels, 3)."""
        x = self.kind(features.to(self.dtype), sites, self.weights)
        levels, *outputs = zip(*self.detector.levels(x), strict=True)
        reg, *rest = (torch.cat(parts).float() for parts in outputs)
        return Outputs([level.sites for level in levels], reg, self.detector.scores(*rest))

    def best(self, found: Outputs, scores: Tensor, most: int) -> Tensor:
        """Rows of the `most` anchors with the best scores (A,)."""
        sizes = [len(level) for level in found.levels]
        by_level = self.detector.nms_pre_by_level
        return best_anchors(scores, sizes if by_level else [sum(sizes)], most)

    @property
    def device(self) -> torch.device:
        return next(self.weights.buffers()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.weights.buffers(), torch.empty(0)).dtype
