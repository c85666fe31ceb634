"""One step of a batch, which processes share or one process takes alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from sr3d.config import Config
from sr3d.data.prepared import PreparedDataset
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.detectors import build_detector
from sr3d.geometry.boxes import Boxes
from sr3d.sparse.determinism import ordered_backward
from sr3d.train.distributed import Processes, share_norms
from sr3d.train.step import batch_losses
from tests.detectors.tiny_families import NO_DROPOUT, tiny_config
from tests.test_training import tiny

FCAF3D = ["model=fcaf3d", "model.planes=[8,8,8]", "model.stem_channels=8", "model.neck_channels=8"]
# Noise draws differ between processes.
DLLA = ["model.match_channels=8", "loss.denoising=0"]
SPARSE: Mapping[str, Sequence[str]] = {
    "tr3d": [],
    "fcaf3d": FCAF3D,
    "gsdn": [],
    "vdetr": [],
    "dest_vdetr": [],
    # Draws differ between processes, and so does the extent of a batch.
    "spgroup3d": ["model.dropout=0", "model.vote_extent=scene"],
    "cagroup3d": ["model.semantic_thr=[0, 0, 0]", "model.vote_extent=scene"],
    "tr3d_dlla": ["model=tr3d_dlla_small", *DLLA],
    "fcaf3d_dlla": ["model=fcaf3d_dlla_small", *FCAF3D[1:], *DLLA],
}
# So that untrained networks have positives, and 3DETR what depends on the headings of a batch.
LOSSES: Mapping[str, Sequence[str]] = {
    "votenet": ["loss.near=2.0", "loss.far=3.0"],
    "mlcvnet": ["loss.near=2.0", "loss.far=3.0"],
    "brnet": ["loss.near=2.0"],
    "rbgnet": ["loss.near=2.0"],
    "3detr": ["loss.rotated_giou=legacy", "loss.giou_weight=1.0"],
}


def scenes_of(data: Path) -> list[Scene]:
    """Three in double precision; the second, which is the second process's, has no boxes."""
    scenes = []
    for i in range(3):
        scene = PreparedDataset(data, "train")[i]
        kept = slice(0 if i == 1 else None)
        boxes, labels = Boxes(scene.boxes.tensor[kept].double()), scene.labels[kept]
        scenes.append(Scene(scene.id, scene.points.double(), scene.colors.double(), boxes, labels))
    return scenes


def rooms_of_points() -> list[Scene]:
    """Four with instances, in double precision. The second has no boxes, and the last, which is the
    second process's too, only clockwise ones.
    """
    scenes = []
    for i in range(4):
        scene = generate_room(i, points=1000)
        boxes, labels, instance = scene.boxes.tensor.double(), scene.labels, scene.instance
        boxes[:, 6] = 0.4 if i < 3 else -0.4
        if i == 1:
            boxes, labels, instance = boxes[:0], labels[:0], torch.full((1000,), -1)
        points, colors = scene.points.double(), scene.colors.double()
        scenes.append(Scene(scene.id, points, colors, Boxes(boxes), labels, instance))
    return scenes


def on_voxels(family: str) -> Config:
    if family in ("gsdn", "cagroup3d", "spgroup3d", "vdetr", "dest_vdetr"):
        return tiny_config(family, "synthetic", *NO_DROPOUT.get(family, ()), *SPARSE[family])
    return tiny("synthetic", *SPARSE[family])


def on_points(family: str) -> Config:
    overrides = [*NO_DROPOUT.get(family, ()), *LOSSES.get(family, ())]
    return tiny_config(family, "synthetic_rotated", *overrides)


@contextlib.contextmanager
def in_double() -> Iterator[None]:
    """So that sums in another order agree to many digits. What makes bf16 float32 again leaves
    double precision alone.
    """
    single = Tensor.float

    def widened(x: Tensor) -> Tensor:
        return x if x.requires_grad and x.dtype == torch.float64 else single(x)

    torch.set_default_dtype(torch.float64)
    with patch.object(Tensor, "float", widened):
        yield
    torch.set_default_dtype(torch.float32)


def gradients(config: Config, scenes: list[Scene], processes: Processes) -> dict[str, Any]:
    """Gradients and curve values of one step on this process's share of some scenes.

    A missing gradient counts as zero.
    """
    torch.manual_seed(0)
    with in_double():
        model = build_detector(config).train()
        if processes.count > 1:
            share_norms(model)
        share = processes.share(scenes)
        losses = batch_losses(model, share, processes)
        ordered_backward(losses.total)
        stop = float(processes.rank == 1)
        values = processes.add(model.parameters(), {**losses.values(), "stop": stop})
    grads = {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in model.named_parameters()
    }
    buffers = {name: value for name, value in model.named_buffers() if "running" in name}
    own = losses.curves["positives"]
    return {"grads": grads, "values": values, "positives": own, "statistics": buffers}
