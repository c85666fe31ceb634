"""Every family with a network of few weights and points, for tests that go over all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sr3d.config import Config
from sr3d.detectors import build_detector
from sr3d.detectors.base import Detector
from sr3d.detectors.configuration import default_config, with_overrides

VOXELS = ("model.voxel_size=0.1", "model.stem_channels=8", "model.neck_channels=8")
POINTNET = (
    "model.num_points=256",
    "model.levels=[64,32,16,8]",
    "model.samples=[8,8,4,4]",
    "model.planes=[8,8,8,8]",
)
PROPOSALS = (*POINTNET, "model.seed_channels=16", "model.proposals=16", "model.proposal_channels=8")
QUERIES = (
    *POINTNET,
    "model.channels=16",
    "model.queries=12",
    "model.layers=2",
    "model.feedforward=16",
)
VOXEL_QUERIES = (
    *VOXELS,
    "model.planes=[8,8,8]",
    "model.blocks=[1,1,1]",
    "model.seeds=64",
    "model.queries=12",
    "model.channels=16",
    "model.layers=2",
    "model.hidden=16",
)
# Presets come first, as they must.
TINY: Mapping[str, Sequence[str]] = {
    "tr3d": ("model=small", *VOXELS, "model.planes=[8,8,8,8]"),
    "fcaf3d": ("model=fcaf3d_small", *VOXELS, "model.planes=[8,8,8]", "model.pts_prune=300"),
    "tr3d_dlla": (
        "model=tr3d_dlla_small",
        *VOXELS,
        "model.planes=[8,8,8,8]",
        "model.match_channels=8",
    ),
    "fcaf3d_dlla": (
        "model=fcaf3d_dlla_small",
        *VOXELS,
        "model.planes=[8,8,8]",
        "model.pts_prune=300",
        "model.match_channels=8",
    ),
    "votenet": ("model=votenet_small", *PROPOSALS),
    "mlcvnet": ("model=mlcvnet_small", *PROPOSALS),
    "brnet": ("model=brnet_small", *PROPOSALS, "model.trace_planes=[8,8,8]"),
    "rbgnet": ("model=rbgnet_small", *PROPOSALS, "model.rays=6", "model.ray_channels=4"),
    "groupfree": ("model=groupfree_small", *QUERIES),
    "3detr": (
        "model=3detr_small",
        "model.num_points=256",
        "model.seeds=64",
        "model.queries=12",
        "model.samples=[8,8]",
        "model.channels=16",
        "model.decoder_layers=2",
        "model.encoder_hidden=16",
        "model.decoder_hidden=16",
    ),
    "dest": ("model=dest_small", *QUERIES),
    "gsdn": (
        "model=gsdn_small",
        "model.voxel_size=0.1",
        "model.stem_channels=8",
        "model.planes=[8,8,8]",
        "model.head_channels=8",
    ),
    "vdetr": ("model=vdetr_small", *VOXEL_QUERIES),
    "dest_vdetr": ("model=dest_vdetr_small", *VOXEL_QUERIES),
    "spgroup3d": (
        "model=spgroup3d_small",
        "model.voxel_size=0.1",
        "model.stem_channels=8",
        "model.high_channels=8",
        "model.planes=[8,8,8]",
        "model.context_channels=4",
        "model.out_channels=8",
        "model.fusion_channels=[8,8]",
        "model.head_channels=16",
    ),
    "cagroup3d": (
        "model=cagroup3d_small",
        "model.voxel_size=0.1",
        "model.stem_channels=8",
        "model.high_channels=8",
        "model.stage_channels=[8,8,8]",
        "model.context_channels=8",
        "model.channels=8",
        "model.cell_sizes=[0.2,1.0]",
        "model.group_kernel=3",
        "model.roi_channels=8",
        "model.roi_hidden=8",
        "assigner.rois=8",
    ),
}
POINT_FAMILIES = tuple(name for name, words in TINY.items() if "model.num_points=256" in words)
# Dropout draws differ between processes, and make two steps of one batch different.
NO_DROPOUT: Mapping[str, Sequence[str]] = {
    "groupfree": ("model.dropout=0",),
    "3detr": tuple(f"model.{part}_dropout=0" for part in ("encoder", "decoder", "head")),
    "dest": ("model.dropout=0",),
    "spgroup3d": ("model.dropout=0",),
    "cagroup3d": ("model.dropout=0",),
}


def tiny_config(family: str, dataset: str = "synthetic", *overrides: str) -> Config:
    """overrides: values, no presets. Every class has the same mean size."""
    config = with_overrides(default_config(dataset), [*TINY[family], *overrides])
    return dataclasses.replace(config, mean_sizes=((0.8, 0.6, 0.7),) * 13)


def tiny_detector(family: str, dataset: str = "synthetic", *overrides: str) -> Detector[Any, Any]:
    """With the weights of seed 0."""
    torch.manual_seed(0)
    return build_detector(tiny_config(family, dataset, *overrides))
