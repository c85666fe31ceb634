"""What a network calls: furthest points, ball query, nearest points, grouping, interpolation."""

from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from sr3d.points import cpu_engine, torch_engine
from sr3d.sparse.functional import engine_on

Padding = Literal["first", "zero"]


def points_engine(device: torch.device) -> ModuleType:
    """Triton where sparse layers use it, else the CPU's engine, or PyTorch on a GPU."""
    if engine_on(device) == "triton":
        from sr3d.points.triton import engine as triton_engine  # the import takes seconds

        return triton_engine
    return cpu_engine if device.type == "cpu" else torch_engine


@torch.no_grad()
def furthest_points(
    points: Tensor, count: int, skip_origin: bool = True, tie_threads: int | None = None
) -> Tensor:
    """Indices (B, count) int64 of farthest point sampling in points (B, N, 3).

    The first index is 0. Each next point is the one farthest from all points chosen before.
    Distances are at most 1e10. If fewer than `count` distinct points exist, points repeat. In the
    chosen order, the points are farthest point samples again: 0, 1, 2, …, unless ties intervene.

    skip_origin: never choose a point with x² + y² + z² <= 1e-3, except index 0. VoteNet,
    MLCVNet, GroupFree, 3DETR and V-DETR do so. BRNet, RBGNet and mmdet3d do not.
    tie_threads: None takes the lowest index among equally far points. A number takes the point
    that a CUDA block of at most so many threads takes: 512 for VoteNet, GroupFree, 3DETR and
    V-DETR, 1024 for BRNet and mmdet3d.

    Raises ValueError if the clouds have no point.
    """
    if points.shape[1] == 0:
        raise ValueError("furthest_points needs at least one point in each cloud")
    points, engine = points.detach().float(), points_engine(points.device)
    if tie_threads is None:
        return engine.furthest_points(points, count, skip_origin)
    order = torch_engine.thread_order(points.shape[1], tie_threads).to(points.device)
    return order[engine.furthest_points(points[:, order], count, skip_origin)]


@torch.no_grad()
def ball_query(
    points: Tensor, centres: Tensor, radius: float, count: int, pad: Padding = "first"
) -> Tensor:
    """Indices (B, M, count) int64 of points (B, N, 3) around centres (B, M, 3).

    A point is inside if its squared distance is below radius * radius, both in float32. The
    first `count` such points are taken in index order.

    pad: "first" fills a row with its first point, and a ball without any point with index 0.
    "zero" is RBGNet's: indices count from 1, as if a dummy point stood before the cloud, and a
    ball without any point has index 0 throughout. Other rows are filled with their first point.
    """
    points, centres = points.detach().float(), centres.detach().float()
    hits = points_engine(points.device).ball_query(points, centres, radius, count)
    return hits + 1 if pad == "zero" else hits.clamp_(min=0)


@torch.no_grad()
def nearest(points: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Squared distances (B, M, k) and indices (B, M, k) of the points nearest to each query.

    points (B, N, 3), queries (B, M, 3). Distances ascend. Among equal distances the lower index
    comes first. Where a cloud has fewer than k points, the distance is inf and the index 0.
    """
    points, queries = points.detach().float(), queries.detach().float()
    return points_engine(points.device).nearest(points, queries, k)


def group(features: Tensor, index: Tensor) -> Tensor:
    """Columns of features (B, C, N) at index (B, ...): (B, C, ...). Differentiable in features."""
    batch, channels, _ = features.shape
    flat = index.reshape(batch, 1, -1).expand(-1, channels, -1)
    return features.gather(2, flat).reshape(batch, channels, *index.shape[1:])


def interpolate(features: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums (B, C, M) of the columns of features (B, C, N) at index (B, M, k).

    weights (B, M, k). Terms are added from the first to the last. Differentiable in features
    and weights.
    """
    taken = group(features, index) * weights.unsqueeze(1)
    total = taken[..., 0]
    for term in taken.unbind(3)[1:]:
        total = total + term
    return total
