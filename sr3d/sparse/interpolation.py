"""Features between cells."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.sparse.lookup import Frame, RowLookup, joined
from sr3d.sparse.minkowski import MinkowskiSites
from sr3d.sparse.sites import Sites, corner_weight, kernel_offsets
from sr3d.sparse.tensor import SparseTensor


def interpolate(x: SparseTensor, sites: Sites) -> Tensor:
    """`x` at the coordinates of other, usually finer, sites: trilinear, (len(sites), C).

    The cells at the 8 corners around a coordinate count by their nearness. A missing one counts as
    zero: the weights of the others are not scaled up (features_at_coordinates of MinkowskiEngine,
    src/coordinate_map_gpu.cu).
    """
    if isinstance(x.sites, MinkowskiSites):
        return x.sites.interpolated(x.features, sites.coords)
    result = x.features.new_zeros(len(sites), x.features.shape[1])
    if len(x.sites) == 0 or len(sites) == 0:
        return result
    stride = x.sites.stride
    frame = Frame(joined(x.sites.bounds, sites.bounds), x.sites.batch_size, stride, reach=1)
    lookup = RowLookup(frame, frame.number(x.sites.coords))
    corner = frame.number(sites.coords)  # of the cell that holds the coordinate
    share = (sites.coords[:, 1:] % stride).to(x.features.dtype) / stride  # of the way to the next
    padded = torch.cat([x.features, x.features.new_zeros(1, x.features.shape[1])])  # -1 is missing
    for offset in kernel_offsets(2):
        rows = lookup.rows(corner + frame.shift(offset))
        result = result + corner_weight(share, offset)[:, None] * padded[rows]
    return result
