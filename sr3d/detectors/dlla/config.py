"""The configurations of TR3D + DLLA and FCAF3D + DLLA.

Source: liuxinrun/dlla at a7ab343 (configs/dlla), for ScanNet. Nothing for other data sets is
published. There the values are TR3D's, or FCAF3D's, and boxes with a yaw are coded as theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sr3d.config import AnyExcept, Condition, Preset, Rule
from sr3d.detectors.common.sparse_config import THIN, SparseConfig, SparseModelConfig
from sr3d.detectors.fcaf3d.config import REPEAT as FCAF3D_REPEAT
from sr3d.detectors.fcaf3d.config import PrunedModel
from sr3d.detectors.tr3d.config import REPEAT as TR3D_REPEAT
from sr3d.detectors.tr3d.config import TR3DConfig
from sr3d.presets import DataFacts, Values, evaluation_points, rooms_of, twelve_epochs
from sr3d.value_types import Count, Exponent, Many, ManyOrNone, Share, Weight

HEADS = 4  # of the attention between candidates


@dataclass(frozen=True, kw_only=True)
class TR3DDLLAModel(SparseModelConfig):
    """TR3D's network with separate output blocks for classes and boxes."""

    name: Literal["tr3d_dlla"] = "tr3d_dlla"
    match_channels: Count = 256  # width of the learned assignment, which only training uses


@dataclass(frozen=True, kw_only=True)
class FCAF3DDLLAModel(PrunedModel):
    """FCAF3D's network with separate output blocks for classes and boxes."""

    name: Literal["fcaf3d_dlla"] = "fcaf3d_dlla"
    match_channels: Count = 256  # width of the learned assignment, which only training uses


@dataclass(frozen=True)
class DLLAAssignment:
    """A rule by distance chooses the candidates. Learned distances choose their ground truths."""

    # number of first epochs in which candidates keep the ground truths of the rule
    fixed_epochs: ManyOrNone = 1


@dataclass(frozen=True)
class TR3DCandidates(DLLAAssignment):
    """The candidates are the positives of TR3D's assigner, as SamsungLabs' code has it."""

    k: Count = 6  # maximum number of candidates per ground truth


@dataclass(frozen=True)
class FCAF3DCandidates(DLLAAssignment):
    """The candidates are the positives of FCAF3D's assigner."""

    fcaf3d_limit: Many = 27  # minimum number of anchors in a box for a level to fit it
    fcaf3d_top: Count = 6  # maximum number of candidates per ground truth


@dataclass(frozen=True)
class DLLALoss:
    """The losses of the detector, and the weights of those that train the assignment."""

    focal_alpha: Share = 0.25  # weight of positives. Negatives have 1 - α
    # focusing exponent. A higher value reduces the weight of easy anchors
    focal_gamma: Exponent = 2.0
    localization: Weight = 0.1  # weight of the localisation quality
    least_iou: Share = 0.3  # the true localisation quality is 0 up to this IoU
    inter: Weight = 0.5  # weight of the loss that keeps ground truths apart
    intra: Weight = 1.0  # weight of the loss that draws candidates to their ground truths
    denoising: Weight = 1.0  # weight of the same loss for ground truths with noise
    # noise in shares of a box's size. Half of this number is the chance of another class
    noise: Annotated[float, Interval(ge=0, le=2)] = 1.2


def _tr3d(data: DataFacts) -> Values:
    return _tr3d_thin(data) if data.procedural else {"model": {"name": "tr3d_dlla"}}


def _tr3d_thin(data: DataFacts) -> Values:
    return {"model": {"name": "tr3d_dlla", **THIN, "match_channels": 64}}


def _fcaf3d(data: DataFacts) -> Values:
    return _fcaf3d_thin(data) if data.procedural else {"model": {"name": "fcaf3d_dlla"}}


def _fcaf3d_thin(data: DataFacts) -> Values:
    """Three levels, as the thin FCAF3D."""
    thin = {**THIN, "planes": [16, 24, 48], "blocks": [1, 1, 1], "match_channels": 64}
    return {"model": {"name": "fcaf3d_dlla", **thin}}


def _tr3d_schedule(data: DataFacts) -> Values:
    return {"train": _schedule(data, TR3D_REPEAT, {})}


def _fcaf3d_schedule(data: DataFacts) -> Values:
    return {"train": _schedule(data, FCAF3D_REPEAT, {"batch_size": 8})}


def _schedule(data: DataFacts, repeat: Mapping[str, int], more: dict[str, Any]) -> dict[str, Any]:
    """TR3D's with three drops of the learning rate. On procedural rooms, the rooms' own."""
    train = twelve_epochs(repeat, data)
    return train if data.procedural else train | {"milestones": [6, 9, 11], **more}


def _augmentation(data: DataFacts) -> Values:
    """TR3D's. On procedural rooms, the rooms' own."""
    if data.procedural:
        return {"augment": rooms_of(data)["augment"]}
    return TR3DConfig.presets["augment"]["tr3d"](data)


@dataclass(frozen=True, kw_only=True)
class DLLAConfig(SparseConfig):
    """What both configurations have."""

    conditions: ClassVar[Mapping[str, Condition]] = {
        **SparseConfig.conditions,
        "loss.noise": ("loss.denoising", AnyExcept((0.0,))),
        "loss.least_iou": ("loss.localization", AnyExcept((0.0,))),
    }

    model: TR3DDLLAModel | FCAF3DDLLAModel
    assigner: TR3DCandidates | FCAF3DCandidates
    loss: DLLALoss = field(default_factory=DLLALoss)

    @classmethod
    def defaults(cls, data: DataFacts) -> Values:
        return evaluation_points(data)

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        width = self.model.match_channels
        yield "model.match_channels", width % HEADS == 0, f"a multiple of {HEADS}"


@dataclass(frozen=True, kw_only=True)
class TR3DDLLAConfig(DLLAConfig):
    """One setting of TR3D + DLLA on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"tr3d_dlla": _tr3d, "tr3d_dlla_small": _tr3d_thin},
        "train": {"tr3d_dlla": _tr3d_schedule},
        "augment": {"tr3d_dlla": _augmentation},
    }

    model: TR3DDLLAModel = field(default_factory=TR3DDLLAModel)
    assigner: TR3DCandidates = field(default_factory=TR3DCandidates)

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        yield from self.model.rules(stages=(4,), counted="four numbers")
        levels = bool(self.own.levels) or not self.own.classes
        yield "own.levels", levels, "given. `sr3d train` finds them in the prepared folder"


@dataclass(frozen=True, kw_only=True)
class FCAF3DDLLAConfig(DLLAConfig):
    """One setting of FCAF3D + DLLA on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"fcaf3d_dlla": _fcaf3d, "fcaf3d_dlla_small": _fcaf3d_thin},
        "train": {"fcaf3d_dlla": _fcaf3d_schedule},
        "augment": {"fcaf3d_dlla": _augmentation},
    }

    model: FCAF3DDLLAModel = field(default_factory=FCAF3DDLLAModel)
    assigner: FCAF3DCandidates = field(default_factory=FCAF3DCandidates)

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        yield from self.model.rules(stages=(2, 3, 4), counted="two to four numbers")
