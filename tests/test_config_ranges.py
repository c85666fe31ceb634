"""Every number of the configuration has a range. What lies outside is refused, what lies inside
trains and detects.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from annotated_types import Interval
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sr3d.data.loader import generator_for
from sr3d.data.rooms.generate import generate_room
from sr3d.data.transforms import augment, sample_points
from sr3d.detectors import build_detector
from sr3d.detectors.configuration import config_from_dict, default_config, with_overrides
from sr3d.detectors.tr3d.config import TR3DConfig
from sr3d.errors import InputError
from sr3d.evaluate.loop import detect_scene
from sr3d.train.schedule import build_optimizer
from sr3d.train.step import train_step
from sr3d.value_types import holds, interval_of

ROOM = generate_room(seed=3, points=1500)
THIN = [
    "model.stem_channels=4",
    "model.planes=[4, 4, 4, 4]",
    "model.blocks=[1, 1, 1, 1]",
    "model.neck_channels=4",
]
METHODS = [
    ["assigner.name=spota", "loss.cls=ras"],
    ["assigner.name=tr3d", "loss.cls=qfl"],
    ["assigner.name=simota", "loss.cls=vfl"],
    ["assigner.name=align_ota", "loss.cls=focal"],
    ["assigner.name=fcaf3d", "loss.rank_scope=image"],
]
# Inside its range, but a step with it takes many seconds.
CHEAP = {
    "model.voxel_size": Interval(ge=0.1, le=10),
    "augment.sample_count": Interval(ge=0, le=5000),
    "augment.scale": Interval(ge=0.01, le=2),
    "test.sample_count": Interval(ge=0, le=5000),
}


def numbers() -> Iterator[tuple[str, Any]]:
    """Dotted name and type of every number and list of numbers of the first family."""
    for group, hint in typing.get_type_hints(TR3DConfig, include_extras=True).items():
        if interval_of(hint) is not None:
            yield group, hint
        elif isinstance(hint, type):
            for name, inner in typing.get_type_hints(hint, include_extras=True).items():
                if "Literal" not in str(inner) and ("int" in str(inner) or "float" in str(inner)):
                    yield f"{group}.{name}", inner


NUMBERS = dict(numbers())
RANGES = {name: found for name, hint in NUMBERS.items() if (found := interval_of(hint)) is not None}


def ends_of(allowed: Interval) -> tuple[Any, Any]:
    return (allowed.ge if allowed.gt is None else allowed.gt), allowed.le


def written(name: str, value: Any) -> str:
    """An override, with as many numbers as the default has."""
    default = default_config("scannet").flat()[name]
    if isinstance(default, list):
        return f"{name}={[value] * max(len(default), 1)}"
    return f"{name}={value}"


def test_every_number_declares_its_range() -> None:
    assert len(NUMBERS) > 35
    assert NUMBERS.keys() == RANGES.keys()


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, ".nan", ".inf", "-.inf", "1e300", 10**400])
def test_a_number_that_no_run_can_use_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        with_overrides(default_config("scannet"), [written(name, value)])


@pytest.mark.parametrize("name", RANGES)
def test_the_ends_of_a_range(name: str) -> None:
    allowed = RANGES[name]
    low, high = ends_of(allowed)
    assert holds(allowed, high)
    assert not holds(allowed, math.nextafter(high, math.inf))
    assert holds(allowed, low) is (allowed.gt is None)
    assert not holds(allowed, math.nextafter(low, -math.inf))
    assert not holds(allowed, math.nan)


def values(name: str, allowed: Interval) -> st.SearchStrategy[str]:
    """Overrides at the ends of a range and in between."""
    whole = "int" in str(NUMBERS[name])
    low, high = ends_of(allowed)
    low = low if allowed.gt is None else math.nextafter(low, math.inf)
    middle = st.integers(int(low), int(high)) if whole else st.floats(low, high)
    ends = st.sampled_from([int(low), int(high)] if whole else [low, high])
    return st.one_of(ends, middle).map(lambda value: written(name, value))


FREE = {
    name: CHEAP.get(name, allowed)
    for name, allowed in RANGES.items()
    if name.startswith(("assigner.", "loss.", "augment.", "test.", "train."))
    and name not in ("train.epochs", "train.milestones", "train.repeat", "train.batch_size")
} | {"model.voxel_size": CHEAP["model.voxel_size"]}


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(METHODS),
    st.lists(st.sampled_from([*FREE]), min_size=1, max_size=6, unique=True).flatmap(
        lambda names: st.tuples(*(values(name, FREE[name]) for name in names))
    ),
)
def test_what_is_accepted_trains_a_step_and_detects(
    method: list[str], overrides: tuple[str, ...]
) -> None:
    config = with_overrides(default_config("synthetic"), [*THIN, *method, *overrides])
    torch.manual_seed(0)
    model = build_detector(config).train()
    scene = augment(ROOM, config.augment, False, generator_for(config.seed, 0))
    optimizer = build_optimizer(model, config.train)
    values = train_step(model, [scene], optimizer, config.train.clip_norm)
    assert torch.isfinite(values["loss"])
    assert all(torch.isfinite(value).all() for value in model.parameters())
    count = config.test.sample_count
    room = sample_points(ROOM, count, generator_for(1)) if count else ROOM
    with torch.inference_mode():
        try:
            found, _ = detect_scene(model.eval(), room, generator_for(0))
        except InputError:  # an absurd rate makes the weights diverge, which evaluation refuses
            return
    assert found.boxes.shape == (len(found.labels), 7)


@pytest.mark.parametrize(
    ("epochs", "milestones", "good"),
    [
        (13, "[8, 11, 12]", True),
        (1, "[]", True),
        (2, "[1]", True),
        (13, "[8, 11, 13]", False),  # the rate would never drop
        (6, "[8]", False),
        (13, "[11, 8]", False),
        (13, "[8, 8]", False),
        (13, "[0]", False),
        (13, "[-1]", False),
    ],
)
def test_milestones_rise_within_the_epochs(epochs: int, milestones: str, good: bool) -> None:
    overrides = [f"train.epochs={epochs}", f"train.milestones={milestones}"]
    if good:
        with_overrides(default_config("scannet"), overrides)
        return
    with pytest.raises(InputError, match=r"train\.milestones"):
        with_overrides(default_config("scannet"), overrides)


def test_a_finished_run_with_milestones_beyond_its_epochs_is_read_and_tested() -> None:
    """Earlier versions accepted them, and they had no effect."""
    value = default_config("scannet").to_dict()
    value["train"] |= {"epochs": 1, "milestones": [8]}
    config = config_from_dict(value)
    assert with_overrides(config, ["test.nms=3d"]).train.milestones == (8,)
    assert config.to_dict() == value
    with pytest.raises(InputError, match=r"train\.milestones"):
        with_overrides(config, ["train.epochs=2"])
