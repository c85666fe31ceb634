"""Every family trains and detects on the scenes that break detectors, without a traceback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from sr3d.data.datasets import SYNTHETIC
from sr3d.data.loader import generator_for
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene, check_scene
from sr3d.data.transforms import augment
from sr3d.detectors import FAMILIES
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.errors import Kind
from sr3d.geometry.boxes import Boxes
from sr3d.train.step import batch_losses
from tests.detectors.tiny_families import TINY, tiny_detector
from tests.refusals import refuses

ROTATED = {"synthetic": False, "synthetic_rotated": True}


@cache
def room(seed: int, points: int, rotated: bool) -> Scene:
    return generate_room(seed, points=points, rotated=rotated)


def without_boxes(scene: Scene) -> Scene:
    nothing = torch.zeros(0, 7), torch.zeros(0, dtype=torch.int64)
    instance = torch.full_like(scene.labels.new_zeros(len(scene)), -1)
    return replace(scene, boxes=Boxes(nothing[0]), labels=nothing[1], instance=instance)


def first_points(scene: Scene, count: int) -> Scene:
    """The first points. The boxes stay, so some have no point."""
    assert scene.instance is not None
    return replace(
        scene,
        points=scene.points[:count],
        colors=scene.colors[:count],
        instance=scene.instance[:count],
    )


def at_one_place(scene: Scene, place: Tensor) -> Scene:
    """All points at one place (3,), on the object of the first box."""
    assert scene.instance is not None
    points = place.expand_as(scene.points).contiguous()
    return replace(scene, points=points, instance=torch.zeros_like(scene.instance))


def without_instances(scene: Scene) -> Scene:
    return replace(scene, instance=None)


CASES: dict[str, Callable[[bool], list[Scene]]] = {
    "mixed sizes": lambda rotated: [room(0, 2000, rotated), room(1, 300, rotated)],
    "one scene without boxes": lambda rotated: [
        room(0, 2000, rotated),
        without_boxes(room(1, 2000, rotated)),
    ],
    "no ground truth": lambda rotated: [
        without_boxes(room(seed, 2000, rotated)) for seed in range(2)
    ],
    "no ground truth and no instances": lambda rotated: [
        without_instances(without_boxes(room(0, 2000, rotated)))
    ],
    "fewer points than the network draws": lambda rotated: [room(0, 100, rotated)],
    "objects without points": lambda rotated: [first_points(room(0, 2000, rotated), 40)],
    "one point": lambda rotated: [first_points(room(0, 2000, rotated), 1)],
    "one point beside a room": lambda rotated: [
        first_points(room(0, 2000, rotated), 1),
        room(1, 2000, rotated),
    ],
    "equal points": lambda rotated: [
        at_one_place(room(0, 300, rotated), room(0, 300, rotated).boxes.centers[0])
    ],
    # Where most originals sample no point.
    "all points at the origin": lambda rotated: [
        at_one_place(room(0, 300, rotated), torch.zeros(3))
    ],
    "no instances": lambda rotated: [
        without_instances(room(0, 2000, rotated)),
        room(1, 2000, rotated),
    ],
}


def test_every_family_is_here() -> None:
    assert TINY.keys() == FAMILIES.keys()


@pytest.mark.parametrize("dataset", ROTATED)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_and_a_detection(family: str, case: str, dataset: str) -> None:
    model, scenes = tiny_detector(family, dataset), CASES[case](ROTATED[dataset])
    generators = [generator_for(0, position) for position in range(len(scenes))]
    losses = batch_losses(model.train(), scenes, generators=generators)
    assert all(bool(value.isfinite()) for value in losses.values().values()), losses
    losses.total.backward()
    bad = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not parameter.grad.isfinite().all()
    }
    assert bad == set()
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
    with torch.no_grad():
        each = model.eval().detections(model(model.inputs(scenes)))
    assert len(each) == len(scenes)
    for scene in scenes:
        found = model.detect(scene.points, scene.colors)
        assert found.boxes.shape == (len(found.labels), 7)
        assert found.boxes.isfinite().all()
        assert found.scores.isfinite().all()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_published_augmentation(family: str, case: str) -> None:
    published = with_overrides(
        default_config("scannet"),
        [f"model={family}", f"augment={family}", "augment.crop_points=20"],
    )
    for position, scene in enumerate(CASES[case](False)):
        moved = augment(scene, published.augment, False, generator_for(0, position))
        check_scene(moved, SYNTHETIC.classes, case)
        assert len(moved.boxes) <= len(scene.boxes)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("family", FAMILIES)
def test_coordinates_that_are_no_numbers_are_refused(family: str, value: float) -> None:
    model, scene = tiny_detector(family), room(0, 300, False)
    points = scene.points.clone()
    points[7, 1] = value
    for use in (model.detect, model.raw_outputs):
        with refuses(Kind.VALUE, field="points"):
            use(points, scene.colors)
    with refuses(Kind.EMPTY, field="points"):
        model.detect(points[:0], scene.colors[:0])
