"""Small networks' weights under every published naming, spelled out here once more."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from sr3d.config import Config
from sr3d.detectors import build_detector
from sr3d.detectors.base import Detector
from sr3d.detectors.common.sparse_config import SparseModelConfig
from sr3d.detectors.configuration import default_config, with_overrides

# What to put in place of what, in a state dict of ours.
NAMINGS: dict[str, tuple[str, dict[str, str]]] = {
    "mmdet3d-tr3d": ("tr3d", {}),
    "samsung-tr3d": (
        "tr3d",
        {
            "bbox_head.conv_reg.": "head.bbox_conv.",
            "bbox_head.conv_cls.": "head.cls_conv.",
        },
    ),
    "mmdet3d-fcaf3d": ("fcaf3d", {}),
    "mmdet3d-1.0-fcaf3d": ("fcaf3d", {"bbox_head.": "head."}),
    "samsung-tr3d-fcaf3d": (
        "fcaf3d",
        {
            "bbox_head.conv_reg.": "head.reg_conv.",
            "bbox_head.conv_cls.": "head.cls_conv.",
            "bbox_head.conv_center.": "head.center_conv.",
            "bbox_head.": "head.",
        },
    ),
    "samsung-fcaf3d": (
        "fcaf3d",
        {
            "bbox_head.conv_reg.": "neck_with_head.reg_conv.",
            "bbox_head.conv_cls.": "neck_with_head.cls_conv.",
            "bbox_head.conv_center.": "neck_with_head.centerness_conv.",
            "bbox_head.": "neck_with_head.",
            "backbone.conv1.": "backbone.conv1.0.",
            "backbone.norm1.": "backbone.conv1.1.",
        },
    ),
    "dlla-tr3d": (
        "tr3d_dlla",
        {
            "bbox_head.conv_reg.": "head.bbox_conv.",
            "bbox_head.conv_cls.": "head.cls_conv.",
            "bbox_head.conv_localization.": "head.localization_conv.",
            "neck.": "head.",
            "matcher.": "head.",
        },
    ),
    "dlla-fcaf3d": (
        "fcaf3d_dlla",
        {
            "bbox_head.conv_reg.": "head.reg_conv.",
            "bbox_head.conv_cls.": "head.cls_conv.",
            "bbox_head.conv_center.": "head.center_conv.",
            "bbox_head.": "head.",
            "matcher.": "head.",
        },
    ),
    "hooked-tr3d": ("tr3d", {"bbox_head.": "bbox_bbox_head."}),
}


def thin_config(network: str, dataset: str) -> Config:
    """On real data sets as well, a network of few weights; all its widths differ."""
    config = with_overrides(default_config(dataset), [f"model={network}"])
    planes, blocks = (
        ((8, 12, 16), (2, 1, 1))
        if network.startswith("fcaf3d")
        else ((8, 12, 16, 20), (2, 1, 1, 1))
    )
    assert isinstance(config.model, SparseModelConfig)
    model = dataclasses.replace(
        config.model, stem_channels=4, planes=planes, blocks=blocks, neck_channels=24
    )
    return dataclasses.replace(config, model=model)


def thin_detector(network: str, dataset: str) -> tuple[Config, Detector]:
    config = thin_config(network, dataset)
    torch.manual_seed(3)
    model = build_detector(config)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1)  # no two weights are the same
    return config, model.eval()


def renamed(state: dict[str, Tensor], naming: str, prefix: str = "") -> dict[str, Tensor]:
    rules = NAMINGS[naming][1]

    def other(name: str) -> str:
        for ours, theirs in rules.items():
            if name.startswith(ours):
                return theirs + name[len(ours) :]
        return name

    return {prefix + other(name): tensor for name, tensor in state.items()}
