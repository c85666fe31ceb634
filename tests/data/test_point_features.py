from __future__ import annotations

import numpy as np
import pytest
import torch

from sr3d.data.datasets import DATASETS, SCANNET, SUNRGBD
from sr3d.data.mean_sizes import mean_sizes_of
from sr3d.data.mmdet3d.infos import read_infos
from sr3d.data.point_features import floor_height, height_above_floor
from sr3d.data.scene import Scene
from sr3d.errors import InputError
from sr3d.geometry.boxes import Boxes
from tests.shared_data import shared


@pytest.mark.parametrize("count", [1, 2, 57, 5000])
def test_the_floor_is_a_percentile_of_the_heights(count: int) -> None:
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
    expected = np.percentile(points[:, 2].double().numpy(), 0.99)
    assert floor_height(points).item() == pytest.approx(expected, abs=1e-6)
    height = height_above_floor(points)
    assert height.shape == (count, 1)
    torch.testing.assert_close(height[:, 0] + floor_height(points), points[:, 2])
    torch.testing.assert_close(height_above_floor(points[:1], floor_height(points)), height[:1])


def scene(labels: list[int], sizes: list[list[float]]) -> Scene:
    boxes = torch.cat([torch.zeros(len(sizes), 3), torch.tensor(sizes).view(-1, 3)], dim=1)
    boxes = torch.cat([boxes, torch.zeros(len(sizes), 1)], dim=1)
    return Scene("s", torch.zeros(1, 3), torch.zeros(1, 3), Boxes(boxes), torch.tensor(labels))


def test_mean_sizes_are_those_of_each_class() -> None:
    scenes = [scene([0, 2], [[1, 2, 3], [4, 4, 4]]), scene([0], [[3, 2, 1]])]
    found = mean_sizes_of(scenes, 3)
    assert found[0] == (2, 2, 2)
    assert found[2] == (4, 4, 4)
    assert found[1] == pytest.approx((8 / 3, 8 / 3, 8 / 3))  # no box: the mean of all
    with pytest.raises(InputError):
        mean_sizes_of([], 3)


def test_mean_sizes_that_are_known_fit_the_classes() -> None:
    assert all(len(d.mean_sizes) in (0, len(d.classes)) for d in DATASETS.values())
    assert SCANNET.mean_sizes[SCANNET.classes.index("bed")] == (1.876858, 1.84255952, 1.19315654)
    assert SUNRGBD.mean_sizes[SUNRGBD.classes.index("bathtub")] == (0.765840, 1.398258, 0.472728)


def test_published_mean_sizes_are_near_those_of_the_data() -> None:
    """VoteNet's table was made from other versions of some boxes, so they are near, not equal."""
    infos = read_infos(shared("real/scannet/infos/scannet_infos_train.pkl"), SCANNET.classes)
    scenes = [
        Scene(i.id, torch.zeros(0, 3), torch.zeros(0, 3), Boxes(torch.tensor(i.boxes)),
              torch.tensor(i.labels))
        for i in infos
    ]  # fmt: skip
    ratio = torch.tensor(mean_sizes_of(scenes, 18)) / torch.tensor(SCANNET.mean_sizes)
    assert ratio.min() > 0.9
    assert ratio.max() < 1.3
    assert 0.95 < ratio.median() < 1.05
    with np.load(shared("real/sunrgbd/v1_val_gt.npz")) as file:
        box, name = file["box"], file["cls"]
    # The file may have exchanged length and width, so heights and areas are compared.
    for of_class, (x, y, z) in zip(SUNRGBD.classes, SUNRGBD.mean_sizes, strict=True):
        sizes = box[name == of_class][:, 3:6]
        assert np.median(sizes[:, 2]) == pytest.approx(z, rel=0.25)
        assert np.median(sizes[:, 0] * sizes[:, 1]) == pytest.approx(x * y, rel=0.5)
