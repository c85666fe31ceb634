import dataclasses
from typing import Any

import pytest

from sr3d.config import AugmentConfig, check
from sr3d.config_groups import DATASETS
from sr3d.detectors import FAMILIES
from sr3d.detectors.configuration import (
    config_from_dict,
    config_schema,
    default_config,
    with_overrides,
)
from sr3d.detectors.tr3d.config import TR3DConfig
from sr3d.errors import InputError, Kind
from sr3d.runs.files import digest


def test_defaults_are_the_papers() -> None:
    c = default_config("scannet")
    assert isinstance(c, TR3DConfig)
    assert (c.assigner.k, c.assigner.mu, c.loss.beta, c.loss.tau) == (6, 1.0, 1.0, 0.1)
    assert (c.train.epochs, c.train.milestones, c.train.batch_size) == (13, (8, 11, 12), 16)
    assert (c.train.warmup_iters, c.train.warmup_start_lr, c.train.weight_decay) == (
        300,
        1e-5,
        1e-4,
    )
    assert (c.test.score_thr, c.test.iou_thr, c.model.voxel_size) == (0.01, 0.5, 0.01)
    assert (c.augment.rotation, c.augment.scale) == (5.0, (0.6, 1.4))


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_data_set_has_a_default_that_survives_json(dataset: str) -> None:
    config = default_config(dataset)
    check(config)
    assert config.dataset == dataset
    assert config_from_dict(config.to_dict()) == config


def test_overrides_apply_left_to_right_and_change_the_digest() -> None:
    c = default_config("scannet")
    d = with_overrides(c, ["assigner.k=7", "assigner.k=8", "loss.tau=1e-2", "test.nms=3d"])
    assert isinstance(d, TR3DConfig)
    assert (d.assigner.k, d.loss.tau, d.test.nms) == (8, 0.01, "3d")
    assert d.digest() != c.digest()
    assert with_overrides(c, []) == c
    assert with_overrides(c, ["train.milestones=[1, 2]"]).train.milestones == (1, 2)
    assert with_overrides(c, ["train.lr=1"]).train.lr == 1.0  # a whole number is a number


def with_earlier_fields(recorded: dict[str, Any]) -> dict[str, Any]:
    """As version 0.1 wrote it, with FCAF3D's fields in every configuration."""
    for name, value in TR3DConfig.earlier.items():
        group, key = name.split(".")
        recorded[group][key] = value
    return recorded


def test_a_later_field_at_its_default_leaves_the_digest_of_earlier_runs() -> None:
    config = default_config("scannet")
    recorded = config.to_dict()
    # As runs before these fields had it.
    del recorded["mean_sizes"]
    for name in (
        "filter_empty_gt", "keep_last", "optimizer", "momentum", "schedule", "schedule_by",
        "schedule_power", "min_lr", "warmup_epochs", "dampening", "decay", "decay_steps",
    ):  # fmt: skip
        del recorded["train"][name]
    for name in (
        "crop", "crop_aspect", "crop_points", "crop_when", "keep_front", "shift",
        "elastic", "tilt", "colour_shift", "colour_noise",
    ):  # fmt: skip
        del recorded["augment"][name]
    assert config_from_dict(recorded) == config
    assert config.digest() == digest(with_earlier_fields(recorded))
    assert with_overrides(config, ["train.filter_empty_gt=true"]).digest() != config.digest()
    assert with_overrides(config, ["train.precision=tf32"]).digest() != config.digest()


def test_augment_presets() -> None:
    scannet = with_overrides(default_config("scannet"), ["augment=tr3d"])
    assert scannet.augment.rotation == pytest.approx(1.1459156)
    sunrgbd = with_overrides(default_config("sunrgbd"), ["augment=tr3d", "augment.flip_y=0.5"])
    assert sunrgbd.augment == AugmentConfig(
        sample_count=100_000, flip_y=0.5, rotation=30.0, scale=(0.85, 1.15)
    )


@pytest.mark.parametrize(
    ("override", "field", "kind", "told"),
    [
        ("asigner.k=7", "asigner.k", Kind.UNKNOWN, "'assigner.k'"),
        ("assigner.kk=7", "assigner.kk", Kind.UNKNOWN, "'assigner.k'"),
        ("k=7", "k", Kind.UNKNOWN, "'k'"),
        ("modle=tr3d", "modle", Kind.UNKNOWN, "'model'"),
        ("tran=small", "tran", Kind.UNKNOWN, "'train'"),
        ("tset=1", "tset", Kind.UNKNOWN, "'test'"),
        ("qqq=7", "qqq", Kind.UNKNOWN, "sr3d config"),
        ("assigner.k.x=7", "assigner.k.x", Kind.UNKNOWN, "'assigner.k"),
        ("assigner=7", "assigner", Kind.VALUE, "assigner."),
        ("assigner.k", "assigner.k", Kind.VALUE, "name=value"),
        ("assigner.k=six", "assigner.k", Kind.VALUE, "'six'"),
        ("assigner.k=6.5", "assigner.k", Kind.VALUE, "'6.5'"),
        ("assigner.k=6.0", "assigner.k", Kind.VALUE, "'6.0'"),
        ("assigner.k='6'", "assigner.k", Kind.VALUE, "'6'"),
        ("assigner.k=true", "assigner.k", Kind.VALUE, "'True'"),
        ("assigner.k=", "assigner.k", Kind.VALUE, "'None'"),
        ("assigner.k=[6]", "assigner.k", Kind.VALUE, "'[6]'"),
        ("assigner.k=2020-01-01", "assigner.k", Kind.VALUE, "'2020-01-01'"),
        ("assigner.vertex_distance=1", "assigner.vertex_distance", Kind.VALUE, "'1'"),
        ("assigner.vertex_distance={1: 2}", "assigner.vertex_distance", Kind.VALUE, "2}"),
        ("loss.tau=warm", "loss.tau", Kind.VALUE, "'warm'"),
        ("loss.tau=true", "loss.tau", Kind.VALUE, "'True'"),
        ("loss.cls=foca", "loss.cls", Kind.UNKNOWN, "'focal'"),
        ("loss.cls=1", "loss.cls", Kind.UNKNOWN, "ras, focal"),
        ("augment.scale=1", "augment.scale", Kind.VALUE, "'1'"),
        ("augment.scale=[1]", "augment.scale", Kind.VALUE, "2"),
        ("augment.scale=[1, 1, 1]", "augment.scale", Kind.VALUE, "3"),
        ("augment.scale=[1, true]", "augment.scale[1]", Kind.VALUE, "'True'"),
        ("augment=ours", "augment", Kind.UNKNOWN, "sr3d, tr3d, fcaf3d"),
        ("loss.tau=0", "loss.tau", Kind.VALUE, "1e-06"),
        ("dataset=sunrgbd", "dataset=sunrgbd", Kind.CONFLICT, "sunrgbd"),
        ("dataset=moon", "dataset=moon", Kind.CONFLICT, "moon"),
        ("loss.tau=nan", "loss.tau", Kind.VALUE, "'nan'"),
        ("loss.tau=.nan", "loss.tau", Kind.VALUE, "'nan'"),
        ("test.score_thr=.inf", "test.score_thr", Kind.VALUE, "'inf'"),
        ("train.clip_norm=-1", "train.clip_norm", Kind.VALUE, "'-1'"),
        ("train.weight_decay=-1", "train.weight_decay", Kind.VALUE, "'-1'"),
        ("train.warmup_iters=-1", "train.warmup_iters", Kind.VALUE, "'-1'"),
        ("augment.flip_y=7", "augment.flip_y", Kind.VALUE, "'7'"),
        ("assigner.k=0", "assigner.k", Kind.VALUE, "10000"),
        ("augment.scale=[1.4, 0.6]", "augment.scale", Kind.VALUE, "[1.4, 0.6]"),
        ("model.planes=[1, 2]", "model.planes", Kind.VALUE, "[1, 2]"),
        ("model.stem_stride=3", "model.stem_stride", Kind.UNKNOWN, "1, 2"),
        ("train.lr=[", "train.lr", Kind.VALUE, "'['"),
    ],
)
def test_bad_overrides_get_one_sentence(override: str, field: str, kind: Kind, told: str) -> None:
    with pytest.raises(InputError) as error:
        with_overrides(default_config("scannet"), [override])
    assert (error.value.field, error.value.kind) == (field, kind)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_data_set_and_unknown_field() -> None:
    with pytest.raises(InputError) as error:
        default_config("scanet")
    assert (error.value.field, error.value.kind) == ("dataset", Kind.UNKNOWN)
    assert "'scannet'" in str(error.value)
    value = default_config("scannet").to_dict()
    value["loss"]["focal_gama"] = 1
    with pytest.raises(InputError) as error:
        config_from_dict(value)
    assert (error.value.field, error.value.kind) == ("loss.focal_gama", Kind.UNKNOWN)
    assert "'focal_gamma'" in str(error.value)


@pytest.mark.parametrize("value", [None, [], "text", {"loss": 3}, {"model": {"name": "segnet"}}])
def test_what_is_no_configuration_is_refused(value: Any) -> None:
    with pytest.raises(InputError) as error:
        config_from_dict(value)
    assert error.value.field in ("configuration", "loss", "model.name")


def test_flat_names_every_field() -> None:
    config = default_config("scannet")
    flat = config.flat()
    count = sum(
        len(dataclasses.fields(value)) if dataclasses.is_dataclass(value) else 1
        for value in vars(config).values()
    )
    assert len(flat) == count
    assert flat["loss.rdl_form"] == "rank"


def test_the_schema_for_editors_has_every_key_with_its_limits() -> None:
    schema = config_schema()
    by_name = {name: schema["$defs"][name] for name in schema["$defs"]}
    names, *cases = schema["allOf"]
    assert names["properties"]["model"]["properties"]["name"]["enum"] == [*FAMILIES]
    named = [case["then"]["$ref"].rpartition("/")[2] for case in cases]
    assert named == [family.config.__name__ for family in FAMILIES.values()]
    # Without a name a configuration is of the first family alone.
    assert ["required" in case["if"] for case in cases] == [False] + [True] * (len(cases) - 1)
    assert by_name["TR3DConfig"]["additionalProperties"] is False
    k = by_name["AssignerConfig"]["properties"]["k"]
    assert (k["minimum"], k["maximum"], k["default"]) == (1, 10_000, 6)
    assert by_name["FCAF3DModel"]["properties"]["name"]["const"] == "fcaf3d"
