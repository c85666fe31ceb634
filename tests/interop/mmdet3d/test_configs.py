"""The configurations for mmdet3d say what `sr3d train` does, value by value."""

import math

import pytest

pytest.importorskip("mmdet3d", reason="needs the environment of envs/openmmlab.sh")

from mmdet3d.registry import DATASETS, MODELS, TRANSFORMS
from mmengine.config import Config as FileConfig
from mmengine.registry import init_default_scope

from sr3d.config import Config
from sr3d.detectors.configuration import default_config
from sr3d.interop.mmdet3d.config_fields import tr3d_config
from tests.interop.mmdet3d.samples import CONFIGS

pytestmark = pytest.mark.openmmlab

FILES = {"scannet": "sr3d_scannet.py", "sunrgbd": "sr3d_sunrgbd.py", "synthetic": "sr3d_rooms.py"}


@pytest.fixture(params=FILES)
def both(request: pytest.FixtureRequest) -> tuple[FileConfig, Config]:
    init_default_scope("mmdet3d")
    return FileConfig.fromfile(CONFIGS / FILES[request.param]), default_config(request.param)


def steps(pipeline: list) -> dict[str, dict]:
    return {step["type"]: step for step in pipeline}


def test_model(both: tuple[FileConfig, Config]) -> None:
    file, ours = both
    head = file.model.bbox_head
    found = tr3d_config(
        head.dataset,
        model=file.model.network,
        assigner=head.assigner,
        loss=head.loss,
        test=file.model.test_cfg,
    )
    assert found == ours
    MODELS.build(file.model)


def test_augmentation(both: tuple[FileConfig, Config]) -> None:
    file, config = both
    ours, theirs = config.augment, steps(file.train_pipeline)
    for step in file.train_pipeline + file.test_pipeline:
        TRANSFORMS.build(step)
    share, most = ours.sample_fraction
    assert theirs["PointSample"]["num_points"] == (ours.sample_count or share)
    assert most == 1.0
    assert theirs["RandomFlip3D"]["flip_ratio_bev_horizontal"] == ours.flip_x
    assert theirs["RandomFlip3D"]["flip_ratio_bev_vertical"] == ours.flip_y
    move = theirs["GlobalRotScaleTrans"]
    assert [math.degrees(a) for a in move["rot_range"]] == pytest.approx(
        [-ours.rotation, ours.rotation], abs=1e-4
    )
    assert move["scale_ratio_range"] == list(ours.scale)
    assert move["translation_std"] == [ours.translation] * 3
    # Colours of the others are stored from 0 to 1.
    bytes_to_one = config.dataset == "scannet"
    assert ("NormalizePointsColor" in theirs) == bytes_to_one
    assert ("NormalizePointsColor" in steps(file.test_pipeline)) == bytes_to_one
    assert ("GlobalAlignment" in theirs) == (config.dataset == "scannet")
    tested = steps(file.test_pipeline).get("PointSample", {"num_points": 0})
    assert tested["num_points"] == config.test.sample_count


def test_schedule(both: tuple[FileConfig, Config]) -> None:
    file, config = both
    ours, loader = config.train, file.train_dataloader
    assert loader.batch_size == ours.batch_size
    assert loader.dataset.get("times", 1) == ours.repeat
    DATASETS.get(loader.dataset.get("dataset", loader.dataset).type)
    assert file.optim_wrapper.optimizer == dict(
        type="AdamW", lr=ours.lr, weight_decay=ours.weight_decay
    )
    assert file.optim_wrapper.clip_grad == dict(max_norm=ours.clip_norm, norm_type=2)
    warm_up, drops = file.param_scheduler
    assert warm_up.start_factor * ours.lr == pytest.approx(ours.warmup_start_lr)
    assert (warm_up.begin, warm_up.end, warm_up.by_epoch) == (0, ours.warmup_iters, False)
    assert (drops.milestones, drops.gamma) == (list(ours.milestones), 0.1)
    assert file.train_cfg.max_epochs == ours.epochs
