"""Configuration that detectors on points share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from sr3d.config import InferenceConfig
from sr3d.value_types import ManyOrNone, PositiveShare, Share

Metres = Annotated[float, Interval(gt=0, le=100)]
# What clusters of votes are sampled from: the votes, or the seeds of the votes.
Clusters = Literal["votes", "seeds"]
# What votes aim at: the centre of the extent of an object's points, or of its box.
VoteCentre = Literal["extent", "box"]


@dataclass(frozen=True)
class ProposalInference(InferenceConfig):
    """Inference. The indices of the runs decide the seeds."""

    nms: Literal["bev", "3d"] = "3d"  # IoU for NMS: of boxes seen from above, or of volumes
    iou_thr: PositiveShare = 0.25  # NMS removes the worse of two boxes with a higher IoU
    score_thr: Share = 0.05  # detections need a higher objectness
    min_points: ManyOrNone = 5  # points that a box needs inside
    keep_best: bool = False  # whether the best box stays if none has enough points
    # boxes that NMS compares: the axis-aligned boxes around the proposals, or the proposals
    nms_boxes: Literal["upright", "rotated"] = "upright"
    nms_classes: Literal["same", "all"] = "same"  # boxes that NMS compares: of one class, or all
    # every: each box is a detection of every class. best: only of its best class
    labels: Literal["every", "best"] = "every"
