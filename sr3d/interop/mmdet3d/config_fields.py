"""Converts mmengine's dictionaries to our configuration, with its checks and suggestions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sr3d.detectors.configuration import config_from_dict, default_config
from sr3d.detectors.tr3d.config import TR3DConfig
from sr3d.errors import InputError, Kind
from sr3d.validation import did_you_mean

Fields = Mapping[str, Any] | None
# The evaluation steps of the head and the detector. mmdet3d's pipelines do the others.
_OF_TESTS = ("nms", "nms_pre", "score_thr", "iou_thr", "voxel_pick")


def tr3d_config(
    dataset: str,
    *,
    own: Fields = None,
    model: Fields = None,
    assigner: Fields = None,
    loss: Fields = None,
    test: Fields = None,
) -> TR3DConfig:
    """The paper's configuration for a data set, with other values of some fields.

    Raises:
        InputError: an unknown data set or field (with the nearest known one), a value of the wrong
            kind, or a value without effect here.
    """
    if unused := [name for name in test or () if name not in _OF_TESTS]:
        problem = f"unknown{did_you_mean(unused[0], _OF_TESTS)}"
        raise InputError(problem, field=f"test_cfg.{unused[0]}", kind=Kind.UNKNOWN)
    values = default_config(dataset).to_dict()
    groups = {"own": own, "model": model, "assigner": assigner, "loss": loss, "test": test}
    for group, fields in groups.items():
        values[group] |= dict(fields or {})
    network, matching = (model or {}).get("name"), (assigner or {}).get("name")
    if network not in (None, "tr3d") or matching == "fcaf3d":
        raise InputError(
            f"SR3D has TR3D's network, got '{matching if matching == 'fcaf3d' else network}'",
            field="assigner.name" if matching == "fcaf3d" else "model.name",
            kind=Kind.CONFLICT,
            remedy="For FCAF3D, use mmdet3d's own detector.",
        )
    config = config_from_dict(values)
    assert isinstance(config, TR3DConfig)
    return config
