"""The content of a viewer's file: points and boxes, and their encoding."""

import base64
import html
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from sr3d.data.scene import Scene
from sr3d.errors import Kind
from sr3d.geometry.box_set import BoxSet
from sr3d.geometry.boxes import Boxes
from sr3d.study.report.scene_pictures import class_style
from sr3d.study.report.viewer import BoxLayer, write_scene_viewer, write_viewer
from sr3d.study.report.viewer.cloud import MOST_POINTS, pack_cloud, rgb565, thin
from sr3d.study.report.viewer.layers import MOST_BOXES, best_overlaps, class_color, describe_layers
from tests.refusals import refuses
from tests.report.printed import numbers_in

CLASSES = ("chair", "table", "sofa")
UNIT = [0, 0, 0, 1, 1, 1, 0]


def cloud_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3)).astype(np.float32) * [4, 3, 2.5]


def unpacked(packed) -> np.ndarray:
    """Points as the page decodes them."""
    return packed.low + packed.packed[:, :3].astype(float) * packed.step


def read(path) -> tuple[dict, np.ndarray]:
    """Scene and packed points of a file, as in the browser."""
    text = path.read_text("utf-8")
    scene = re.search(r'<script type="application/json" id="scene">(.*?)</script>', text, re.S)
    points = re.search(r'<script type="text/plain" id="points">(.*?)</script>', text, re.S)
    assert scene is not None
    assert points is not None
    table = np.frombuffer(base64.b64decode(points[1]), "<u2").reshape(-1, 4)
    return json.loads(scene[1]), table


def layer(boxes=(UNIT,), labels=(0,), scores=None, name="truth", classes=CLASSES) -> BoxLayer:
    return BoxLayer(name, boxes, labels, scores, classes)


# Points


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 300),
    scale=st.floats(0.01, 100),
    shift=st.floats(-1e4, 1e4),
)
def test_points_come_back_to_half_a_step(seed, count, scale, shift):
    points = np.random.default_rng(seed).normal(size=(count, 3)).clip(-3, 3) * scale + shift
    packed = pack_cloud(points, None)
    there = unpacked(packed)
    assert len(there) == count
    # Every given point has its own: sorted alike they differ by no more than rounding.
    for axis in range(3):
        apart = np.abs(np.sort(there[:, axis]) - np.sort(points[:, axis]))
        assert apart.max() <= packed.step[axis] / 2 + 1e-9


def test_every_beginning_of_the_points_is_an_even_sample():
    points = np.stack([np.linspace(0, 1, 20_000)] * 3, axis=1)  # from one corner to the other
    beginning = unpacked(pack_cloud(points, None))[:2000, 0]
    counts = np.histogram(beginning, 10, (0, 1))[0]
    assert counts.min() > 150
    assert counts.max() < 250


def test_the_same_cloud_gives_the_same_bytes():
    points, colors = cloud_of(1000), cloud_of(1000, 1).clip(0, 1)
    assert pack_cloud(points, colors).base64() == pack_cloud(points, colors).base64()


def test_more_points_than_a_page_holds_are_thinned_to_one_a_voxel():
    points = cloud_of(30_000)
    points[:, 2] = 0  # a floor
    packed = pack_cloud(points, None, most=5000)
    assert 4000 < len(packed.packed) <= 5000
    assert packed.given == 30_000
    cells = {tuple(cell) for cell in np.floor((points - points.min(0)) / packed.voxel).astype(int)}
    assert len(packed.packed) <= len(cells)
    # Every omitted point has a neighbour in its voxel.
    there = unpacked(packed)
    for point in points[::500]:
        nearest = np.linalg.norm(there - point, axis=1).min()
        assert nearest <= packed.voxel * np.sqrt(2) + 1e-3


def test_thinning_is_exact_for_the_voxel_that_it_names():
    points = cloud_of(3000, 3)
    rows, voxel = thin(points, 800)
    seen, first = set(), []
    for row, cell in enumerate(np.floor((points - points.min(axis=0)) / voxel).astype(int)):
        if tuple(cell) not in seen:
            seen.add(tuple(cell))
            first.append(row)
    assert rows.tolist() == first
    assert 700 < len(rows) <= 800


def test_points_that_all_coincide_can_be_thinned():
    assert len(pack_cloud(np.ones((500, 3)), None, most=100).packed) == 1


def test_points_that_are_not_finite_or_far_off_are_left_out_and_counted():
    points = cloud_of(5000)
    points[7], points[8, 1], points[9] = np.nan, np.inf, 1e6
    packed = pack_cloud(points, None)
    assert (len(packed.packed), packed.strays) == (4997, 3)
    assert packed.step.max() < 1e-4  # the others keep a tenth of a millimetre


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_cloud_of_hardly_any_points_has_a_frame(count):
    packed = pack_cloud(cloud_of(count), None)
    assert len(packed.packed) == count
    assert (packed.frame[1] > packed.frame[0]).all()
    assert np.isfinite(packed.step).all()


def test_colours_keep_their_mean_and_their_ends():
    generator = np.random.default_rng(0)
    grey = rgb565(np.full((40_000, 3), 0.41), generator)
    channels = np.stack([grey >> 11, grey >> 5 & 63, grey & 31], axis=1) / [31, 63, 31]
    assert channels.mean(axis=0) == pytest.approx([0.41] * 3, abs=0.002)
    assert len(np.unique(grey)) > 1  # dithered
    wild = np.array([[0, 0, 0], [1, 1, 1], [np.nan, 2, -1]])
    ends = [rgb565(wild, np.random.default_rng(seed)) for seed in range(20)]
    assert {int(x[2]) for x in ends} == {0b0000011111100000}
    assert all(x[0] == 0 and x[1] == 0xFFFF for x in ends)


# Boxes


def test_classes_have_the_colours_that_the_reports_pictures_have():
    for index in range(50):
        assert class_color(index) == to_hex(class_style(index)[0]), index


def test_layers_of_different_classes_share_one_list():
    described = describe_layers(
        [
            layer([UNIT, UNIT], [0, 2], [0.5, 0.6], "ours"),
            layer([UNIT, UNIT], [1, 0], None, "truth", ("lamp", "sofa")),
        ]
    )
    assert [one["name"] for one in described["classes"]] == ["chair", "table", "sofa", "lamp"]
    assert [one["labels"] for one in described["layers"]] == [[0, 2], [2, 3]]


def test_layers_have_strokes_of_their_own_and_truth_is_dashed():
    described = describe_layers(
        [layer(scores=[0.5], name="a"), layer(name="truth"), layer(scores=[0.5], name="b")]
    )
    strokes = [one["stroke"] for one in described["layers"]]
    assert strokes[0] == "solid"
    assert strokes[1] == "dashed"
    assert len(set(strokes)) == 3


def test_overlaps_are_those_of_the_best_of_its_class_and_of_a_better_one_of_another():
    iou = np.array([[0.2, 0.6, 0.0], [0.5, 0.4, 0.0], [0.0, 0.0, 0.0], [0.0, 0.3, 0.0]])
    same = np.array([[1, 0, 1], [1, 0, 1], [1, 0, 1], [0, 0, 0]], dtype=bool)
    assert best_overlaps(iou, same) == [[(1, 0.6), (0, 0.2)], [(0, 0.5)], [], [(1, 0.3)]]


def test_overlap_of_a_shifted_and_of_a_turned_box_is_theirs():
    shifted, turned = [0.5, 0, 0, 1, 1, 1, 0], [10, 0, 0, 1, 1, 1, np.pi / 4]
    described = describe_layers(
        [
            layer([shifted, turned], [0, 1], [0.9, 0.8], "ours"),
            layer([UNIT, [10, 0, 0, 1, 1, 1, 0]], [0, 1]),
        ]
    )
    ours, truth = described["layers"]
    octagon = 2 * (np.sqrt(2) - 1)  # what two unit squares share, one turned by 45°
    assert ours["overlaps"][0] == [(0, pytest.approx(1 / 3, abs=1e-3))]
    assert ours["overlaps"][1] == [(1, pytest.approx(octagon / (2 - octagon), abs=1e-3))]
    assert truth["overlaps"] == []


def test_tensors_arrays_and_lists_are_the_same():
    given = [[0.1, 2, 3, 1, 2, 0.5]]
    results = [
        describe_layers([layer(make(given), make([1]), make([0.25]))])
        for make in (list, np.array, torch.tensor)
    ]
    assert results[0] == results[1] == results[2]
    assert results[0]["layers"][0]["boxes"] == [[0.1, 2, 3, 1, 2, 0.5, 0]]


@pytest.mark.parametrize(
    ("bad", "kind", "field", "numbers"),
    [
        (layer(labels=[0, 1]), Kind.CONFLICT, "layer 'truth': labels", ["2", "1"]),
        (layer(scores=[0.1, 0.2]), Kind.CONFLICT, "layer 'truth': scores", ["2", "1"]),
        (layer(labels=[3]), Kind.VALUE, "layer 'truth': labels", ["3 to 3", "3 classes"]),
        (layer(labels=[-1]), Kind.VALUE, "layer 'truth': labels", ["-1 to -1", "3 classes"]),
        (layer([[0, 0, 0, 1, -1, 1, 0]]), Kind.VALUE, "layer 'truth': boxes", []),
        (layer([[np.nan, 0, 0, 1, 1, 1, 0]]), Kind.VALUE, "layer 'truth': boxes", []),
        (layer(scores=[np.nan]), Kind.VALUE, "layer 'truth': scores", []),
        (layer([[0, 0, 0]]), Kind.VALUE, "layer 'truth': boxes", ["(K, 7)"]),
        (
            layer(np.tile(UNIT, (MOST_BOXES + 1, 1)), np.zeros(MOST_BOXES + 1)),
            Kind.VALUE,
            "viewer",
            ["20,001", "20,000"],
        ),
    ],
)
def test_a_layer_that_does_not_fit_together_is_refused(bad, kind, field, numbers):
    with refuses(kind, field=field, mentions=numbers):
        describe_layers([bad])


# The file


def test_the_file_holds_points_and_boxes(tmp_path):
    path = tmp_path / "a" / "room.html"
    write_viewer(path, "Room", cloud_of(500), cloud_of(500).clip(0, 1), [layer()], score=0.3)
    scene, table = read(path)
    assert len(table) == scene["cloud"]["count"] == 500
    assert scene["cloud"]["colored"]
    assert scene["score"] == 0.3
    assert scene["layers"][0]["boxes"] == [UNIT]


def test_names_cannot_break_out_of_the_page(tmp_path):
    wicked = "</script><b onclick='x'>&\u2028{{points}}"
    path = tmp_path / "room.html"
    write_viewer(path, wicked, cloud_of(3), None, [layer(name=wicked, classes=[wicked])])
    text = path.read_text("utf-8")
    scene, _ = read(path)
    assert scene["title"] == scene["layers"][0]["name"] == scene["classes"][0]["name"] == wicked
    assert "</script><b" not in text
    assert f"<title>{html.escape(wicked)}</title>" in text


def test_nothing_in_the_page_is_loaded_from_elsewhere(tmp_path):
    path = tmp_path / "room.html"
    write_viewer(path, "Room", cloud_of(3), None, [])
    text = path.read_text("utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:,)""", text)
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


def test_a_full_page_stays_below_15_megabytes(tmp_path):
    path = tmp_path / "room.html"
    count = 2 * MOST_POINTS
    points = np.random.default_rng(0).random((count, 3), dtype=np.float32)
    points[:, 2] *= 0.001
    boxes = np.tile(
        np.float32([1.23456, -2.34567, 0.98765, 1.1111, 2.2222, 3.3333, 0.1234]), (99, 1)
    )
    write_viewer(path, "Hall", points, points, [layer(boxes, np.zeros(99), np.ones(99))])
    scene, table = read(path)
    assert path.stat().st_size < 15e6
    assert 0.9 * MOST_POINTS < len(table) <= MOST_POINTS
    note = scene["cloud"]["note"]
    assert numbers_in(note)[:2] == [f"{len(table):,}", f"{count:,}"]
    assert " mm" in note  # of the voxel


@pytest.mark.parametrize(
    ("points", "colors", "kind", "field", "shapes"),
    [
        (np.zeros((5, 2)), None, Kind.VALUE, "points", ["(5, 2)", "(N, 3)"]),
        (np.zeros((5, 3)), np.zeros((4, 3)), Kind.CONFLICT, "colors", ["(4, 3)", "(5, 3)"]),
    ],
)
def test_points_that_do_not_fit_are_refused_by_the_files_name(
    tmp_path, points, colors, kind, field, shapes
):
    with refuses(kind, file=tmp_path / "room.html", field=field, mentions=shapes):
        write_viewer(tmp_path / "room.html", "Room", points, colors, [])


def test_a_tested_scene_shows_its_truth_and_each_settings_boxes(tmp_path):
    scene = Scene(
        "scene1",
        torch.rand(50, 3),
        torch.rand(50, 3),
        Boxes(torch.tensor([UNIT], dtype=torch.float32)),
        torch.tensor([1]),
    )
    nowhere = np.float32([np.inf, 0, 0, 1, 1, 1, 0])
    found = BoxSet(
        np.array(["scene0", "scene1", "scene1", "scene1"]),
        np.array([0, 1, 2, 1]),
        np.stack([*np.tile(np.float32(UNIT), (3, 1)), nowhere]),
        np.float32([0.9, 0.8, 0.01, 0.9]),
    )
    path = tmp_path / "scene1.html"
    write_scene_viewer(path, "Fig. 5", scene, {"TR3D": found, "SR3D": found}, CLASSES)
    layers = read(path)[0]["layers"]
    assert [one["name"] for one in layers] == ["TR3D", "SR3D", "ground truth"]
    # Detections of this scene only, without invalid boxes and scores below the threshold.
    assert [one["labels"] for one in layers] == [[1], [1], [1]]
    assert layers[0]["overlaps"] == [[[0, 1.0]]]
    write_scene_viewer(path, "Fig. 5", scene, {}, CLASSES, most=20)
    few, table = read(path)
    assert len(table) == few["cloud"]["count"] <= 20
    assert {f"{len(table)}", "50"} <= set(numbers_in(few["cloud"]["note"]))


def test_layers_without_boxes_are_fine(tmp_path):
    empty = np.zeros((0, 7), np.float32)
    none = np.zeros(0)
    layers = [layer(empty, none, none, "found"), layer(empty, none)]
    described = describe_layers(layers)
    assert [one["boxes"] for one in described["layers"]] == [[], []]
    assert describe_layers([layer([UNIT], [0], [0.5]), layers[1]])["layers"][0]["overlaps"] == [[]]
    write_viewer(tmp_path / "room.html", "Room", np.zeros((0, 3)), None, layers)


def test_it_needs_nothing_that_a_bare_installation_lacks():
    program = (
        "import sys, sr3d.study.report.viewer;"
        "print(sorted({'matplotlib', 'jinja2', 'pandas', 'mlflow'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.stdout.strip() == "[]", told.stderr
