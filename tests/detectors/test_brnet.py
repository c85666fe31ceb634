"""BRNet's coding of boxes by distances to faces, its points, and what its heading's loss costs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.brnet.loss import assign, heading_refinement
from sr3d.detectors.brnet.names import own_name, published_name
from sr3d.detectors.brnet.network import decode, faces_of, traced
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_inputs import PaddedTruth

number = st.floats(-3, 3, width=32)
size = st.floats(0.25, 3, width=32)
boxes = st.tuples(number, number, number, size, size, size, st.floats(-3, 3, width=32))


@settings(deadline=None)
@given(boxes, number, number, number)
def test_distances_to_faces_give_the_box_back(box, x, y, z) -> None:
    target = torch.tensor([[box]])
    reference = torch.tensor([[[x, y, z]]])
    found = decode(reference, faces_of(reference, target), -target[..., 6])
    torch.testing.assert_close(found, target, rtol=1e-4, atol=1e-4)


def test_points_lie_on_faces_and_halfway() -> None:
    reference = torch.tensor([[[1.0, 2.0, 3.0]]])
    distances = torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]])
    (points,) = traced(reference, distances, torch.zeros(1, 1), density=2)
    moved = points[0] - reference[0]
    assert moved[0].tolist() == [1, 0, 0]  # the face +x
    assert moved[1].tolist() == [0.5, 0, 0]
    assert moved[2].tolist() == [0, 2, 0]
    assert moved[6].tolist() == [-4, 0, 0]
    assert moved[11].tolist() == [0, 0, -3]
    # A heading of a quarter turns clockwise: +x becomes -y.
    (turned,) = traced(reference, distances, torch.full((1, 1), math.pi / 2), density=2)
    torch.testing.assert_close(turned[0, 0] - reference[0, 0], torch.tensor([0.0, -1.0, 0.0]))


def test_a_proposal_outside_its_box_is_negative_however_near_its_centre() -> None:
    thin = torch.tensor([[0.0, 0.0, 0.0, 0.1, 2.0, 2.0, 0.0]])
    truth = PaddedTruth.of(GroundTruth.collate([thin], [torch.tensor([3])]), 1, least=1)
    inside, outside, far = [0.04, 0.0, 0.0], [0.2, 0.0, 0.0], [0.0, 0.9, 0.0]
    found = assign(torch.tensor([[inside, outside, far]]), truth, HeadingBins(1), near=0.3)
    assert found.positive.tolist() == [[True, False, False]]
    assert found.used.all()
    assert bool((found.distances >= 0).all())
    assert found.label.tolist() == [[3, 3, 3]]


def test_a_scene_without_boxes_has_no_positives() -> None:
    none = GroundTruth.collate([torch.zeros(0, 7)], [torch.zeros(0, dtype=torch.int64)])
    found = assign(torch.zeros(1, 4, 3), PaddedTruth.of(none, 1, least=1), HeadingBins(12), 0.3)
    assert not found.positive.any()


@pytest.mark.parametrize("one_sided", [True, False])
def test_the_original_wraps_headings_on_one_side(one_sided: bool) -> None:
    bins, near_turn = HeadingBins(12), torch.tensor(2 * math.pi - 0.1)
    small = torch.tensor(0.1)
    found, wanted = near_turn, small  # the difference is below minus half a turn
    loss = heading_refinement(found, wanted, bins, one_sided)
    assert (float(loss) == 0) == one_sided
    other = heading_refinement(small, near_turn, bins, one_sided)
    assert float(other) == pytest.approx(0.5 * 0.2**2, rel=1e-4)


def test_names_have_an_inverse() -> None:
    for name in (
        "backbone.SA_modules.0.mlps.0.layer2.bn.running_mean",
        "backbone.FP_modules.1.mlps.layer1.conv.weight",
        "rpn_head.vote_module.vote_conv.1.bn.bias",
        "rpn_head.vote_module.conv_out.bias",
        "roi_head.roi_extractor.seed_aggregation.mlps.0.layer2.bn.weight",
        "roi_head.bbox_head.conv_pred.shared_convs.layer0.conv.weight",
    ):
        ours = own_name(f"module.{name}")
        assert ours is not None
        assert ours != name
        assert published_name(ours) == name
