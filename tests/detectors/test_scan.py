"""What `Detector.detect` takes for a scan."""

from __future__ import annotations

import logging

import pytest
import torch

from sr3d.data.rooms.generate import generate_room
from sr3d.detectors.scan import split_points
from sr3d.errors import Kind
from tests.refusals import refuses

ROOM = generate_room(910, points=2000)


def test_a_room_in_millimetres_is_refused() -> None:
    with refuses(Kind.VALUE, field="points", mentions=["metres"]):
        split_points(ROOM.points * 1000, ROOM.colors)


def test_stray_points_and_centimetres_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    stray = ROOM.points.clone()
    stray[0, 0] = 1e6
    for points in (stray, ROOM.points * 100):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="sr3d"):
            found, _ = split_points(points, ROOM.colors)
        assert torch.equal(found, points)
        (warning,) = caplog.records
        longest = float((points.amax(dim=0) - points.amin(dim=0)).max())
        assert f"{longest:.3g}" in warning.message


def test_colours_of_bytes_are_converted_and_others_refused() -> None:
    _, colors = split_points(ROOM.points, (ROOM.colors * 255).round().to(torch.uint8))
    assert (colors - ROOM.colors).abs().max() < 1 / 255
    with refuses(Kind.VALUE, field="colors", mentions=["255", "uint8"]):
        split_points(ROOM.points, ROOM.colors * 255)
