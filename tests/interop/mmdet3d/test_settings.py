"""mmengine's dictionaries become our configuration, or one sentence that says what is wrong."""

import pytest

pytest.importorskip("mmdet3d", reason="needs the environment of envs/openmmlab.sh")

from mmengine.config import ConfigDict

from sr3d.data.datasets import Dataset, dataset_of
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.errors import Kind
from sr3d.interop.mmdet3d.config_fields import tr3d_config
from sr3d.interop.mmdet3d.head import SR3DHead
from tests.interop.mmdet3d.samples import build_detector
from tests.refusals import refuses

pytestmark = pytest.mark.openmmlab


def test_nothing_said_is_the_paper() -> None:
    assert tr3d_config("sunrgbd") == default_config("sunrgbd")


def test_fields_are_those_of_the_command() -> None:
    found = tr3d_config(
        "scannet",
        model=ConfigDict(planes=[8, 8, 8, 8]),
        assigner=ConfigDict(name="tr3d", k=7),
        loss=dict(cls="focal"),
        test=dict(nms="3d"),
    )
    overrides = [
        "model.planes=[8,8,8,8]",
        "assigner.name=tr3d",
        "assigner.k=7",
        "loss.cls=focal",
        "test.nms=3d",
    ]
    assert found == with_overrides(default_config("scannet"), overrides)


def test_own_data_say_their_classes() -> None:
    own = dict(classes=["crate", "barrel"], levels=[1, 0], rotated=True)
    assert dataset_of(tr3d_config("own", own=own)) == Dataset(
        "own", ("crate", "barrel"), (1, 0), True
    )
    assert build_detector("synthetic", own={}).bbox_head.dataset.name == "synthetic"
    with refuses(Kind.EMPTY, field="own.classes"):
        SR3DHead("own")


@pytest.mark.parametrize(
    ("groups", "kind", "field", "mentions"),
    [
        ({"assigner": {"nam": "spota"}}, Kind.UNKNOWN, "assigner.nam", ["'name'"]),
        ({"assigner": {"name": "spotta"}}, Kind.UNKNOWN, "assigner.name", ["'spotta'", "'spota'"]),
        ({"loss": {"tau": "warm"}}, Kind.VALUE, "loss.tau", ["'warm'"]),
        ({"assigner": {"k": 0}}, Kind.VALUE, "assigner.k", ["1", "'0'"]),
        ({"test": {"score_th": 0.1}}, Kind.UNKNOWN, "test_cfg.score_th", ["'score_thr'"]),
        ({"test": {"sample_count": 5}}, Kind.UNKNOWN, "test_cfg.sample_count", []),
        ({"model": {"name": "fcaf3d", "planes": [8]}}, Kind.CONFLICT, "model.name", ["'fcaf3d'"]),
        ({"assigner": {"name": "fcaf3d"}}, Kind.CONFLICT, "assigner.name", ["'fcaf3d'"]),
    ],
)
def test_mistakes_are_named(groups: dict, kind: Kind, field: str, mentions: list[str]) -> None:
    with refuses(kind, field=field, mentions=mentions):
        tr3d_config("scannet", **groups)


def test_mistakes_reach_whoever_builds_a_detector() -> None:
    with refuses(Kind.UNKNOWN, field="loss.betta", mentions=["'beta'"]):
        build_detector("synthetic", loss=dict(betta=2.0))
