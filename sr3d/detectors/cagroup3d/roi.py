"""CAGroup3D's second stage: a grid of points in each proposal, pooled by sparse convolution, and a
refinement of the box.

Source: Haiyang-W/CAGroup3D (pcdet/models/roi_heads/cagroup_roi_head.py), including the names of
weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sr3d.detectors.cagroup3d.config import CAGroup3DModel
from sr3d.geometry.boxes import in_frame, rotate_z
from sr3d.sparse import Sites, SparseTensor
from sr3d.sparse.nn import SparseBatchNorm, SparseConv, SparseELU

_AT_A_TIME = 256  # proposals whose grids are multiplied together: limits memory
_THINNEST = 1e-5  # metres, the least edge of a box in a code
_STRIDE = 2  # of the backbone's voxels


class RoIHead(nn.Module):
    """The codes of refined boxes. Scores and classes stay those of the proposals."""

    def __init__(self, config: CAGroup3DModel, rotated: bool) -> None:
        super().__init__()
        c, hidden = config.roi_channels, config.roi_hidden
        self.roi_grid_pool_layers = nn.ModuleList([RoIGridPool(config)])
        self.reg_fc_layers = nn.Sequential(
            nn.Linear(c, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
        )
        self.reg_pred_layer = nn.Linear(hidden, 8 if rotated else 6)
        for layer in self.reg_fc_layers:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
        nn.init.normal_(self.reg_pred_layer.weight, std=0.001)
        nn.init.zeros_(self.reg_pred_layer.bias)

    def forward(self, x: SparseTensor, rois: Tensor, scenes: Tensor) -> Tensor:
        """Codes (R, 6 or 8) of proposals (R, 7). x: the backbone's output. scenes: (R,) int64."""
        pooled = self.roi_grid_pool_layers[0](x, rois, scenes)
        codes: Tensor = self.reg_pred_layer(self.reg_fc_layers(pooled))
        return codes.to(rois.dtype)


class RoIGridPool(nn.Module):
    """A convolution around the cell of each point of the grids, and one over each grid."""

    def __init__(self, config: CAGroup3DModel) -> None:
        super().__init__()
        c = config.roi_channels
        self.grid, self.most = config.roi_grid, config.roi_extent
        self.edge = config.voxel_size * _STRIDE
        self.grid_conv = SparseConv(config.channels, c, config.roi_kernel)
        self.grid_bn = SparseBatchNorm(c)
        self.grid_relu = SparseELU()
        self.pooling_conv = SparseConv(c, c, config.roi_grid)
        self.pooling_bn = SparseBatchNorm(c)
        for conv in (self.grid_conv, self.pooling_conv):
            nn.init.normal_(conv.kernel, std=0.01)

    def forward(self, x: SparseTensor, rois: Tensor, scenes: Tensor) -> Tensor:
        """(R, roi_channels), see `RoIHead.forward`."""
        cells, rows = self.gridded(x, rois, scenes)
        rows = rows.view(len(rois), -1)
        kernel = self.pooling_conv.kernel.flatten(0, 1)
        # The convolution over a grid is evaluated at its centre only: one product over its points.
        parts = [cells[own].flatten(1) @ kernel.to(cells.dtype) for own in rows.split(_AT_A_TIME)]
        # Sites only carry the rows: the norms of several processes take sparse tensors.
        number = torch.arange(len(rois), device=scenes.device)
        coords = torch.stack([scenes, number, 0 * number, 0 * number], dim=1).to(torch.int32)
        sites = Sites(coords, 1, x.sites.batch_size)
        normed: SparseTensor = self.pooling_bn(SparseTensor(torch.cat(parts), sites))
        return normed.features

    def gridded(self, x: SparseTensor, rois: Tensor, scenes: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the distinct cells of all grids, and the row of each point's cell."""
        coords = self.grid_cells(rois, scenes)
        sites, _ = x.sites.beside(coords, _STRIDE)
        found = self.grid_relu(self.grid_bn(self.grid_conv(x, sites)))
        return found.features, sites.rows_of(coords)

    def grid_cells(self, rois: Tensor, scenes: Tensor) -> Tensor:
        """(R · grid³, 4) int32 batch index and cells of the points, x fastest, in voxels."""
        points = grid_points(rois, self.grid)
        cells = torch.floor(points / self.edge).clamp(-self.most, self.most).to(torch.int32)
        index = scenes.to(torch.int32)[:, None, None].expand(*cells.shape[:2], 1)
        return torch.cat([index, cells * _STRIDE], dim=2).flatten(0, 1)


def grid_points(boxes: Tensor, count: int) -> Tensor:
    """(R, count³, 3) centres of the parts of boxes (R, 7), count along each axis, x fastest."""
    step = (torch.arange(count, device=boxes.device) + 0.5).to(boxes.dtype) / count - 0.5
    z, y, x = torch.meshgrid(step, step, step, indexing="ij")
    share = torch.stack([x, y, z], dim=-1).view(-1, 3)
    return boxes[:, None, :3] + rotate_z(share * boxes[:, None, 3:6], boxes[:, None, 6])


def encode(boxes: Tensor, rois: Tensor, rotated: bool) -> Tensor:
    """The codes (R, 6 or 8) of boxes (R, 7) relative to proposals (R, 7), in their frames.

    Offsets are in diagonals of the footprint and in heights, sizes are logarithms of ratios. With a
    yaw, cosine and sine of the turn follow.
    """
    size, own = boxes[:, 3:6].clamp(min=_THINNEST), rois[:, 3:6].clamp(min=_THINNEST)
    offset = in_frame(boxes[:, :3], rois) / _lengths(own)
    code = torch.cat([offset, (size / own).log()], dim=1)
    if not rotated:
        return code
    turn = folded(boxes[:, 6] - rois[:, 6])
    return torch.cat([code, turn.cos()[:, None], turn.sin()[:, None]], dim=1)


def decode(codes: Tensor, rois: Tensor) -> Tensor:
    """The inverse of `encode`, (R, 7). Without a yaw in the codes, boxes have that of proposals."""
    own = rois[:, 3:6].clamp(min=_THINNEST)
    centre = rois[:, :3] + rotate_z(codes[:, :3] * _lengths(own), rois[:, 6])
    yaw = rois[:, 6]
    if codes.shape[1] == 8:
        yaw = yaw + torch.atan2(codes[:, 7], codes[:, 6])
    return torch.cat([centre, codes[:, 3:6].exp() * own, yaw[:, None]], dim=1)


def folded(turn: Tensor) -> Tensor:
    """An angle with the same cuboid, from -π/2 to π/2."""
    half = math.pi / 2
    turn = turn % (2 * math.pi)
    turn = torch.where((turn > half) & (turn < 3 * half), (turn + math.pi) % (2 * math.pi), turn)
    return torch.where(turn > math.pi, turn - 2 * math.pi, turn).clamp(-half, half)


def _lengths(size: Tensor) -> Tensor:
    """(R, 3): the diagonal of the footprint twice, and the height, of sizes (R, 3)."""
    diagonal = size[:, :2].square().sum(dim=1, keepdim=True).sqrt()
    return torch.cat([diagonal, diagonal, size[:, 2:]], dim=1)
