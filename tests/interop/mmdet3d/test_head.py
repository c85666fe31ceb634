"""The head computes what our own detector does, from our tensors and from MinkowskiEngine's."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmdet3d", reason="needs the environment of envs/openmmlab.sh")

import torch
from mmdet3d.registry import MODELS
from torch.testing import assert_close

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.interop.mmdet3d.box_conversion import from_mmdet3d
from sr3d.sparse import SparseTensor
from tests.family_configs import tr3d_config
from tests.interop.mmdet3d.samples import build_detector, clouds, samples, scenes

pytestmark = pytest.mark.openmmlab


def head(levels: list[SparseTensor], **fields: object) -> Any:
    torch.manual_seed(0)
    channels = levels[0].features.shape[1]
    size = tr3d_config("synthetic").model.voxel_size
    found = MODELS.build(
        dict(
            type="SR3DHead",
            dataset="synthetic",
            in_channels=channels,
            voxel_size=size,
            train_cfg=None,
            test_cfg=dict(nms_pre=300),
            **fields,
        )
    )
    torch.nn.init.normal_(found.conv_cls.kernel, std=0.5)  # so that something is detected
    return found


@pytest.fixture(scope="module")
def levels(rooms: Path) -> list[SparseTensor]:
    with torch.no_grad():
        return build_detector("synthetic").extract_feat(clouds(scenes(rooms)))


def on_minkowski(level: SparseTensor) -> Any:
    engine = pytest.importorskip("MinkowskiEngine")
    order = torch.randperm(len(level.features), generator=torch.Generator().manual_seed(1))
    return engine.SparseTensor(
        level.features[order], level.sites.coords[order], tensor_stride=level.sites.stride
    )


@pytest.mark.parametrize(
    ("assigner", "loss"),
    [
        ({}, {}),
        ({"name": "tr3d"}, {"cls": "focal"}),
        ({"name": "simota"}, {"cls": "qfl"}),
        ({"name": "align_ota"}, {"cls": "vfl"}),
    ],
)
def test_losses_are_those_of_our_detector(
    rooms: Path, levels: list[SparseTensor], assigner: dict, loss: dict
) -> None:
    overrides = [f"assigner.{name}={value}" for name, value in assigner.items()]
    overrides += [f"loss.{name}={value}" for name, value in loss.items()]
    ours = TR3D(tr3d_config("synthetic", *overrides))
    theirs = head(levels, assigner=assigner, loss=loss)
    ours.bbox_head.load_state_dict(theirs.state_dict())
    some = scenes(rooms)
    truth = GroundTruth.collate([s.boxes.tensor for s in some], [s.labels for s in some])
    terms = ours.loss(theirs(levels), truth)
    found = theirs.loss(levels, samples(some, rotated=False))
    assert_close(found["bbox_loss"], terms.terms["box"])
    assert_close(found["cls_loss"], terms.terms["cls"])
    assert float(found["positives"]) == terms.curves["positives"] > 0


def test_minkowski_engines_tensors_give_the_same(rooms: Path, levels: list[SparseTensor]) -> None:
    theirs = [on_minkowski(level) for level in levels]
    model, truth = head(levels), samples(scenes(rooms), rotated=False)
    for name, value in model.loss(levels, truth).items():
        assert_close(model.loss(theirs, truth)[name], value)
    for ours, other in zip(model.predict(levels, truth), model.predict(theirs, truth), strict=True):
        assert len(ours.scores_3d) > 0
        assert_close(ours.scores_3d, other.scores_3d)
        assert_close(ours.bboxes_3d.tensor, other.bboxes_3d.tensor)


def test_predictions_are_those_of_our_detector(rooms: Path, levels: list[SparseTensor]) -> None:
    ours = TR3D(tr3d_config("synthetic"))
    theirs = head(levels)
    predictions = theirs(levels)
    for i, found in enumerate(theirs.predict(levels, [None, None])):
        expected = ours.select(predictions[predictions.anchors.scenes == i])
        assert_close(from_mmdet3d(found.bboxes_3d), expected.boxes)
        assert_close(found.scores_3d, expected.scores)
        assert torch.equal(found.labels_3d, expected.labels)


def test_boxes_of_classes_that_are_left_out_do_not_count(
    rooms: Path, levels: list[SparseTensor]
) -> None:
    model, some = head(levels), scenes(rooms)
    fewer, marked = samples(some, rotated=False), samples(some, rotated=False)
    for sample in fewer:
        sample.gt_instances_3d = sample.gt_instances_3d[1:]
    for sample in marked:
        sample.gt_instances_3d.labels_3d = sample.gt_instances_3d.labels_3d.clone()
        sample.gt_instances_3d.labels_3d[0] = -1
    assert_close(model.loss(levels, marked), model.loss(levels, fewer))


def test_a_batch_without_boxes_has_a_loss(rooms: Path, levels: list[SparseTensor]) -> None:
    empty = samples(scenes(rooms), rotated=False)
    for sample in empty:
        sample.gt_instances_3d = sample.gt_instances_3d[:0]
    terms = head(levels).loss(levels, empty)
    assert float(terms["positives"]) == 0 == float(terms["bbox_loss"].detach())
    assert torch.isfinite(terms["cls_loss"])
