"""FCAF3D's configuration.

Source: configs of SamsungLabs/fcaf3d and open-mmlab/mmdetection3d.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from sr3d.config import Preset, Rule
from sr3d.detectors.common.sparse_config import (
    THIN,
    SparseConfig,
    SparseInferenceConfig,
    SparseModelConfig,
)
from sr3d.presets import SINGLE_VIEW, DataFacts, Values, evaluation_points, rooms_of, twelve_epochs
from sr3d.value_types import Count, Exponent, Many, Share

# How often an epoch goes through the scenes, as published. A data set of no paper takes `own`.
REPEAT = {"scannet": 10, "sunrgbd": 3, "s3dis": 13, "own": 10}


@dataclass(frozen=True, kw_only=True)
class PrunedModel(SparseModelConfig):
    """MinkResNet34, and a neck and head in one that prunes each level."""

    planes: tuple[Count, ...] = (64, 128, 256, 512)  # channels of the stages, which are the levels
    pts_prune: Many = 100_000  # maximum number of cells that each level keeps per scene


@dataclass(frozen=True, kw_only=True)
class FCAF3DModel(PrunedModel):
    """The network as published."""

    name: Literal["fcaf3d"] = "fcaf3d"
    stem_norm: Literal["batch", "instance"] = "instance"  # norm after the first convolution


@dataclass(frozen=True)
class FCAF3DAssignment:
    """The assigner: the best level of each ground truth, and the anchors nearest to its centre."""

    name: Literal["fcaf3d"] = "fcaf3d"  # its own
    fcaf3d_limit: Many = 27  # minimum number of anchors in a box for a level to fit it
    fcaf3d_top: Count = 18  # maximum number of positives per ground truth


@dataclass(frozen=True)
class FCAF3DLoss:
    """Focal loss of classes. The losses of centerness and boxes have no parameters."""

    cls: Literal["focal"] = "focal"  # of classes
    focal_alpha: Share = 0.25  # weight of positives. Negatives have 1 - α
    # focusing exponent. A higher value reduces the weight of easy anchors
    focal_gamma: Exponent = 2.0


@dataclass(frozen=True)
class FCAF3DInference(SparseInferenceConfig):
    """Inference. The indices of the runs decide the seeds."""

    nms_pre: Many = 1000  # maximum number of anchors of each level that NMS gets


def _published(data: DataFacts) -> Values:
    """Evaluated on 100,000 points. Procedural rooms use the thin network and all their points."""
    if data.procedural:
        return _thin(data)
    return _network(planes=[64, 128, 256, 512]) | {"test": {"sample_count": 100_000}}


def _thin(data: DataFacts) -> Values:
    """Three levels, of 0.16, 0.32 and 0.64 m: no piece of furniture holds the 27 cells of 1.28 m
    that the assigner asks for.
    """
    return _network(**{**THIN, "planes": [16, 24, 48], "blocks": [1, 1, 1]})


def _network(**widths: Any) -> Values:
    """The network goes with an assigner and a loss of its own."""
    return {
        "model": {"name": "fcaf3d", "stem_norm": "instance", **widths},
        "assigner": {"name": "fcaf3d"},
        "loss": {"cls": "focal"},
    }


def _schedule(data: DataFacts) -> Values:
    """Both configurations replace scenes without boxes (`filter_empty_gt=True`). TR3D's keep them,
    in both repositories and on every data set.
    """
    train = twelve_epochs(REPEAT, data)
    return {"train": train if data.procedural else train | {"filter_empty_gt": True}}


def _augmentation(data: DataFacts) -> Values:
    """On procedural rooms, the rooms' own."""
    if data.procedural:
        return {"augment": rooms_of(data)["augment"]}
    rooms = {"sample_count": 100_000, "scale": [0.9, 1.1]}
    return {"augment": dict(SINGLE_VIEW) if data.single_view else rooms}


@dataclass(frozen=True, kw_only=True)
class FCAF3DConfig(SparseConfig):
    """One setting of FCAF3D on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"fcaf3d": _published, "fcaf3d_small": _thin},
        "train": {"fcaf3d": _schedule},
        "augment": {"fcaf3d": _augmentation},
    }
    earlier: ClassVar[Mapping[str, Any]] = {
        "assigner.k": 6,
        "assigner.levels": "all",
        "assigner.mu": 1.0,
        "assigner.reg_cost": "iou",
        "assigner.vertex_distance": True,
        "assigner.vertices": "invariant",
        "assigner.cls_weight": 0.0,
        "assigner.tr3d_variant": "mmdet3d",
        "loss.tau": 0.1,
        "loss.beta": 1.0,
        "loss.rdl_form": "rank",
        "loss.rank_scope": "ground_truth",
        "loss.qfl_beta": 2.0,
        "loss.vfl_alpha": 0.75,
        "loss.vfl_gamma": 2.0,
        "loss.rotated_diou": "correct",
        "test.oracle": "none",
        "test.foreground": "assigned",
    }

    model: FCAF3DModel = field(default_factory=FCAF3DModel)
    assigner: FCAF3DAssignment = field(default_factory=FCAF3DAssignment)
    loss: FCAF3DLoss = field(default_factory=FCAF3DLoss)
    test: FCAF3DInference = field(default_factory=FCAF3DInference)

    @property
    def candidates(self) -> int:
        return self.test.nms_pre * len(self.model.planes)

    @classmethod
    def defaults(cls, data: DataFacts) -> Values:
        return evaluation_points(data)

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        yield from self.model.rules(stages=(2, 3, 4), counted="two to four numbers")
