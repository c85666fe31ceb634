"""What a CUDA graph needs of suppression: padding, scenes side by side, rounds, no host in it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import sr3d.geometry.nms as nms_module
from sr3d.geometry.iou import OverlapRule
from sr3d.geometry.nms import class_nms
from sr3d.geometry.static_nms import static_nms
from tests.geometry.strategies import random_boxes


def padded_scenes(capacity: int) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """Scenes of 30, 0 and 45 boxes, and all of them padded to one capacity with what may be left
    in memory.
    """
    scenes = [random_boxes(count, count, spread=1.0) for count in (30, 0, 45)]
    boxes = torch.full((3, capacity, 7), math.nan)
    boxes[:, ::2] = 1.0
    scores = torch.randint(0, 20, (3, capacity, 5), generator=torch.Generator().manual_seed(0)) / 20
    valid = scores > 0.2
    for i, scene in enumerate(scenes):
        boxes[i, : len(scene)] = scene
        valid[i, len(scene) :] = False
        scores[i, len(scene) :] = math.inf
    return scenes, boxes, scores, valid


def chain(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes of which each overlaps the next: each decision waits for the one before."""
    boxes = torch.zeros(count, 7)
    boxes[:, 0] = torch.arange(count) / 4
    boxes[:, 3:6] = 1
    scores = -torch.arange(count, dtype=torch.float)[:, None]
    return boxes, scores, torch.ones(count, 1, dtype=torch.bool)


@pytest.mark.parametrize("bev", [False, True])
@pytest.mark.parametrize("rotated", [False, True])
def test_padded_scenes_equal_scenes_alone(rotated: bool, bev: bool) -> None:
    scenes, boxes, scores, valid = padded_scenes(64)
    keep, settled = static_nms(boxes, scores, valid, OverlapRule(0.2, rotated, bev))
    assert keep.shape == (3, 64, 5)
    assert settled.tolist() == [True] * 3
    for i, scene in enumerate(scenes):
        n = len(scene)
        alone = class_nms(scene, scores[i, :n], valid[i, :n], 0.2, rotated, bev)
        assert torch.equal(keep[i, :n], alone)
        assert not keep[i, n:].any()
    assert 30 < keep.sum() < valid.sum() * 2 / 3


def test_too_few_rounds_say_so_and_enough_are_exact() -> None:
    boxes, scores, valid = chain(40)
    expected = torch.arange(40)[:, None] % 2 == 0
    # Box k is right from round k on, and one round more shows that nothing changes.
    for rounds in (0, 1, 16, 38):
        keep, settled = static_nms(boxes, scores, valid, OverlapRule(0.5, False), rounds=rounds)
        assert not settled or rounds == 0
        assert torch.equal(keep[: rounds + 1], expected[: rounds + 1])
        assert not torch.equal(keep, expected)
    for enough in (40, None):
        keep, settled = static_nms(boxes, scores, valid, OverlapRule(0.5, False), rounds=enough)
        assert settled
        assert torch.equal(keep, expected)


def test_one_scene_that_is_not_settled_leaves_the_others() -> None:
    boxes, scores, valid = (torch.stack([rows, rows]) for rows in chain(40))
    boxes[1, :, 0] *= 10  # nothing overlaps here
    _, settled = static_nms(boxes, scores, valid, OverlapRule(0.5, False), rounds=16)
    assert settled.tolist() == [False, True]


def test_the_way_of_a_gpu_goes_on_until_all_is_decided() -> None:
    rule = OverlapRule(0.5, rotated=False, bev=True)
    boxes, scores, valid = chain(300)
    keep = nms_module._in_rounds(boxes, scores, valid, torch.zeros(300).long(), rule)
    assert keep[:, 0].tolist() == [i % 2 == 0 for i in range(300)]


@pytest.mark.parametrize("bev", [False, True])
@pytest.mark.parametrize("rotated", [False, True])
def test_nothing_depends_on_values(rotated: bool, bev: bool) -> None:
    # Tensors on the meta device have shapes and no values: a look at one would be an error.
    boxes, scores, valid = (part.to("meta") for part in padded_scenes(64)[1:])
    keep, settled = static_nms(boxes, scores, valid, OverlapRule(0.2, rotated, bev), rounds=8)
    assert keep.shape == (3, 64, 5)
    assert settled.shape == (3,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("rotated", [False, True])
def test_a_cuda_graph_records_it(rotated: bool) -> None:
    arguments = padded_scenes(64)[1:]
    boxes, scores, valid = (part.cuda() for part in arguments)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):  # as PyTorch wants it before a capture
        static_nms(boxes, scores, valid, OverlapRule(0.2, rotated), rounds=8)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            keep, settled = static_nms(boxes, scores, valid, OverlapRule(0.2, rotated), rounds=8)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for turn in range(3):  # other scenes through the same graph
        other = [part.roll(turn, dims=0) for part in arguments]
        for held, part in zip((boxes, scores, valid), other, strict=True):
            held.copy_(part)
        graph.replay()
        expected, _ = static_nms(other[0], other[1], other[2], OverlapRule(0.2, rotated))
        assert torch.equal(keep.cpu(), expected)
        assert settled.all()
