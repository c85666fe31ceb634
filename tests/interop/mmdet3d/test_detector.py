"""`SR3D` in mmdet3d is our detector: same weights, same boxes, same gradients."""

from pathlib import Path

import pytest

pytest.importorskip("mmdet3d", reason="needs the environment of envs/openmmlab.sh")

import torch
from torch.testing import assert_close

from sr3d.detectors.tr3d.detector import TR3D
from sr3d.errors import Kind
from sr3d.interop.mmdet3d.box_conversion import from_mmdet3d
from tests.family_configs import tr3d_config
from tests.interop.mmdet3d.samples import build_detector, clouds, samples, scenes
from tests.refusals import refuses

pytestmark = pytest.mark.openmmlab

KINDS = [("synthetic", "rooms"), ("synthetic_rotated", "rotated_rooms")]


@pytest.mark.parametrize(("dataset", "folder"), KINDS)
def test_boxes_are_those_of_our_detector(
    dataset: str, folder: str, request: pytest.FixtureRequest
) -> None:
    some = scenes(request.getfixturevalue(folder), "val")
    theirs = build_detector(dataset).eval()
    torch.nn.init.normal_(theirs.bbox_head.conv_cls.kernel, std=0.5)
    ours = TR3D(tr3d_config(dataset))
    ours.load_state_dict(theirs.state_dict())
    rotated = ours.dataset.rotated
    with torch.no_grad():
        found = theirs(clouds(some), samples(some, rotated), mode="predict")
    for scene, sample in zip(some, found, strict=True):
        expected = ours.detect(scene.points, scene.colors)
        instances = sample.pred_instances_3d
        assert instances.bboxes_3d.with_yaw == rotated
        assert len(expected.scores) > 0
        assert_close(instances.scores_3d, expected.scores)
        assert torch.equal(instances.labels_3d, expected.labels)
        assert_close(from_mmdet3d(instances.bboxes_3d), expected.boxes)


@pytest.mark.parametrize(("dataset", "folder"), KINDS)
def test_every_parameter_learns(dataset: str, folder: str, request: pytest.FixtureRequest) -> None:
    some = scenes(request.getfixturevalue(folder))
    model = build_detector(dataset)
    rotated = dataset == "synthetic_rotated"
    total, logged = model.parse_losses(model(clouds(some), samples(some, rotated), mode="loss"))
    assert_close(total.detach(), logged["bbox_loss"].detach() + logged["cls_loss"].detach())
    total.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_minkowski_engine_may_compute_it(rooms: Path) -> None:
    pytest.importorskip("MinkowskiEngine")
    some = scenes(rooms)
    truth = samples(some, rotated=False)
    native, other = (build_detector("synthetic", engine=name) for name in ("native", "minkowski"))
    expected = native(clouds(some), truth, mode="loss")
    assert_close(other(clouds(some), truth, mode="loss"), expected, rtol=1e-4, atol=1e-5)


def test_voxels_may_be_represented_at_random(rooms: Path) -> None:
    some = scenes(rooms)
    model = build_detector("synthetic").eval()
    model.voxel_pick = "random"
    with torch.no_grad():
        first, second = (model.extract_feat(clouds(some))[0].features for _ in range(2))
        torch.manual_seed(3)
        third = model.extract_feat(clouds(some))[0].features
        torch.manual_seed(3)
        again = model.extract_feat(clouds(some))[0].features
    assert not torch.equal(first, second)
    assert torch.equal(third, again)


def test_points_without_colours_are_refused(rooms: Path) -> None:
    bare = {"points": [scene.points for scene in scenes(rooms)]}
    with refuses(Kind.VALUE, field="points", mentions=["3"]) as caught:
        build_detector("synthetic")(bare, mode="tensor")
    assert "use_color=True" in str(caught.value.remedy)


def test_colours_up_to_255_are_refused(rooms: Path) -> None:
    some = clouds(scenes(rooms))
    some["points"][1][:, 3:] *= 255
    with refuses(Kind.VALUE, field="points", mentions=[" 25"]) as caught:
        build_detector("synthetic")(some, mode="tensor")
    assert "NormalizePointsColor" in str(caught.value.remedy)
