"""The `Family` of MLCVNet."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sr3d.detectors.family import CheckpointFormat, Family, Published
from sr3d.detectors.mlcvnet.config import MLCVNetConfig
from sr3d.detectors.votenet.family import infer

if TYPE_CHECKING:
    from sr3d.detectors.mlcvnet.detector import MLCVNet


def _build(config: MLCVNetConfig) -> MLCVNet:
    from sr3d.detectors.mlcvnet.detector import MLCVNet

    return MLCVNet(config)


def _recognises(names: Collection[str]) -> bool:
    return {"vgen.sa1.gn.weight", "pnet.gs_conv1.weight"} <= {*names}


FAMILY = Family(
    title="MLCVNet",
    config=MLCVNetConfig,
    build=_build,
    checkpoints=CheckpointFormat(
        landmark=r"backbone_net\.sa1\.mlp_module\.layer0\.conv\.weight",
        recognises=_recognises,
        written_by=lambda _: "NUAAXQ/MLCVNet",
        infer=infer,
        published={"original": Published(entry="model_state_dict")},
    ),
    needs=("instance", "mean_sizes"),
)
