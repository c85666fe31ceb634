"""GSDN (Gwak, Choy, Savarese, ECCV 2020): anchors on cells that a sparse decoder generates.

Source: jgwak/GSDN (lib/pipelines/detection.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.loader import on_device
from sr3d.data.point_features import height_above_floor
from sr3d.data.scene import Scene
from sr3d.detectors.common.votes import in_boxes
from sr3d.detectors.common.voxel_detector import VoxelDetector
from sr3d.detectors.gsdn.anchors import anchor_corners, anchor_sizes, decode, encode
from sr3d.detectors.gsdn.assignment import CellTable, GSDNTargets, assign, boxes_of_objects
from sr3d.detectors.gsdn.config import GSDNConfig, GSDNInference, GSDNModel
from sr3d.detectors.gsdn.loss import (
    balanced_mean,
    balanced_sums,
    box_loss,
    label_loss,
    sparsity_loss,
)
from sr3d.detectors.gsdn.network import (
    DecodedLevel,
    GSDNBackbone,
    GSDNDecoder,
    GSDNHead,
    initialise,
)
from sr3d.detectors.gsdn.selection import ScoredCorners, in_metres, joined
from sr3d.detectors.outputs import Detections, Losses, Total, alone
from sr3d.detectors.scan import split_points
from sr3d.errors import InputError, Kind
from sr3d.sparse import Sites, SparseTensor
from sr3d.sparse.minkowski import MinkowskiSites

_NOISY = 0.95  # probability of each of the two kinds of noise on heights


@dataclass(frozen=True)
class VoxelBatch:
    """Voxels of B scenes, each counted from its lowest one.

    x: features (V, 4), colours from -0.5 to 0.5 and height above the floor in metres. origins:
    (B, 3) int64 cells of the lowest voxels. truth: boxes of objects in voxels, see
    `boxes_of_objects`.
    """

    x: SparseTensor
    origins: Tensor
    truth: GroundTruth


class AnchorOutputs(NamedTuple):
    """Of A anchors of N cells of a level. objectness: (N, A, 2) logits. classes: (N, A, C) logits.
    boxes: (N, A, 6), see `anchors.decode`.
    """

    objectness: Tensor
    classes: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class GSDNPredictions:
    """Per level, finest first: cells, and outputs of the kept ones. targets: None after a pass in
    evaluation mode.
    """

    batch: VoxelBatch
    levels: list[DecodedLevel]
    outputs: list[AnchorOutputs]
    targets: GSDNTargets | None


class GSDN(VoxelDetector[VoxelBatch, GSDNPredictions]):
    """Backbone, decoder and head. On data with a yaw it detects the axis-aligned boxes around
    objects.
    """

    config: GSDNModel
    inference: GSDNInference

    def __init__(self, config: GSDNConfig) -> None:
        super().__init__(config)
        model = config.model
        self.assigner, self.loss_config = config.assigner, config.loss
        self.backbone = GSDNBackbone(model)
        self.feature_upsample_network = GSDNDecoder(model)
        self.region_proposal_network = GSDNHead(
            model.head_channels, model.anchors, len(self.dataset.classes)
        )
        initialise(self)

    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> VoxelBatch:
        """The first point of each voxel represents it."""
        parts = [
            self._voxels(scene, generators[i] if generators and self.training else None)
            for i, scene in enumerate(scenes)
        ]
        kind = MinkowskiSites if self.config.engine == "minkowski" else Sites
        cells, features, origins, boxes, labels = zip(*parts, strict=True)
        index = [torch.full_like(c[:, :1], i) for i, c in enumerate(cells)]
        coords = torch.cat([torch.cat(index), torch.cat(cells)], dim=1)
        sites, order = kind.unique(coords, batch_size=len(scenes))
        x = SparseTensor(torch.cat(features)[order], sites)
        truth = GroundTruth.collate(boxes, labels).to(self.device)
        return VoxelBatch(x, torch.stack(origins), truth)

    def _voxels(self, scene: Scene, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        """Cells (V, 3), features (V, 4), origin (3,), boxes (K, 7) and labels (K,) of one scene."""
        points, colors = (on_device(x, self.device) for x in (scene.points, scene.colors))
        height = height_above_floor(points) + self._height_noise(len(points), generator)
        cells = torch.floor(points / self.config.voxel_size).long()
        origin = cells.amin(dim=0)
        cells = cells - origin
        _, first = Sites.unique(torch.cat([torch.zeros_like(cells[:, :1]), cells], dim=1))
        features = torch.cat([colors - 0.5, height], dim=1)
        boxes, objects = boxes_of_objects(cells[first], self._members(scene, first))
        labels = on_device(scene.labels, self.device)[objects]
        return cells[first], features[first], origin, boxes, labels

    def _members(self, scene: Scene, rows: Tensor) -> Tensor:
        """(K, V) bool: which of some points lie on each object."""
        instance = scene.instance
        if instance is None or self.assigner.object_points == "box":
            points = on_device(scene.points, self.device)[rows]
            boxes = on_device(scene.boxes.tensor, self.device)
            return in_boxes(points[None], boxes[None])[0]
        numbers = torch.arange(len(scene.boxes), device=self.device)
        return on_device(instance, self.device)[rows] == numbers[:, None]

    def _height_noise(self, points: int, generator: torch.Generator | None) -> Tensor | float:
        """(N, 1) metres. 0 without a generator."""
        if generator is None or not self.config.height_noise:
            return 0.0
        chance = torch.rand(2, generator=generator) < _NOISY
        shift = chance[0] * torch.randn(1, generator=generator)
        noise = chance[1] * torch.randn(points, 1, generator=generator)
        return on_device(self.config.height_noise * (shift + noise), self.device)

    def input_size(self, batch: VoxelBatch) -> int:
        return len(batch.x.sites)

    def stages(self) -> dict[str, str]:
        return {
            "backbone": "backbone",
            "feature_upsample_network": "neck",
            "region_proposal_network": "head",
        }

    def forward(self, batch: VoxelBatch) -> GSDNPredictions:
        """In training, cells that hold a positive anchor are kept whatever their score is."""
        targets = self.targets(batch) if self.training else None
        with self.network_mode(self.backbone, batch.x.sites):
            levels, outputs = self._network(batch.x, targets)
        levels = [level._replace(sparsity=level.sparsity.float()) for level in levels]
        outputs = [AnchorOutputs(*(output.float() for output in raw)) for raw in outputs]
        return GSDNPredictions(batch, levels, outputs, targets)

    def _network(
        self, x: SparseTensor, targets: GSDNTargets | None
    ) -> tuple[list[DecodedLevel], list[AnchorOutputs]]:
        def forced(level: int, sites: Sites) -> Tensor:
            assert targets is not None
            return targets.cells[level].at(sites) >= 0

        stages = self.backbone(x)
        levels = self.feature_upsample_network(stages, forced if targets else None)
        return levels, [AnchorOutputs(*self.region_proposal_network(lv.kept)) for lv in levels]

    def targets(self, batch: VoxelBatch) -> GSDNTargets:
        """See `assign`."""
        config = self.config
        return assign(batch.x.sites, batch.truth, len(config.planes), config.anchors, self.assigner)

    def loss(
        self, predictions: GSDNPredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        """truth: not used. The boxes are those around the voxels of objects, in the batch."""
        targets = predictions.targets or self.targets(predictions.batch)
        config, levels = self.loss_config, predictions.levels
        cells = self._at(targets.cells, [level.cells for level in levels])
        sparsity = sparsity_loss([level.sparsity for level in levels], cells, total)
        matched = self._at(targets.anchors, [level.kept.sites for level in levels])
        matches = torch.cat([match.flatten() for match in matched])
        objectness, classes, boxes = self._flat(predictions.outputs)
        positive = (matches >= 0).nonzero().squeeze(1)
        sums, counts = balanced_sums(objectness, matches)
        count = total(counts[1]).clamp(min=1)
        aim = predictions.batch.truth
        owner = matches[positive]
        wanted = encode(_corners(aim.boxes[owner]), self._anchors(levels)[positive])
        unweighted = {
            "objectness": balanced_mean(sums, counts, total),
            "box": box_loss(boxes[positive], wanted, count),
            "label": label_loss(classes[positive], aim.labels[owner], count),
            "sparsity": sparsity,
        }
        terms = {name: getattr(config, name) * value for name, value in unweighted.items()}
        return Losses(terms, {"positives": counts[1]})

    def _at(self, tables: Sequence[CellTable], sites: Sequence[Sites]) -> list[Tensor]:
        """The targets of each level's cells."""
        return [table.at(own) for table, own in zip(tables, sites, strict=True)]

    def _flat(self, outputs: Sequence[AnchorOutputs]) -> AnchorOutputs:
        """The outputs of all anchors of all levels: (M, 2), (M, C) and (M, 6)."""
        parts = (torch.cat([x.flatten(0, 1) for x in each]) for each in zip(*outputs, strict=True))
        return AnchorOutputs(*parts)

    def _anchors(self, levels: Sequence[DecodedLevel]) -> Tensor:
        """(M, 6) corners of all anchors of all kept cells."""
        corners = []
        for level in levels:
            sites = level.kept.sites
            sizes = anchor_sizes(self.config.anchors, sites.stride).to(self.device)
            corners.append(anchor_corners(sites.coords[:, 1:], sizes, sites.stride).flatten(0, 1))
        return torch.cat(corners)

    def detections(self, predictions: GSDNPredictions) -> list[Detections]:
        """See `joined`. Boxes are without a yaw."""
        size = self.config.voxel_size
        each = zip(self.candidates(predictions), predictions.batch.origins, strict=True)
        return [
            in_metres(joined(self.certain(found), self.inference), origin, size)
            for found, origin in each
        ]

    def certain(self, found: ScoredCorners) -> ScoredCorners:
        """The candidates above the threshold."""
        rows = (found.scores > self.inference.score_thr).nonzero().squeeze(1)
        return ScoredCorners(*(values[rows] for values in found))

    def candidates(self, predictions: GSDNPredictions) -> list[ScoredCorners]:
        """The best anchors of each scene, before the threshold. The score of an anchor is the
        probability of an object times that of its best class.
        """
        objectness, classes, boxes = self._flat(predictions.outputs)
        best = classes.softmax(dim=1).max(dim=1)
        scores = objectness.softmax(dim=1)[:, 1] * best.values
        anchors = self._anchors(predictions.levels)
        sites = [level.kept.sites for level in predictions.levels]
        scenes = torch.cat([own.coords[:, 0] for own in sites])
        scenes = scenes.repeat_interleave(self.config.anchors)
        extent = boxes.new_tensor(self.config.extent)
        found = []
        for scene in range(len(predictions.batch.origins)):
            own = ((scenes == scene) & (scores > 0)).nonzero().squeeze(1)
            order = scores[own].sort(descending=True, stable=True).indices
            rows = own[order[: self.inference.nms_pre]]
            corners = decode(boxes[rows], anchors[rows], extent, self.inference.clip)
            found.append(ScoredCorners(corners, scores[rows], best.indices[rows]))
        return found

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> dict[str, Tensor]:
        """Outputs of one scan before decoding, of levels l from 0, the finest.

        Coordinates count voxels from the lowest one. `fpn{l}_coords` (M, 3) and `fpn{l}_logits`
        (M, 2): the cells before pruning. `head{l}_coords` (N, 3), `head{l}_obj` (N, 2·A),
        `head{l}_sem` (N, C·A) and `head{l}_box` (N, 6·A): the kept ones.
        """
        self.eval()
        found = self(self.inputs([Scene.unlabelled(*split_points(points, colors))]))
        outputs = {}
        for i, (level, raw) in enumerate(zip(found.levels, found.outputs, strict=True)):
            outputs[f"fpn{i}_coords"] = level.cells.coords[:, 1:]
            outputs[f"fpn{i}_logits"] = level.sparsity
            outputs[f"head{i}_coords"] = level.kept.sites.coords[:, 1:]
            named = zip(("obj", "sem", "box"), raw, strict=True)
            outputs |= {f"head{i}_{name}": value.flatten(1) for name, value in named}
        return outputs

    def compile(self, dtype: torch.dtype = torch.float32) -> Any:
        """Raises: InputError, because the number of kept cells depends on scores."""
        raise InputError(
            "gsdn has no inference runner. The number of cells that it keeps depends on scores",
            field="compile",
            kind=Kind.CONFLICT,
            remedy="Run it without compile().",
        )


def _corners(boxes: Tensor) -> Tensor:
    """(K, 6) corners of boxes (K, 7) without a yaw."""
    return torch.cat([boxes[:, :3] - boxes[:, 3:6] / 2, boxes[:, :3] + boxes[:, 3:6] / 2], dim=1)
