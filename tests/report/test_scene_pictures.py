"""Pictures show every box and class, at the same scale in both directions, the same each time."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from PIL import Image

from sr3d.data.datasets import SYNTHETIC
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.errors import Kind
from sr3d.geometry.boxes import Boxes
from sr3d.study.report.scene_pictures import (
    class_style,
    draw_scene,
    scene_figure,
    write_scene_pictures,
)
from tests.refusals import refuses
from tests.report.printed import numbers_in

CLASSES = ("chair", "table", "_$bed", "lamp")


@pytest.fixture(scope="module")
def turned() -> Scene:
    """A cloud of 4 × 6 × 2.5 m with two boxes, one turned by 30 degrees."""
    draw = torch.Generator().manual_seed(0)
    points = torch.rand(3000, 3, generator=draw) * torch.tensor([4, 6, 2.5])
    boxes = [[1, 1, 0.5, 0.6, 0.8, 1, 0], [3, 4, 0.4, 2, 1, 0.8, math.radians(30)]]
    colors = torch.rand(3000, 3, generator=draw)
    return Scene("a_$b$", points, colors, Boxes.from_array(boxes), torch.tensor([0, 2]))


def views(figure: Figure) -> dict[str, Axes]:
    """The three views by their axes: xy, xz, yz."""
    named = {axes.get_xlabel()[:1] + axes.get_ylabel()[:1]: axes for axes in figure.axes}
    return {name: axes for name, axes in named.items() if name}


def outlines(axes: Axes) -> list[np.ndarray]:
    found = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert len(found) == 1
    return [np.asarray(line) for line in found[0].get_segments()]


def drawn_points(axes: Axes) -> np.ndarray:
    found = [c for c in axes.collections if isinstance(c, PathCollection)]
    assert len(found) == 1
    return np.asarray(found[0].get_offsets())


def rounded(points: np.ndarray) -> set[tuple[float, ...]]:
    return {tuple(row) for row in np.round(points.astype(float), 4).tolist()}


def texts(figure: Figure) -> list[str]:
    legends = [axes.get_legend() for axes in figure.axes]
    named = [text.get_text() for legend in legends if legend for text in legend.get_texts()]
    return named + [t.get_text() for axes in figure.axes for t in axes.texts]


def test_boxes_lie_where_they_are(turned: Scene) -> None:
    seen = views(scene_figure(turned, CLASSES))
    assert set(seen) == {"xy", "xz", "yz"}
    corners = turned.boxes.corners().numpy()
    for k, line in enumerate(outlines(seen["xy"])):
        assert np.allclose(line[0], line[-1])
        assert rounded(line) == rounded(corners[k, :, :2])
        # Round the face and not across it: the sides are as long as the box's.
        lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
        dx, dy = turned.boxes.sizes[k, :2].tolist()
        assert lengths == pytest.approx([dx, dy, dx, dy], rel=1e-4)
    for plane, columns in (("xz", [0, 2]), ("yz", [1, 2])):
        for k, line in enumerate(outlines(seen[plane])):
            assert len(rounded(line)) == 4
            assert line.min(axis=0) == pytest.approx(corners[k][:, columns].min(axis=0), rel=1e-4)
            assert line.max(axis=0) == pytest.approx(corners[k][:, columns].max(axis=0), rel=1e-4)


def test_legend_title_axes_and_aspect(turned: Scene) -> None:
    figure = scene_figure(turned, CLASSES)
    assert texts(figure) == ["1 chair", r"1 _\$bed"]
    heads = [text.get_text() for text in figure.texts]
    assert heads[0].startswith("a_$b$: ")
    assert numbers_in(heads[0]) == ["3,000", "2"]  # points, boxes
    assert "z = 2.0 m" in heads[1]
    assert "yaw" in heads[1]
    assert "3,000" not in numbers_in(heads[1])  # all points are drawn
    for name, axes in views(figure).items():
        assert axes.get_aspect() == 1
        assert axes.get_xlabel() == f"{name[0]} (m)"
        (left, right), size = axes.get_xlim(), dict(x=4, y=6, z=2.5)[name[0]]
        assert size < right - left < size + 1


def test_the_top_and_the_near_sides_are_left_out(turned: Scene) -> None:
    seen, points = views(scene_figure(turned, CLASSES)), turned.points.numpy()
    for name, columns, kept in (
        ("xy", [0, 1], points[:, 2] < 2.0),
        ("xz", [0, 2], points[:, 1] > 1.2),
        ("yz", [1, 2], points[:, 0] < 3.2),
    ):
        ours = rounded(drawn_points(seen[name]))
        assert len(ours ^ rounded(points[kept][:, columns])) < 0.01 * len(points)
        assert 0.75 < len(ours) / len(points) < 0.85


def test_a_heading_only_where_boxes_turn(turned: Scene) -> None:
    top = views(scene_figure(turned, CLASSES))["xy"]
    tips = np.concatenate([line.get_xydata() for line in top.lines])
    expected = [[1.3, 1.0], [3 + math.cos(math.radians(30)), 4.5]]
    assert tips == pytest.approx(np.array(expected), rel=1e-5)
    straight = replace(turned, boxes=turned.boxes.enclosing())
    figure = scene_figure(straight, CLASSES)
    assert len(views(figure)["xy"].lines) == 0
    assert "yaw" not in figure.texts[1].get_text()


def test_every_class_has_a_style_of_its_own() -> None:
    styles = [class_style(label) for label in range(24)]
    assert len({color for color, _ in styles}) == 24
    assert all(0 <= v <= 1 for color, _ in styles for v in color)
    assert class_style(24) == styles[0]


def test_few_points_are_chosen_the_same_each_time(turned: Scene) -> None:
    once, again = (scene_figure(turned, CLASSES, max_points=100) for _ in range(2))
    for name in ("xy", "xz", "yz"):
        ours = drawn_points(views(once)[name])
        assert 60 <= len(ours) <= 100
        assert np.array_equal(ours, drawn_points(views(again)[name]))
    assert {"100", "3,000"} <= set(numbers_in(once.texts[1].get_text()))


def test_odd_scenes_are_drawn_too(turned: Scene) -> None:
    bare = replace(turned, boxes=Boxes.empty(), labels=turned.labels[:0])
    assert texts(scene_figure(bare, CLASSES)) == ["no boxes"]
    points, boxes = turned.points.clone(), turned.boxes.tensor.clone()
    points[0], boxes[0, 2] = torch.nan, torch.inf
    far = replace(turned, points=points, boxes=Boxes(boxes).translated(torch.tensor([50.0, 0, 0])))
    figure = scene_figure(far, CLASSES)
    assert texts(figure) == [r"1 _\$bed"]
    assert views(figure)["xy"].get_xlim()[1] > 53
    lost = replace(turned, points=turned.points * torch.nan)
    for scene in (bare, far, lost):
        scene_figure(scene, CLASSES).savefig(io.BytesIO(), format="png")


def test_a_file_that_is_whole_and_the_same(turned: Scene, tmp_path: Path) -> None:
    paths = [tmp_path / "new" / "a.png", tmp_path / "b.png"]
    for path in paths:
        draw_scene(turned, CLASSES, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with Image.open(paths[0]) as image:
        assert (image.format, image.size) == ("PNG", (1400, 900))
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    count = [
        int((pixels == [round(255 * v) for v in class_style(k)[0]]).all(1).sum()) for k in range(3)
    ]
    assert min(count[0], count[2]) > 200
    assert count[1] == 0  # of the class that the scene lacks
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.png", "new"]  # nothing left beside


def test_scenes_of_a_split(rooms: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    chosen = ["room_000003", "room_000001"]
    paths = write_scene_pictures(
        rooms, "train", chosen, tmp_path, max_points=500, progress=lambda *d: calls.append(d)
    )
    assert paths == [tmp_path / f"{scene}.png" for scene in sorted(chosen)]
    assert sorted(tmp_path.iterdir()) == paths
    assert calls == [(1, 2), (2, 2)]
    assert len(write_scene_pictures(rooms, "val", None, tmp_path / "all", max_points=10)) == 3
    with refuses(Kind.UNKNOWN, file=rooms, mentions=["'room_000009'", "train", "'room_00000"]):
        write_scene_pictures(rooms, "train", ["room_000009"], tmp_path)
    with refuses(Kind.UNKNOWN, file=rooms, mentions=["'vall'", "'val'"]):
        write_scene_pictures(rooms, "vall", None, tmp_path)


def test_the_classes_of_a_room(rooms: Path) -> None:
    scene = PreparedDataset(rooms, "train")[0]
    labels = sorted(set(scene.labels.tolist()))
    names = [text.split(" ", 1)[1] for text in texts(scene_figure(scene, SYNTHETIC.classes))]
    assert names == [SYNTHETIC.classes[label] for label in labels]
