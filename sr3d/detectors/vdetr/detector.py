"""V-DETR (Shen et al., ICLR 2024): a decoder of queries on points sampled from sparse voxels.

Source: V-DETR/V-DETR (models/model_vdetr.py), including the names of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.loader import on_device
from sr3d.data.scene import Scene
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.mink_resnet import MinkResNet
from sr3d.detectors.common.proposals import Proposals, select_proposals
from sr3d.detectors.common.voxel_detector import VoxelDetector
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.detr3d.giou import BoxOverlap
from sr3d.detectors.detr3d.network import Layers, normed
from sr3d.detectors.outputs import Detections, Losses, Total, alone
from sr3d.detectors.scan import split_points
from sr3d.detectors.vdetr.config import VDETRInference, VoxelQueryConfig, VoxelQueryModel
from sr3d.detectors.vdetr.loss import RepeatedSetLoss, VDETRPredictions
from sr3d.detectors.vdetr.network import VertexDecoder, out_block, up_block
from sr3d.points import furthest_points
from sr3d.sparse import SparseTensor
from sr3d.sparse.nn import SparseConv, kaiming_normal_

_MEAN_COLOUR, _COLOUR_RANGE = (109.8, 97.2, 83.8), 256.0  # of colours up to 255
_TIE_THREADS = 512  # threads of the original's kernel, which settle ties


class VDETR(VoxelDetector[SparseTensor, VDETRPredictions]):
    """Backbone, neck, sampling and decoder."""

    config: VoxelQueryModel
    inference: VDETRInference

    def __init__(self, config: VoxelQueryConfig) -> None:
        super().__init__(config)
        model = config.model
        rotated = self.dataset.rotated
        bins = HeadingBins(model.heading_bins if rotated else 1)
        self.set_loss = RepeatedSetLoss(
            BoxOverlap(rotated, legacy=False), bins, config.assigner, config.loss
        )
        self.pre_encoder = MinkResNet(model, in_channels=3 if model.features == "colors" else 6)
        for i, (fine, coarse) in enumerate(zip(model.planes, model.planes[1:], strict=False), 1):
            self.add_module(f"up_block_{i}", up_block(coarse, fine))
        self.out_block_0 = out_block(model.planes[0], model.neck_channels)
        for module in self.modules():
            if isinstance(module, SparseConv):
                kaiming_normal_(module)
        self.encoder_to_decoder_projection = Layers(*normed(model.neck_channels, model.channels))
        self.decoder = self.new_decoder(bins)

    def new_decoder(self, bins: HeadingBins) -> VertexDecoder:
        """A decoder with fresh weights."""
        return VertexDecoder(self.config, len(self.classes), bins)

    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> SparseTensor:
        """The first point of each voxel represents it."""
        points = [on_device(scene.points, self.device) for scene in scenes]
        colors = [on_device(scene.colors, self.device) for scene in scenes]
        mean = points[0].new_tensor(_MEAN_COLOUR)
        features = [(255 * rgb - mean) / _COLOUR_RANGE for rgb in colors]
        if self.config.features == "points_and_colors":
            features = [torch.cat(both, dim=1) for both in zip(points, features, strict=True)]
        return voxelize(points, features, self.config.voxel_size, engine=self.config.engine)

    def input_size(self, batch: SparseTensor) -> int:
        return len(batch.sites)

    def stages(self) -> dict[str, str]:
        """The stage "head" is the decoder with its heads."""
        ups = [f"up_block_{i}" for i in range(1, len(self.config.planes))]
        neck = [*ups, "out_block_0", "encoder_to_decoder_projection"]
        return {"pre_encoder": "backbone", **dict.fromkeys(neck, "neck"), "decoder": "head"}

    def forward(self, batch: SparseTensor) -> VDETRPredictions:
        with self.network_mode(self.encoded, batch.sites):
            points, features = self.sampled(self.encoded(batch))
            memory = self.encoder_to_decoder_projection(features).transpose(1, 2)
            found = self.decoder(memory, points)
        return VDETRPredictions(batch, points, *found)

    def encoded(self, batch: SparseTensor) -> SparseTensor:
        """The features of the finest level's cells, from backbone and neck."""
        *finer, x = self.pre_encoder(batch)
        for i, level in reversed([*enumerate(finer, 1)]):
            x = level + self.get_submodule(f"up_block_{i}")(x, level.sites)
        return self.out_block_0(x)

    def sampled(self, x: SparseTensor) -> tuple[Tensor, Tensor]:
        """Some cells of each scene, far from each other: places (B, M, 3) and features (B, C, M).

        The place of a cell is its lowest corner.
        """
        corners = x.sites.coords[x.sites.in_order][:, 1:] * self.config.voxel_size
        places, features = [], []
        for own, values in zip(corners.split(x.sites.counts), x.scenes(), strict=True):
            index = spread(own, self.config.seeds)
            places.append(own[index])
            features.append(values[index])
        return torch.stack(places), torch.stack(features).transpose(1, 2)

    def loss(
        self, predictions: VDETRPredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        return self.set_loss(predictions, truth, total)

    def detections(self, predictions: VDETRPredictions) -> list[Detections]:
        """By the last layer alone, see `select_proposals`."""
        sites = predictions.batch.sites
        voxels = (sites.coords[sites.in_order][:, 1:] + 0.5) * self.config.voxel_size
        each = zip(self.proposals(predictions), voxels.split(sites.counts), strict=True)
        return [select_proposals(*scene, self.inference) for scene in each]

    def proposals(self, predictions: VDETRPredictions) -> list[Proposals]:
        """The last layer's boxes of each scene. The objectness is the probability of the best
        class.
        """
        last = predictions.stages[-1]
        classes = last.logits.sigmoid()
        each = zip(last.boxes, classes.amax(dim=-1), classes, strict=True)
        return [Proposals(*scene) for scene in each]

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> dict[str, Tensor]:
        """Outputs of one scan before post-processing, by the names of the original.

        `seed_xyz` (M, 3), `point_cls_logits` (M, C), `topk` (Q,), the seeds of the queries. For
        stage i, 0 of the seeds and others of the queries: `L{i}_sem_cls_logits`, `L{i}_center_reg`,
        `L{i}_size_reg`, `L{i}_angle_logits`, `L{i}_angle_residual_normalized`, and in metres
        `L{i}_center` and `L{i}_size`. Angles turn clockwise. Arguments: see `detect`.
        """
        self.eval()
        found = self(self.inputs([Scene.unlabelled(*split_points(points, colors))]))
        outputs = {
            "seed_xyz": found.points[0],
            "point_cls_logits": found.point_logits[0],
            "topk": found.queries[0],
        }
        for i, stage in enumerate(found.stages):
            named = {
                "sem_cls_logits": stage.logits,
                "center_reg": stage.center,
                "size_reg": stage.size,
                "angle_logits": stage.heading_logits,
                "angle_residual_normalized": stage.heading_residual,
                "center": stage.boxes[..., :3],
                "size": stage.boxes[..., 3:6],
            }
            outputs |= {f"L{i}_{name}": value[0] for name, value in named.items()}
        return outputs


def spread(points: Tensor, count: int) -> Tensor:
    """(count,) int64: farthest point samples of points (N, 3).

    If there are fewer points, all of them are repeated in the order of sampling. So each has about
    the same weight in attention.
    """
    most = min(count, len(points))
    chosen = furthest_points(points[None], most, tie_threads=_TIE_THREADS)[0]
    return chosen.repeat(-(-count // most))[:count]
