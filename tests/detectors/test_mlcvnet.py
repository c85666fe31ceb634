"""MLCVNet's context against loops, and what it changes in VoteNet's training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import group_norm

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.mean_sizes import mean_sizes_of
from sr3d.data.rooms.generate import generate_room
from sr3d.detectors import build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.mlcvnet.detector import MLCVNet
from sr3d.detectors.mlcvnet.network import ContextBlock


def by_loops(block: ContextBlock, x: Tensor) -> Tensor:
    """The attention of one sample (C, N), one group of channels after the other."""
    t, p, g = (conv.weight[:, :, 0, 0] @ x for conv in (block.t, block.p, block.g))
    size = len(t) // 4
    out = []
    for start in range(0, len(t), size):
        rows = slice(start, start + size)
        pairs = zip(p[rows].flatten().tolist(), g[rows].flatten().tolist(), strict=True)
        scalar = sum(a * b for a, b in pairs)
        out.append(scalar * t[rows])
    width = len(block.z.weight) // 4
    z = torch.cat(
        [block.z.weight[i * width : (i + 1) * width, :, 0, 0] @ part for i, part in enumerate(out)]
    )
    return x + group_norm(z[None], 4, block.gn.weight, block.gn.bias)[0]


def test_attention_is_a_scalar_a_group_of_channels() -> None:
    torch.manual_seed(0)
    block = ContextBlock(16, 8)
    x = torch.randn(3, 16, 20)
    expected = torch.stack([by_loops(block, sample) for sample in x])
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def thin() -> MLCVNet:
    rooms = [generate_room(seed, points=6000) for seed in range(2)]
    config = with_overrides(
        default_config("synthetic"), ["model=mlcvnet", "train=mlcvnet", "augment=mlcvnet"]
    )
    sizes = mean_sizes_of(rooms, 13)
    config = type(config).of_values({**config.to_dict(), "mean_sizes": sizes})
    torch.manual_seed(0)
    model = build_detector(config)
    assert isinstance(model, MLCVNet)
    return model


def test_a_scene_seen_twice_is_seen_alike_and_every_weight_learns() -> None:
    """Context is of one scene: the other scenes of a batch do not change it."""
    model, scenes = thin().eval(), [generate_room(seed, points=6000) for seed in (1, 2)]
    alone = model(model.inputs(scenes[:1]))
    both = model(model.inputs(scenes))
    torch.testing.assert_close(both.raw[:1], alone.raw, rtol=1e-4, atol=1e-4)
    model.train()
    losses = model.loss(model(model.inputs(scenes)), GroundTruth.of(scenes, model.device))
    losses.total.backward()
    without = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    assert without == []


def test_the_gate_at_zero_has_a_gradient() -> None:
    model, scene = thin(), generate_room(1, points=6000)
    for parameter in model.get_submodule("pnet.gs_conv1").parameters():
        torch.nn.init.zeros_(parameter)
    losses = model.loss(model(model.inputs([scene])), GroundTruth.of([scene], model.device))
    losses.total.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_no_proposal_is_undecided() -> None:
    for dataset in ("scannet", "sunrgbd", "synthetic"):
        loss = with_overrides(default_config(dataset), ["model=mlcvnet"]).flat()
        assert loss["loss.near"] == loss["loss.far"] == 0.3
        loss = with_overrides(default_config(dataset), ["model=votenet"]).flat()
        assert loss["loss.near"] < loss["loss.far"]
