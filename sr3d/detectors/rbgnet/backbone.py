"""PointNet++ with foreground-biased sampling: levels prefer points that a scorer takes for objects.

Source: Haiyang-W/RBGNet (pcdet/models/backbones_3d/pointnet2_fbs_backbone.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from sr3d.detectors.common.pointnet2 import PointNet2, PointSet, SharedMLP, rows
from sr3d.points import furthest_points


@dataclass(frozen=True)
class ForegroundSeeds(PointSet):
    """Seeds, with the four levels and the scores that chose their points.

    levels: their `index` is of points in the input. logits: (B, 2, M) of the points of each level
    but the last, background and foreground.
    """

    levels: tuple[PointSet, ...]
    logits: tuple[Tensor, ...]


class ForegroundScorer(nn.Module):
    """Logits of background and foreground, (B, 2, N), of features (B, C, N)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.mlp = SharedMLP(channels)
        self.conv = nn.Conv2d(channels[-1], 2, 1)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.conv(self.mlp(features[..., None])).squeeze(-1)
        return logits.float()


class ForegroundPointNet2(PointNet2):
    """The second to fourth level sample the best-scored points first, then some of the others.

    Offsets of points are not divided by the radius.
    """

    def __init__(
        self, inputs: int, counts: Sequence[int], radii: Sequence[float], samples: Sequence[int],
        planes: Sequence[int], outputs: int, foreground: float, *, skip_origin: bool,
    ) -> None:  # fmt: skip
        """foreground: share of a level's points that come from the best scores. Others: see
        `PointNet2`.
        """
        super().__init__(
            inputs, counts, radii, samples, planes, outputs,
            normalize=False, skip_origin=skip_origin, tie_threads=None,
        )  # fmt: skip
        self.best = [round(foreground * count) for count in counts[1:]]
        self.scorers = nn.ModuleList(
            ForegroundScorer([given, given, plane, plane]) for given, plane in pairwise(planes)
        )

    def forward(self, points: Tensor, features: Tensor | None) -> ForegroundSeeds:
        """The seeds, see `PointNet2.forward`."""
        last: PointSet = self.sa1(points, features)
        levels, logits = [last], []
        above = zip((self.sa2, self.sa3, self.sa4), self.scorers, self.best, strict=True)
        for level, scorer, best in above:
            logits.append(scorer(last.features))
            index = foreground_first(
                last.points, score_of(logits[-1]), best, level.count, level.skip_origin
            )
            found: PointSet = level(last.points, last.features, index)
            last = PointSet(found.points, found.features, last.index.gather(1, index))
            levels.append(last)
        found_features = self.propagate(*levels[1:])
        second = levels[1]
        return ForegroundSeeds(
            second.points, found_features, second.index, tuple(levels), tuple(logits)
        )


def score_of(logits: Tensor) -> Tensor:
    """(B, N) scores that rank points, of logits (B, 2, N)."""
    background, foreground = logits.softmax(dim=1).unbind(dim=1)
    return foreground - background


@torch.no_grad()
def foreground_first(
    points: Tensor, score: Tensor, best: int, count: int, skip_origin: bool = False
) -> Tensor:
    """(B, count) indices: the furthest `best` of the `best` points with the highest score, then the
    furthest of the other points.

    Sampling starts at the lowest index of either set. points: (B, N, 3). score: (B, N).
    skip_origin: see `sr3d.points.furthest_points`.
    """
    others = torch.ones_like(score, dtype=torch.bool)
    others.scatter_(1, score.topk(best, dim=1).indices, False)
    order = others.sort(dim=1, stable=True).indices
    chosen = []
    for index, number in ((order[:, :best], best), (order[:, best:], count - best)):
        picked = furthest_points(rows(points, index), number, skip_origin)
        chosen.append(index.gather(1, picked))
    return torch.cat(chosen, dim=1)
