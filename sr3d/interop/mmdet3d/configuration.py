"""Converts mmengine's dictionaries to our configuration, with its checks and suggestions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sr3d.config import Config, config_from_dict, default_config, did_you_mean
from sr3d.errors import InputError

Fields = Mapping[str, Any] | None
# The evaluation steps of the head and the detector. mmdet3d's pipelines do the others.
_OF_TESTS = ("nms", "nms_pre", "score_thr", "iou_thr", "voxel_pick")


def settings(
    dataset: str,
    *,
    own: Fields = None,
    model: Fields = None,
    assigner: Fields = None,
    loss: Fields = None,
    test: Fields = None,
) -> Config:
    """The paper's configuration for a data set, with other values of some fields.

    Raises:
        InputError: an unknown data set or field (with the nearest known one), a value of the wrong
            kind, or a value without effect here.
    """
    if unused := [name for name in test or () if name not in _OF_TESTS]:
        raise InputError(f"test_cfg.{unused[0]}: unknown{did_you_mean(unused[0], _OF_TESTS)}")
    values = default_config(dataset).to_dict()
    groups = {"own": own, "model": model, "assigner": assigner, "loss": loss, "test": test}
    for group, fields in groups.items():
        values[group] |= dict(fields or {})
    config = config_from_dict(values)
    if config.model.name != "tr3d" or config.assigner.name == "fcaf3d":
        raise InputError("SR3D has TR3D's network; for FCAF3D use mmdet3d's own detector")
    return config
