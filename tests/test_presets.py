"""What presets set: the published values, and nothing that they do not name."""

from __future__ import annotations

import itertools
import re
from functools import partial
from typing import Any

import pytest

from sr3d.config import Config
from sr3d.config_groups import DATASETS
from sr3d.detectors.configuration import default_config, preset_names, with_overrides
from sr3d.detectors.fcaf3d.config import FCAF3DConfig
from sr3d.detectors.tr3d.config import TR3DConfig, TR3DModel
from sr3d.errors import InputError, Kind

REAL = ("scannet", "sunrgbd", "s3dis")
ROOMS = ("synthetic", "synthetic_rotated")


def changed(before: Config, after: Config) -> dict[str, Any]:
    old, new = before.flat(), after.flat()
    return {name: value for name, value in new.items() if value != old.get(name)}


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_preset_gives_a_sound_configuration(dataset: str) -> None:
    for groups in itertools.combinations(preset_names().items(), 2):
        names, choices = zip(*groups, strict=True)
        for pair in itertools.product(*choices):
            overrides = [f"{group}={name}" for group, name in zip(names, pair, strict=True)]
            assert with_overrides(default_config(dataset), overrides).dataset == dataset


@pytest.mark.parametrize("dataset", REAL)
def test_fcaf3d_is_the_published_network(dataset: str) -> None:
    before = default_config(dataset)
    after = with_overrides(before, ["model=fcaf3d"])
    expected: dict[str, Any] = {
        "model.name": "fcaf3d",
        "model.stem_norm": "instance",
        "model.planes": [64, 128, 256, 512],
        "assigner.name": "fcaf3d",
        "loss.cls": "focal",
        "model.pts_prune": 100_000,
        "assigner.fcaf3d_limit": 27,
        "assigner.fcaf3d_top": 18,
    }
    if dataset == "scannet":  # the others draw as many already
        expected["test.sample_count"] = 100_000
    assert changed(before, after) == expected
    c = after
    assert isinstance(c, FCAF3DConfig)
    assert (c.model.blocks, c.model.neck_channels, c.model.voxel_size) == ((3, 4, 6, 3), 128, 0.01)
    assert (c.assigner.fcaf3d_limit, c.assigner.fcaf3d_top, c.model.pts_prune) == (27, 18, 100_000)
    assert (c.test.nms_pre, c.test.score_thr, c.test.iou_thr) == (1000, 0.01, 0.5)


@pytest.mark.parametrize(
    ("name", "dataset", "repeat"),
    [
        ("tr3d", "scannet", 15),
        ("tr3d", "sunrgbd", 5),
        ("tr3d", "s3dis", 13),
        ("fcaf3d", "scannet", 10),
        ("fcaf3d", "sunrgbd", 3),
        ("fcaf3d", "s3dis", 13),
    ],
)
def test_schedules_are_the_published_ones(name: str, dataset: str, repeat: int) -> None:
    train = with_overrides(default_config(dataset), [f"train={name}"]).train
    assert (train.epochs, train.milestones, train.repeat) == (12, (8, 11), repeat)
    assert (train.batch_size, train.lr, train.weight_decay) == (16, 1e-3, 1e-4)
    assert (train.clip_norm, train.warmup_iters) == (10, 0)


@pytest.mark.parametrize("dataset", REAL)
def test_fcaf3d_alone_replaces_scenes_without_boxes(dataset: str) -> None:
    default = default_config(dataset)
    found = {
        name: with_overrides(default, [f"train={name}"]).train.filter_empty_gt
        for name in ("tr3d", "fcaf3d")
    }
    assert found == {"tr3d": False, "fcaf3d": True}
    assert not default.train.filter_empty_gt


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("scannet", (100_000, 0.5, 0.5, 5.0, (0.9, 1.1), 0.1)),
        ("sunrgbd", (100_000, 0.5, 0.0, 30.0, (0.85, 1.15), 0.1)),
        ("s3dis", (100_000, 0.5, 0.5, 5.0, (0.9, 1.1), 0.1)),
    ],
)
def test_fcaf3ds_augmentation_is_the_published_one(
    dataset: str, expected: tuple[object, ...]
) -> None:
    a = with_overrides(default_config(dataset), ["augment=fcaf3d"]).augment
    found = a.sample_count, a.flip_x, a.flip_y, a.rotation, a.scale, a.translation
    assert found == expected


@pytest.mark.parametrize("dataset", ROOMS)
def test_rooms_keep_their_schedule_voxels_and_augmentation(dataset: str) -> None:
    before = default_config(dataset)
    after = with_overrides(before, ["model=fcaf3d", "augment=fcaf3d", "train=fcaf3d"])
    assert (after.train, after.augment) == (before.train, before.augment)
    assert isinstance(after, FCAF3DConfig)
    assert isinstance(before, TR3DConfig)
    assert (after.test.sample_count, after.test.nms_pre) == (15_000, 300)
    assert after.model.voxel_size == before.model.voxel_size
    assert sum(after.model.planes) < 200
    assert with_overrides(before, ["train=tr3d", "model=tr3d"]) == before


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_small_fcaf3d_is_that_of_the_rooms_on_any_data(dataset: str) -> None:
    rooms = with_overrides(default_config("synthetic"), ["model=fcaf3d"])
    found = with_overrides(default_config(dataset), ["model=fcaf3d_small"])
    assert found.model == rooms.model
    assert isinstance(found, FCAF3DConfig)
    assert (found.assigner.name, found.loss.cls) == ("fcaf3d", "focal")
    before = default_config(dataset).flat()
    tests = {name: value for name, value in found.flat().items() if name.startswith("test.")}
    assert tests == {name: before[name] for name in tests}
    small = with_overrides(found, ["train=small", "augment=small"])
    assert (small.model, small.train) == (
        found.model,
        with_overrides(default_config(dataset), ["train=small"]).train,
    )


def test_a_preset_replaces_its_group_and_later_overrides_win() -> None:
    before = with_overrides(default_config("scannet"), ["model.neck_channels=9", "train.lr=5"])
    after = with_overrides(before, ["model=tr3d", "train=tr3d", "train.epochs=30"])
    assert after.model == TR3DModel()
    assert (after.train.lr, after.train.epochs) == (1e-3, 30)


@pytest.mark.parametrize(
    ("overrides", "replaced"),
    [
        (["model.voxel_size=0.02", "model=fcaf3d"], "model.voxel_size=0.02"),
        (["assigner.name=tr3d", "model=fcaf3d"], "assigner.name=tr3d"),
        (["test.sample_count=7", "model=fcaf3d"], "test.sample_count=7"),
        (["train.lr=1", "augment=tr3d", "train=tr3d"], "train.lr=1"),
        (["train=small", "train=tr3d"], "train=small"),
        (["model=fcaf3d", "model=tr3d"], "model=fcaf3d"),
    ],
)
def test_a_preset_replaces_nothing_that_was_given_before_it(
    overrides: list[str], replaced: str
) -> None:
    with pytest.raises(InputError) as error:
        with_overrides(default_config("scannet"), overrides)
    assert {overrides[-1], replaced} <= {*re.split(r"[ ,;:]+", str(error.value))}


def test_a_preset_may_come_after_what_it_leaves_as_it_is() -> None:
    config = partial(with_overrides, default_config("scannet"))
    same = ["model.voxel_size=0.01", "train.lr=2", "model=fcaf3d", "model=fcaf3d"]
    assert config(same) == config(["model=fcaf3d", "train.lr=2"])
    again = with_overrides(config(["train=tr3d", "train.lr=2"]), ["train=tr3d"])
    assert again == config(["train=tr3d"])  # it replaces what a configuration had


@pytest.mark.parametrize(
    ("overrides", "field", "kind", "told"),
    [
        (["model=fcaf"], "model", Kind.UNKNOWN, "'fcaf3d'"),
        (["train=paper"], "train", Kind.UNKNOWN, ", ".join(preset_names()["train"])),
        (["model.name=fcaf3d"], "model.name", Kind.CONFLICT, "model=fcaf3d"),
        (["model=fcaf3d", "model.name=tr3d"], "model.name", Kind.CONFLICT, "model=tr3d"),
        (["model.name=fcaf"], "model.name", Kind.UNKNOWN, "tr3d"),
        (["model=fcaf3d", "assigner.name=tr3d"], "assigner.name", Kind.UNKNOWN, "fcaf3d"),
        (["model=fcaf3d", "loss.cls=ras"], "loss.cls", Kind.UNKNOWN, "focal"),
        (["model=fcaf3d", "test.oracle=iou"], "test.oracle", Kind.UNKNOWN, "tr3d"),
        (["model=fcaf3d", "assigner.k=7"], "assigner.k", Kind.UNKNOWN, "tr3d"),
        (["model.pts_prune=7"], "model.pts_prune", Kind.UNKNOWN, "fcaf3d"),
        (["model=fcaf3d", "model.planes=[8]"], "model.planes", Kind.VALUE, "two to four"),
        (["model=fcaf3d", "model.planes=[8, 8]"], "model.blocks", Kind.VALUE, "model.planes"),
        (["model.planes=[8, 8]"], "model.planes", Kind.VALUE, "four"),
        (["model=fcaf3d", "model.pts_prune=0"], "model.pts_prune", Kind.VALUE, "from 1"),
        (["model=fcaf3d", "assigner.fcaf3d_top=0"], "assigner.fcaf3d_top", Kind.VALUE, "from 1"),
    ],
)
def test_what_does_not_go_together_gets_one_sentence(
    overrides: list[str], field: str, kind: Kind, told: str
) -> None:
    with pytest.raises(InputError) as error:
        with_overrides(default_config("scannet"), overrides)
    assert (error.value.field, error.value.kind) == (field, kind)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_value_that_another_family_has_not_is_replaced_by_its_preset() -> None:
    with pytest.raises(InputError) as error:
        with_overrides(default_config("scannet"), ["loss.tau=0.2", "model=fcaf3d"])
    assert (error.value.field, error.value.kind) == ("model=fcaf3d", Kind.CONFLICT)
    kept = with_overrides(default_config("scannet"), ["loss.focal_gamma=1", "model=fcaf3d"])
    assert kept.flat()["loss.focal_gamma"] == 1


def test_fcaf3ds_assigner_goes_with_tr3ds_network() -> None:
    config = with_overrides(default_config("scannet"), ["assigner.name=fcaf3d"])
    assert config.model.name == "tr3d"
