import dataclasses

import pytest

from sr3d.config import (
    DATASETS,
    AugmentConfig,
    Config,
    check,
    config_from_dict,
    default_config,
)
from sr3d.errors import InputError
from sr3d.runs.files import digest
from tests.refusals import refuses


def test_defaults_are_the_papers() -> None:
    c = default_config("scannet")
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
    d = c.with_overrides(["assigner.k=7", "assigner.k=8", "loss.tau=1e-2", "test.nms=3d"])
    assert (d.assigner.k, d.loss.tau, d.test.nms) == (8, 0.01, "3d")
    assert d.digest() != c.digest()
    assert c.with_overrides([]) == c
    assert c.with_overrides(["train.milestones=[1, 2]"]).train.milestones == (1, 2)
    assert c.with_overrides(["train.lr=1"]).train.lr == 1.0  # a whole number is a number


def test_a_later_field_at_its_default_leaves_the_digest_of_earlier_runs() -> None:
    config = default_config("scannet")
    recorded = config.to_dict()
    # As runs before these fields had it.
    del recorded["mean_sizes"]
    for name in (
        "filter_empty_gt", "optimizer", "momentum", "schedule", "schedule_by", "schedule_power",
        "min_lr",
    ):  # fmt: skip
        del recorded["train"][name]
    assert config_from_dict(recorded) == config
    assert config.digest() == digest(recorded)
    assert config.with_overrides(["train.filter_empty_gt=true"]).digest() != config.digest()
    assert config.with_overrides(["train.precision=tf32"]).digest() != config.digest()


def test_augment_presets() -> None:
    scannet = default_config("scannet").with_overrides(["augment=tr3d"])
    assert scannet.augment.rotation == pytest.approx(1.1459156)
    sunrgbd = default_config("sunrgbd").with_overrides(["augment=tr3d", "augment.flip_y=0.5"])
    assert sunrgbd.augment == AugmentConfig(
        sample_count=100_000, flip_y=0.5, rotation=30.0, scale=(0.85, 1.15)
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("asigner.k=7", "did you mean 'assigner.k'?"),
        ("assigner.kk=7", "did you mean 'assigner.k'?"),
        ("k=7", "unknown key 'k'"),
        ("assigner.k.x=7", "unknown key 'assigner.k.x'"),
        ("assigner=7", "is a group"),
        ("assigner.k", "name=value"),
        ("assigner.k=six", "assigner.k: expected a whole number, got 'six'"),
        ("assigner.k=6.5", "expected a whole number"),
        ("assigner.k=true", "expected a whole number"),
        ("assigner.vertex_distance=1", "expected true or false"),
        ("loss.tau=warm", "expected a number"),
        ("loss.cls=foca", "did you mean 'focal'?"),
        ("augment.scale=1", "expected a list"),
        ("augment.scale=[1]", "expected 2 numbers, got 1"),
        ("augment=ours", "choose one of sr3d, tr3d, fcaf3d, paper"),
        ("loss.tau=0", "loss.tau=0.0: must be"),
        ("dataset=sunrgbd", "brings values of its own"),
        ("loss.tau=nan", "loss.tau: expected a finite number"),
        ("test.score_thr=.inf", "expected a finite number"),
        ("train.clip_norm=-1", "train.clip_norm=-1.0: must be"),
        ("train.weight_decay=-1", "train.weight_decay=-1.0: must be"),
        ("train.warmup_iters=-1", "train.warmup_iters=-1: must be"),
        ("augment.flip_y=7", "augment.flip_y=7.0: must be"),
        ("assigner.k=0", "assigner.k=0: must be"),
        ("augment.scale=[1.4, 0.6]", "augment.scale=[1.4, 0.6]: must be"),
        ("model.planes=[1, 2]", "must be four numbers"),
        ("train.lr=[", "cannot read the value"),
    ],
)
def test_bad_overrides_get_one_sentence(override: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        default_config("scannet").with_overrides([override])
    assert message in str(error.value)


def test_unknown_data_set_and_unknown_field() -> None:
    with refuses(mentions=["'scanet'", "'scannet'"]):
        default_config("scanet")
    value = Config().to_dict()
    value["loss"]["gama"] = 1
    with refuses(mentions=["loss.gama"]):
        config_from_dict(value)


def test_flat_names_every_field() -> None:
    flat = Config().flat()
    count = sum(
        len(dataclasses.fields(value)) if dataclasses.is_dataclass(value) else 1
        for value in vars(Config()).values()
    )
    assert len(flat) == count
    assert flat["loss.rdl_form"] == "rank"
