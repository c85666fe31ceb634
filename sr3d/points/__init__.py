"""Operations on batches of point clouds: sampling, neighbours, grouping and interpolation.

Each follows the rules of the CUDA kernels that the point-based detectors share (PointNet++
of facebookresearch/votenet): squared distances are (dx*dx + dy*dy) + dz*dz in float32,
without fused multiply-adds. The chosen indices depend on the last bit.
"""

from sr3d.points.functional import (
    ball_query,
    furthest_points,
    group,
    interpolate,
    nearest,
)

__all__ = ["ball_query", "furthest_points", "group", "interpolate", "nearest"]
