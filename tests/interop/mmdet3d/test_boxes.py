"""Boxes mean the same cuboids in mmdet3d as with us, before and after its augmentation."""

import math

import pytest

pytest.importorskip("mmdet3d", reason="needs the environment of envs/openmmlab.sh")

import torch
from torch import Tensor

from sr3d.geometry.boxes import Boxes
from sr3d.interop.mmdet3d.box_conversion import depth_boxes, from_mmdet3d

pytestmark = pytest.mark.openmmlab


def some_boxes(rotated: bool) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    center = 4 * torch.rand(50, 3, generator=generator) - 2
    size = 0.1 + 2 * torch.rand(50, 3, generator=generator)
    yaw = math.pi * (2 * torch.rand(50, 1, generator=generator) - 1)
    return torch.cat([center, size, yaw if rotated else torch.zeros_like(yaw)], dim=1)


def corners_apart(some: Tensor, others: Tensor) -> float:
    """How far a corner of one box is from the nearest of the other's, at most. (K, 8, 3) each."""
    far = torch.cdist(some, others)
    return float(torch.maximum(far.amin(dim=1), far.amin(dim=2)).max())


@pytest.mark.parametrize("rotated", [False, True])
def test_the_eight_corners_are_the_same(rotated: bool) -> None:
    boxes = some_boxes(rotated)
    theirs = depth_boxes(boxes, rotated)
    assert theirs.with_yaw == rotated
    assert corners_apart(theirs.corners, Boxes(boxes).corners()) < 1e-5


@pytest.mark.parametrize("rotated", [False, True])
def test_there_and_back(rotated: bool) -> None:
    boxes = some_boxes(rotated)
    torch.testing.assert_close(from_mmdet3d(depth_boxes(boxes, rotated)), boxes)
    assert from_mmdet3d(depth_boxes(boxes[:0], rotated)).shape == (0, 7)


@pytest.mark.parametrize("rotated", [False, True])
def test_turning_is_ours(rotated: bool) -> None:
    """Axis-aligned boxes become those around the turned ones."""
    boxes, angle = some_boxes(rotated), 0.3
    theirs = depth_boxes(boxes, rotated)
    theirs.rotate(angle)
    ours = Boxes(boxes).rotated(angle)
    torch.testing.assert_close(from_mmdet3d(theirs), (ours if rotated else ours.enclosing()).tensor)


@pytest.mark.parametrize(("axis", "direction"), [(0, "horizontal"), (1, "vertical")])
@pytest.mark.parametrize("rotated", [False, True])
def test_flipping_is_ours(rotated: bool, axis: int, direction: str) -> None:
    theirs = depth_boxes(some_boxes(rotated), rotated)
    theirs.flip(direction)
    ours = Boxes(some_boxes(rotated)).flipped(axis)
    assert corners_apart(theirs.corners, ours.corners()) < 1e-5
