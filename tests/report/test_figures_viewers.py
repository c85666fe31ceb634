"""Viewers of the scenes of a figure: which are written, and where the report links them."""

import re
import shutil
import time
from urllib.parse import unquote

import pytest
import torch

from sr3d.data.prepared import PreparedDataset, read_manifest
from sr3d.data.scene import Scene
from sr3d.geometry.boxes import Boxes
from sr3d.study.report.figures import draw_figures
from sr3d.study.report.figures.drawing import POINTS, viewer_name, viewers_in
from sr3d.study.report.figures.scene_choice import SCORE
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import read_paper
from sr3d.study.report.report_folder import write_report
from sr3d.study.report.viewer import write_scene_viewer
from tests.report.figure_trees import make_full_tree, scored_test
from tests.report.html_page import Page
from tests.report.test_viewer import read
from tests.shared_data import ROOT

TABLES = ROOT / "workflow" / "tables.yaml"
PAPER = read_paper(TABLES)
LAYERS = ["SR3D", "Baseline", "ground truth"]


@pytest.fixture(scope="module")
def results(rooms, tmp_path_factory):
    """Runs whose evaluations have a box in each of the prepared rooms. SR3D finds two of three."""
    folder = tmp_path_factory.mktemp("results")
    scenes = PreparedDataset(rooms, "val").ids
    truth = {scene: [(0, 0, 1)] for scene in scenes}
    wrong, right = [(0, 9, 0.9), (0, 5, 0.1)], [(0, 0, 0.9)]
    tests = {
        "baseline": scored_test(truth, dict.fromkeys(scenes, wrong)),
        "sr3d": scored_test(truth, dict(zip(scenes, (right, wrong, right), strict=True))),
    }
    digest = read_manifest(rooms).digest()
    data = {"dataset": "synthetic", "split": "val", "scenes": 3, "digest": digest}
    make_full_tree(folder, {"baseline": [], "sr3d": []}, tests, trainings=1, data=data)
    return folder


def drawn(results, out, data, names=("fig5",)):
    return draw_figures(PAPER, Findings(results, "synthetic"), out, names, data)


@pytest.fixture(scope="module")
def figure(results, rooms, tmp_path_factory):
    """Fig. 5 with its viewers, alone in a folder."""
    (one,) = drawn(results, tmp_path_factory.mktemp("drawn"), rooms)
    return one


@pytest.fixture(scope="module")
def report(results, rooms, tmp_path_factory):
    """The folder of a report, and the files that `write_report` returned."""
    out = tmp_path_factory.mktemp("report")
    names = ["table2", "fig5"]
    return out, write_report(results, TABLES, out, names, ["synthetic"], {"synthetic": rooms})


def test_every_scene_that_is_shown_has_a_viewer_of_its_boxes(figure, rooms):
    folder = figure.svg.parent
    data = PreparedDataset(rooms, "val")
    # In the order of the pictures: gains of 1, 1 and 0.
    assert [v.scene for v in figure.viewers] == [data.ids[i] for i in (0, 2, 1)]
    assert set(figure.files()) == set(folder.iterdir())
    for viewer in figure.viewers:
        assert viewer.path == folder / f"fig5_synthetic.{viewer.scene}.html"
        scene, table = read(viewer.path)
        room = data[data.ids.index(viewer.scene)]
        assert scene["title"] == f"Fig. 5: {viewer.scene}"
        assert scene["score"] == SCORE
        assert len(table) == len(room.points) < POINTS
        ours, baseline, truth = scene["layers"]
        assert [layer["name"] for layer in (ours, baseline, truth)] == LAYERS
        assert [box[0] for box in baseline["boxes"]] == [9, 5]  # those below SCORE, too
        assert len(truth["boxes"]) == len(room.boxes)
        names = [c["name"] for c in scene["classes"]]
        assert [names[i] for i in truth["labels"]] == [
            data.manifest.classes[i] for i in room.labels
        ]


def test_a_second_drawing_gives_the_same_bytes(figure, results, rooms, tmp_path):
    (other,) = drawn(results, tmp_path, rooms)
    assert len(figure.viewers) == 3
    for first, second in zip(figure.viewers, other.viewers, strict=True):
        assert first.path.read_bytes() == second.path.read_bytes()


def test_the_parts_of_the_figure_are_where_the_scenes_pictures_are(figure):
    ends = [(viewer.top, viewer.bottom) for viewer in figure.viewers]
    flat = [end for pair in ends for end in pair]
    assert flat == sorted(flat)
    assert flat[0] >= 0
    assert flat[-1] < 1  # the classes' names stand below
    svg = figure.svg.read_text()
    height = float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', svg)[1])
    for viewer, (top, bottom) in zip(figure.viewers, ends, strict=True):
        title = re.search(rf'translate\([\d.]+ ([\d.]+)\)">{viewer.scene}<', svg) or re.search(
            rf'y="([\d.]+)"[^>]*>{viewer.scene}<', svg
        )
        assert top < float(title[1]) / height < top + 0.2 * (bottom - top)


@pytest.mark.parametrize("data", ["none", "others", "nowhere"])
def test_without_the_tested_points_there_is_none_and_those_of_before_go(
    figure, results, rotated_rooms, tmp_path, data
):
    shutil.copytree(figure.svg.parent, tmp_path, dirs_exist_ok=True)
    of_others = (
        "fig5_synthetic_rotated.room.html",
        "fig9_synthetic.room.html",
        "fig5_synthetic.md",
    )
    for name in of_others:
        (tmp_path / name).touch()
    (tmp_path / "fig5_synthetic.a-scene-of-before.html").touch()
    folder = {"none": None, "others": rotated_rooms, "nowhere": tmp_path / "nowhere"}[data]
    (found,) = drawn(results, tmp_path, folder)
    assert found.svg is not None
    assert found.viewers == ()
    assert viewers_in(tmp_path, "fig5_synthetic") == []
    assert all((tmp_path / name).exists() for name in of_others)


def test_a_figure_without_pictures_has_no_viewers(results, rooms, tmp_path):
    first, second = drawn(results, tmp_path, rooms, ["fig5", "fig9"])
    assert len(first.viewers) == 3
    assert (second.svg, second.viewers) == (None, ())  # all scenes are in Fig. 5


def test_names_of_files_are_plain():
    assert viewer_name("fig5_scannet", "scene0011_00") == "fig5_scannet.scene0011_00.html"
    assert viewer_name("fig5_own", "Küche_1.2+a-b") == "fig5_own.Küche_1.2+a-b.html"
    assert viewer_name("fig5_own", "../a b") == "fig5_own...-a-b.html"


def test_large_clouds_are_thinned_and_a_viewer_stays_small(tmp_path):
    points = torch.rand(1_000_000, 3, generator=torch.Generator().manual_seed(0)) * 5
    points[:, 2] = 0
    boxes = Boxes(torch.zeros(0, 7))
    scene = Scene("hall", points, points / 5, boxes, torch.zeros(0, dtype=torch.int64))
    started = time.perf_counter()
    write_scene_viewer(tmp_path / "hall.html", "Hall", scene, {}, ("chair",), most=POINTS)
    assert time.perf_counter() - started < 20  # two seconds on an idle machine
    kept, table = read(tmp_path / "hall.html")
    assert 0.8 * POINTS < len(table) <= POINTS
    assert f"{len(table):,} of 1,000,000 " in kept["cloud"]["note"]
    assert (tmp_path / "hall.html").stat().st_size < 2.5e6


def test_the_page_links_to_the_files_beside_it(report):
    out, files = report
    page = Page((out / "index.html").read_text())
    links = [a["href"] for a in page.of("a") if not a["href"].startswith("#")]
    viewers = [path for name in ("fig5", "worst") for path in viewers_in(out, f"{name}_synthetic")]
    # Each once on its picture, and once by its name.
    assert sorted(map(unquote, links)) == sorted(2 * [path.name for path in viewers])
    assert len(viewers) == 2 * 3
    assert set(viewers) <= set(files)
    assert {path.name for path in out.iterdir()} == {path.name for path in files}
    names = [unquote(href).split(".")[1] for href in links[:3]]
    assert ", ".join(names) in page.texts("class", "viewers")[0]
    # The links on the picture are for the mouse only, because the same links follow as text.
    over = [a for a in page.of("a") if a.get("class") == "scene"]
    assert all((a["tabindex"], a["aria-hidden"]) == ("-1", "true") for a in over)


def test_the_index_in_markdown_links_to_them_too(report):
    out, _ = report
    text = (out / "index.md").read_text()
    line = next(line for line in text.splitlines() if "(fig5_synthetic.svg)" in line)
    links = dict(re.findall(r"\[([^]]*)\]\(([^)]*)\)", line))
    links = {name.replace("\\", ""): target for name, target in links.items()}
    for path in viewers_in(out, "fig5_synthetic"):
        assert links[path.stem.partition(".")[2]] == path.name
    assert all((out / target).is_file() for target in re.findall(r"\]\(([^)]*)\)", text))


def test_without_points_the_page_and_the_index_have_no_such_links(results, tmp_path):
    write_report(results, TABLES, tmp_path, ["fig5"], ["synthetic"])
    page = Page((tmp_path / "index.html").read_text())
    assert all(a["href"].startswith("#") for a in page.of("a"))
    assert not page.texts("class", "viewers")
    assert ".html" not in (tmp_path / "index.md").read_text()


def test_a_click_on_a_picture_opens_its_scene(report, open_page):
    out, _ = report
    page = open_page(out / "index.html", "large")
    spot = page.locator("#fig5-synthetic .scene").nth(1)
    box, picture = spot.bounding_box(), page.locator("#fig5-synthetic img").bounding_box()
    assert picture["y"] < box["y"]
    assert box["y"] + box["height"] < picture["y"] + picture["height"]
    target = spot.get_attribute("href")
    spot.click()
    page.wait_for_url(f"**/{target}")
    assert page.title() == f"Fig. 5: {unquote(target).split('.')[1]}"
    page.go_back()
    page.locator("#fig5-synthetic figcaption .viewers a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/fig5_synthetic.*.html")
