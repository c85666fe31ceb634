"""TR3D's configuration. Its defaults are SR3D: TR3D's network with the paper's assigner and loss.

Sources: the paper and its supplement, and configs of SamsungLabs/tr3d.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sr3d.config import Condition, Preset, Rule
from sr3d.detectors.common.sparse_config import (
    THIN,
    SparseConfig,
    SparseInferenceConfig,
    SparseModelConfig,
)
from sr3d.presets import SINGLE_VIEW, DataFacts, Values, repeat, rooms_of, twelve_epochs
from sr3d.value_types import Count, Exponent, Share, Weight

# How often an epoch goes through the scenes, as published. A data set of no paper takes `own`.
REPEAT = {"scannet": 15, "sunrgbd": 5, "s3dis": 13, "own": 15}


@dataclass(frozen=True, kw_only=True)
class TR3DModel(SparseModelConfig):
    """The network: MinkResNet34, a generative neck, a shared head."""

    name: Literal["tr3d"] = "tr3d"


@dataclass(frozen=True)
class AssignerConfig:
    """The assigner decides which anchors are positive, and for which ground truth."""

    # SPOTA is SR3D's. The others: TR3D's, the two of Table 4, FCAF3D's.
    name: Literal["spota", "tr3d", "simota", "align_ota", "fcaf3d"] = "spota"
    k: Count = 6  # maximum positives per ground truth. simOTA, AlignOTA, FCAF3D have their own
    levels: Literal["all", "by_class"] = "all"  # candidates of SPOTA. `by_class` is TR3D's rule
    # Eq. 4: how fast the centre prior rises with the distance
    mu: Annotated[float, Interval(gt=0, le=100)] = 1.0
    reg_cost: Literal["iou", "log_iou", "diou"] = "iou"  # C_reg of Eq. 5
    vertex_distance: bool = True  # whether Eq. 5 includes R_VD
    vertices: Literal["invariant", "literal"] = "invariant"  # Eq. 3 on rotated boxes
    cls_weight: Weight = 0.0  # λ of Eq. 2, inside the bracket of Eq. 5. SPOTA has none
    # the repository that TR3D's assigner follows
    tr3d_variant: Literal["mmdet3d", "samsung"] = "mmdet3d"


@dataclass(frozen=True)
class LossConfig:
    """The classification loss (RAS of Eq. 7, or an alternative) and the box loss (DIoU)."""

    cls: Literal["ras", "focal", "qfl", "vfl"] = "ras"  # of classes. RAS is Eq. 7
    focal_alpha: Share = 0.25  # weight of positives. Negatives have 1 - α
    # focusing exponent. A higher value reduces the weight of easy anchors
    focal_gamma: Exponent = 2.0
    tau: Annotated[float, Interval(ge=1e-6, le=1000)] = 0.1  # Eq. 9: temperature of the soft ranks
    beta: Exponent = 1.0  # Eq. 6: exponent of the rank
    # reading of Eq. 6, see docs/readings.md
    rdl_form: Literal["rank", "position", "printed", "bracket"] = "rank"
    # set of positives in which ranks are computed
    rank_scope: Literal["ground_truth", "image"] = "ground_truth"
    qfl_beta: Exponent = 2.0  # QFL: exponent of |q - p|
    vfl_alpha: Weight = 0.75  # VFL: weight of negatives
    vfl_gamma: Exponent = 2.0  # VFL: exponent of their scores
    rotated_diou: Literal["correct", "legacy"] = "correct"  # legacy: x, y, w for x, y, z, as TR3D


@dataclass(frozen=True)
class TR3DInference(SparseInferenceConfig):
    """Inference, with the oracles of Table 6. The indices of the runs decide the seeds."""

    # Table 6: the true value that replaces scores
    oracle: Literal["none", "centerness", "iou"] = "none"
    # Table 6: the anchors whose scores are replaced
    foreground: Literal["assigned", "inside"] = "assigned"


def _network(data: DataFacts) -> Values:
    return {"model": dict(THIN) if data.procedural else {}}


def _thin_network(data: DataFacts) -> Values:
    return {"model": dict(THIN)}


def _schedule(data: DataFacts) -> Values:
    return {"train": twelve_epochs(REPEAT, data)}


def _augmentation(data: DataFacts) -> Values:
    """SamsungLabs/tr3d's."""
    rooms = {"rotation": 1.1459156, "scale": [0.9, 1.1]}  # 0.02 rad
    return {"augment": rooms | _where_the_paper_is_silent(data)}


def _papers_augmentation(data: DataFacts) -> Values:
    """What the paper states, and TR3D's on the data sets of which it is silent."""
    return {"augment": _where_the_paper_is_silent(data)}


def _where_the_paper_is_silent(data: DataFacts) -> dict[str, Any]:
    if data.dataset == "sunrgbd":
        return dict(SINGLE_VIEW)
    if data.dataset == "s3dis":
        return {"sample_count": 100_000, "rotation": 0.0, "scale": [0.95, 1.05]}
    return {}


@dataclass(frozen=True, kw_only=True)
class TR3DConfig(SparseConfig):
    """One setting of TR3D or SR3D on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"tr3d": _network, "small": _thin_network},
        "train": {"tr3d": _schedule},
        "augment": {"sr3d": _papers_augmentation, "tr3d": _augmentation},
    }
    earlier: ClassVar[Mapping[str, Any]] = {
        "model.pts_prune": 100_000,
        "assigner.fcaf3d_limit": 27,
        "assigner.fcaf3d_top": 18,
    }
    conditions: ClassVar[Mapping[str, Condition]] = {
        **SparseConfig.conditions,
        "assigner.k": ("assigner.name", ("spota", "tr3d")),
        **dict.fromkeys(
            (
                "assigner.levels",
                "assigner.mu",
                "assigner.reg_cost",
                "assigner.vertex_distance",
                "assigner.vertices",
                "assigner.cls_weight",
            ),
            ("assigner.name", ("spota",)),
        ),
        "assigner.tr3d_variant": ("assigner.name", ("tr3d",)),
        **dict.fromkeys(("loss.focal_alpha", "loss.focal_gamma"), ("loss.cls", ("ras", "focal"))),
        **dict.fromkeys(
            ("loss.tau", "loss.beta", "loss.rdl_form", "loss.rank_scope"), ("loss.cls", ("ras",))
        ),
        "loss.qfl_beta": ("loss.cls", ("qfl",)),
        "loss.vfl_alpha": ("loss.cls", ("vfl",)),
        "loss.vfl_gamma": ("loss.cls", ("vfl",)),
        "test.foreground": ("test.oracle", ("centerness", "iou")),
    }

    model: TR3DModel = field(default_factory=TR3DModel)
    assigner: AssignerConfig = field(default_factory=AssignerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    test: TR3DInference = field(default_factory=TR3DInference)

    @classmethod
    def defaults(cls, data: DataFacts) -> Values:
        """The paper's training on a data set. For procedural rooms, one that two cores can do.

        On own data it is ScanNet's training.
        """
        if data.procedural:
            return _network(data) | rooms_of(data)
        if data.dataset == "scannet":
            return {}
        train = {"train": {"repeat": repeat(REPEAT, data)}}
        if data.dataset == "own":
            return train
        return _papers_augmentation(data) | train | {"test": {"sample_count": 100_000}}

    @classmethod
    def without_earlier(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        kept, assigner = super().without_earlier(values), values.get("assigner")
        if isinstance(assigner, Mapping) and assigner.get("name") == "fcaf3d":
            # FCAF3D's assigner has the published numbers here. Others must not be ignored.
            others = {k: v for k, v in assigner.items() if cls.earlier.get(f"assigner.{k}", v) != v}
            kept["assigner"] |= others
        return kept

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        yield from self.model.rules(stages=(4,), counted="four numbers")
        by_class = self.assigner.name == "tr3d" or (
            self.assigner.name == "spota" and self.assigner.levels == "by_class"
        )
        levels = bool(self.own.levels) or not (self.own.classes and by_class)
        yield (
            "own.levels",
            levels,
            "given if the assigner uses them. `sr3d train` finds them in the prepared folder",
        )
