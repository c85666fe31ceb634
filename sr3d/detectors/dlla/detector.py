"""TR3D + DLLA and FCAF3D + DLLA (Liu et al., TCSVT 2025).

The networks of TR3D and FCAF3D predict the localisation quality too. A matcher learns which
candidate belongs to which ground truth. It takes part in training alone.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.common.mink_resnet import MinkResNet
from sr3d.detectors.common.selection import select_detections
from sr3d.detectors.common.sparse_detector import SparseDetector
from sr3d.detectors.dlla.config import (
    DLLAConfig,
    FCAF3DDLLAConfig,
    FCAF3DDLLAModel,
    TR3DDLLAConfig,
    TR3DDLLAModel,
)
from sr3d.detectors.dlla.loss import (
    LearnedMatches,
    LocalizedPredictions,
    learned_assignment,
    localized_loss,
    localized_scores,
    no_terms,
)
from sr3d.detectors.dlla.matcher import Matcher, Noise
from sr3d.detectors.dlla.network import (
    LocalizingHead,
    RawLevel,
    TwoOutputHead,
    TwoOutputNeck,
    decode_mixed,
)
from sr3d.detectors.fcaf3d.network import decode_distances
from sr3d.detectors.outputs import Detections, Losses, Total, alone, anchors_of
from sr3d.geometry.boxes import centerness
from sr3d.losses.positives import Positives
from sr3d.matching.assigner import Assigner
from sr3d.matching.fcaf3d import FCAF3DAssigner
from sr3d.matching.tr3d import TR3DAssigner
from sr3d.sparse import SparseTensor
from sr3d.sparse.tensor import PlannedTensor


class DLLADetector(SparseDetector[LocalizedPredictions]):
    """What both detectors have."""

    training_only = ("matcher",)
    config: TR3DDLLAModel | FCAF3DDLLAModel
    candidates: Assigner  # its positives are the candidates

    def __init__(self, config: DLLAConfig) -> None:
        super().__init__(config)
        self.fixed_epochs = config.assigner.fixed_epochs
        self.learned = True  # whether learned distances choose the ground truths
        self.loss_config = config.loss
        self.backbone = MinkResNet(config.model)
        self.matcher = Matcher(len(self.dataset.classes), config.model.match_channels)

    def start_epoch(self, epoch: int) -> None:
        """In the first epochs candidates keep the ground truths of their rule."""
        self.learned = epoch >= self.fixed_epochs

    @abstractmethod
    def levels(self, x: SparseTensor) -> list[RawLevel]:
        """Per level: a tensor on its sites, raw box outputs, class and localisation logits."""

    def forward(self, x: SparseTensor) -> LocalizedPredictions:
        levels, reg, cls, localization = zip(*self.run_network(x), strict=True)
        anchors = anchors_of([lv.sites for lv in levels], self.config.voxel_size)
        boxes = self.decode(anchors.positions, torch.cat(reg))
        quality = torch.cat(localization).squeeze(1)
        return LocalizedPredictions(anchors, boxes, torch.cat(cls), quality)

    def loss(
        self, predictions: LocalizedPredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        """Noise comes from PyTorch's own generator, which a training run seeds for each step."""
        anchors, boxes, logits = predictions.anchors, predictions.boxes, predictions.logits
        candidates = Positives.of(self.candidates(anchors, boxes, logits, truth))
        weights = self.box_weights(predictions, candidates, truth)
        assignment = LearnedMatches(candidates, no_terms(predictions))
        if self.learned:
            noise = Noise.draw(len(truth.labels), logits.shape[1], logits.device)
            assignment = learned_assignment(
                predictions, candidates, truth, self.matcher, noise, self.loss_config, total
            )
        rotated = self.dataset.rotated
        return localized_loss(
            predictions, assignment, weights, truth, self.loss_config, rotated, total
        )

    @abstractmethod
    def box_weights(
        self, predictions: LocalizedPredictions, candidates: Positives, truth: GroundTruth
    ) -> Tensor:
        """(P,) the weight of each candidate's box loss."""

    def scores(self, cls: Tensor, *more: Tensor) -> Tensor:
        return localized_scores(cls, *more)

    def select(self, predictions: LocalizedPredictions) -> Detections:
        return select_detections(predictions, self.inference, self.dataset.rotated)


class TR3DDLLA(DLLADetector):
    """TR3D with DLLA."""

    def __init__(self, config: TR3DDLLAConfig) -> None:
        super().__init__(config)
        classes, rotated = self.dataset.classes, self.dataset.rotated
        self.candidates = TR3DAssigner(self.dataset.levels, config.assigner.k, "samsung")
        self.neck = TwoOutputNeck(config.model)
        self.bbox_head = LocalizingHead(config.model.neck_channels, len(classes), rotated)

    def levels(self, x: SparseTensor) -> list[RawLevel]:
        return [self.bbox_head(*outputs) for outputs in self.neck(self.backbone(x))]

    def planned(self, x: PlannedTensor) -> object:
        return self.neck(self.backbone(x))

    def decode(self, anchors: Tensor, reg: Tensor) -> Tensor:
        return decode_mixed(anchors, reg)

    def box_weights(
        self, predictions: LocalizedPredictions, candidates: Positives, truth: GroundTruth
    ) -> Tensor:
        """1 each."""
        return torch.ones_like(predictions.localization[candidates.rows])


class FCAF3DDLLA(DLLADetector):
    """FCAF3D with DLLA."""

    def __init__(self, config: FCAF3DDLLAConfig) -> None:
        super().__init__(config)
        classes, rotated = self.dataset.classes, self.dataset.rotated
        limits = config.assigner
        self.candidates = FCAF3DAssigner(limits.fcaf3d_limit, limits.fcaf3d_top)
        self.bbox_head = TwoOutputHead(config.model, len(classes), rotated)

    def levels(self, x: SparseTensor) -> list[RawLevel]:
        found: list[RawLevel] = self.bbox_head(self.backbone(x))
        return found

    def planned(self, x: PlannedTensor) -> object:
        return self.backbone(x)

    def stages(self) -> dict[str, str]:
        """The stage "head" includes the neck."""
        convs = {f"bbox_head.conv_{kind}": "head" for kind in ("center", "reg", "cls")}
        return {"backbone": "backbone", "bbox_head": "neck", **convs}

    def decode(self, anchors: Tensor, reg: Tensor) -> Tensor:
        return decode_distances(anchors, reg)

    def box_weights(
        self, predictions: LocalizedPredictions, candidates: Positives, truth: GroundTruth
    ) -> Tensor:
        """Centerness in the ground truth that the rule of the candidates gave."""
        positions = predictions.anchors.positions[candidates.rows]
        return centerness(positions, truth.boxes[candidates.owner])
