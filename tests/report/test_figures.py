"""Figures as files: their content, their notes on missing results, and bitwise reproducibility."""

import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr3d.errors import Kind
from sr3d.runs.record import DETECTIONS_FILE
from sr3d.study.report.figures import OWN, draw_figures
from sr3d.study.report.figures.canvas import Canvas
from sr3d.study.report.figures.style import few_colors
from sr3d.study.report.findings import SUMMARY_FILE, Findings, write_summary
from sr3d.study.report.paper import METRICS, printed_dataset, read_paper
from tests.make_runs import edit
from tests.refusals import refuses
from tests.report.figure_trees import lacking, make_full_tree
from tests.shared_data import ROOT

PAPER = read_paper(ROOT / "workflow" / "tables.yaml")
SCANNET, ROOMS = printed_dataset("scannet").label, printed_dataset("synthetic").label
SETTINGS: dict[str, list[str]] = {"tr3d": [], "baseline": [], "sr3d": [], "k4": []}
# Detectors of Table 1, and so of Fig. 1, that are trained in the paper's workflow but not here.
NOT_RUN = [
    row.label
    for row in PAPER.tables["table1"].rows
    if row.setting is not None and row.setting not in SETTINGS
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    make_full_tree(folder, SETTINGS)
    return folder


@pytest.fixture
def copied(results, tmp_path):
    """A copy of the same runs that a test may change."""
    shutil.copytree(results, tmp_path / "results")
    return tmp_path / "results"


def draw(results: Path, out: Path, *names: str, dataset="synthetic", paper=PAPER):
    drawn = draw_figures(paper, Findings(results, dataset), out, names or None)
    return {one.name: one for one in drawn}


@pytest.fixture(scope="module")
def all_drawn(results, tmp_path_factory):
    """Every figure of these runs by its name."""
    return draw(results, tmp_path_factory.mktemp("drawn"))


def test_every_figure_is_drawn_and_says_what_it_lacks(all_drawn):
    drawn = dict(all_drawn)
    assert list(drawn) == [*PAPER.figures, *OWN]
    same = drawn.pop("fig10")
    assert (same.svg, same.png, same.missing) == (None, None, ())
    assert "Fig. 9" in same.caption
    assert ROOMS in same.caption
    for name, one in drawn.items():
        assert one.svg.name == f"{name}_synthetic.svg"
        assert ET.parse(one.svg).getroot().tag.endswith("svg")
        with Image.open(one.png) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100
    assert "FCAF3D" in NOT_RUN
    assert lacking(drawn["fig1"].missing) == NOT_RUN
    assert drawn["fig6"].missing == ()
    assert lacking(drawn["fig8"].missing) == [
        "k = 5, 7, 8, 9, 10",
        "μ = 0.5, 2, 4, 8",
        "β = 0, 0.5, 2, 4",
        "τ = 0.01, 1, 10",
    ]
    assert len(drawn["fig5"].missing) == 1  # the points, as no data were given
    assert drawn["strip"].missing == drawn["curves"].missing == ()


def test_letters_are_text_of_a_readable_size(all_drawn):
    text = all_drawn["fig1"].svg.read_text(encoding="utf-8")
    assert "latency (ms a scene)" in text
    assert "sans-serif" in text  # for those who do not have the first family
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", text)]
    sizes += [float(size) for size in re.findall(r"font: ([\d.]+)px", text)]
    assert sizes
    assert min(sizes) >= 8


def test_a_png_of_few_colours_keeps_those_of_lines():
    draw = np.random.default_rng(0)
    pixels = draw.integers(100, 256, (80, 90, 3), dtype=np.uint8)  # far more than 256 colours
    pixels[:60] = 255
    pixels[3, 4:7], pixels[5, 5] = (213, 94, 1), (0, 114, 178)
    few = few_colors(Image.fromarray(pixels), ["#d55e01", "#0072b2", "#123456"])
    found = np.asarray(few.convert("RGB")).astype(int)
    assert len(np.unique(found.reshape(-1, 3), axis=0)) <= 256
    assert (found[:60] == pixels[:60]).all()  # white and lines, few as they are, to the last bit
    assert np.abs(found - pixels).mean() < 12
    assert not (found == (0x12, 0x34, 0x56)).all(axis=2).any()


def test_the_same_runs_give_the_same_bytes(all_drawn, results, tmp_path):
    draw(results, tmp_path)
    files = sorted(all_drawn["fig1"].svg.parent.iterdir())
    assert len(files) == 2 * (len(PAPER.figures) - 1 + len(OWN))  # Fig. 10 is Fig. 9 here
    for path in files:
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_nothing_run_draws_nothing_says_so_and_removes_what_was_drawn(tmp_path):
    old = [tmp_path / "fig1_scannet.svg", tmp_path / "fig1_scannet.png"]
    for path in old:
        path.touch()
    (tmp_path / "fig1_synthetic.svg").touch()  # of other data, so it stays
    drawn = draw(tmp_path / "none", tmp_path, dataset="scannet")
    del drawn["fig10"]  # would repeat Fig. 9
    for one in drawn.values():
        assert one.svg is None
        assert one.png is None
        assert one.missing
        assert one.caption == Canvas(one.title).undrawn
    assert [path.name for path in tmp_path.iterdir()] == ["fig1_synthetic.svg"]


def test_an_unknown_figure_is_told_with_the_nearest_name(results, tmp_path):
    with refuses(Kind.UNKNOWN, mentions=["'strips'", "'strip'"]):
        draw(results, tmp_path, "strips")


def test_captions_tell_other_data_machine_and_footnotes(all_drawn):
    caption = all_drawn["fig1"].caption
    assert "a processor" in caption
    assert ROOMS in caption
    assert SCANNET in caption
    assert PAPER.figures["fig1"].footnotes[0] in caption
    assert "  " not in caption


def test_latencies_of_different_machines_are_told_apart(copied, tmp_path):
    for train in range(3):
        for key in (
            f"synthetic/sr3d/train{train}",
            *(f"synthetic/sr3d/train{train}/test{j}" for j in (0, 1)),
        ):
            edit(copied, key, device="cuda", machine={"gpus": ["a GPU"], "processor": "another"})
    caption = draw(copied, tmp_path / "out", "fig1")["fig1"].caption
    assert "a processor (TR3D, Baseline)" in caption
    assert "a GPU (SR3D)" in caption


def test_missing_tests_times_and_epochs_are_told(copied, tmp_path):
    setting = copied / "synthetic" / "sr3d"
    write_summary(setting, setting / SUMMARY_FILE, 3, 2)
    shutil.rmtree(setting / "train2" / "test1")
    for train in range(3):
        for test in range(2):
            edit(copied, f"synthetic/tr3d/train{train}/test{test}", timings={})
    epochs = {"loss": [3.0, 2.0], "AIC": [0.4, 0.3]}
    edit(copied, "synthetic/baseline/train1", metrics={"epochs": epochs})
    drawn = draw(copied, tmp_path / "out", "fig1", "fig6", "fig8")
    *_, times, _, tests = drawn["fig1"].missing
    assert lacking(drawn["fig1"].missing) == [*NOT_RUN[:-1], "TR3D", NOT_RUN[-1], "SR3D"]
    assert METRICS["latency_ms"].label in times
    assert "5 of 6" in tests
    tests, epochs = drawn["fig6"].missing
    assert lacking(drawn["fig6"].missing) == ["SR3D", "Baseline"]
    assert "5 of 6" in tests
    assert re.findall(r"\d+", epochs) == ["2", "3", "2"]
    assert "AIC" in epochs
    values, tests = drawn["fig8"].missing[:2]
    assert values.startswith("k = 5, 7, 8, 9, 10:")
    assert "5 of 6" in tests


def test_a_detector_that_logs_no_aic_is_not_drawn_as_the_best(copied, tmp_path):
    loss = {"epochs": {"loss": [3.0, 2.0, 1.5]}}
    for train in range(3):
        edit(copied, f"synthetic/tr3d/train{train}", metrics=loss)
    for setting in SETTINGS:
        write_summary(copied / "synthetic" / setting, copied / "synthetic" / setting / SUMMARY_FILE)
    assert Findings(copied, "synthetic").metric("tr3d", "AIC") is None
    drawn = draw(copied, tmp_path / "out", "fig6", "curves")
    assert lacking(drawn["fig6"].missing) == ["TR3D"]
    for setting in ("baseline", "sr3d"):
        for train in range(3):
            edit(copied, f"synthetic/{setting}/train{train}", metrics=loss)
        write_summary(copied / "synthetic" / setting, copied / "synthetic" / setting / SUMMARY_FILE)
    drawn = draw(copied, tmp_path / "out", "fig6")
    assert drawn["fig6"].svg is not None  # the clouds
    assert lacking(drawn["fig6"].missing) == ["TR3D", "Baseline", "SR3D"]


def test_trainings_without_tests_show_their_curves(copied, tmp_path):
    for path in copied.glob("synthetic/*/train*/test*"):
        shutil.rmtree(path)
    drawn = draw(copied, tmp_path / "out")
    labels = ("TR3D", "Baseline", "SR3D")
    assert drawn["fig6"].svg is not None
    assert lacking(drawn["fig6"].missing) == list(labels)
    assert drawn["curves"].svg is not None
    for name in ("fig1", "fig5", "fig8", "strip"):
        assert drawn[name].svg is None
        assert drawn[name].missing


@pytest.mark.parametrize("broken", ["absent", "without ground truth", "cut short"])
def test_detections_that_cannot_be_read_cost_their_panels_alone(copied, tmp_path, broken):
    path = copied / "synthetic" / "baseline" / "train0" / "test0" / DETECTIONS_FILE
    if broken == "absent":
        path.unlink()
    elif broken == "cut short":
        path.write_bytes(path.read_bytes()[:100])
    else:
        with np.load(path) as file:
            entries = {name: file[name] for name in ("scene", "label", "score", "box")}
        np.savez(path, **entries)
    drawn = draw(copied, tmp_path / "out", "fig5", "fig6")
    assert drawn["fig5"].svg is None
    assert drawn["fig6"].svg is not None
    for one in drawn.values():
        told = [line for line in one.missing if DETECTIONS_FILE in line]
        assert len(told) == 1
        assert told[0].startswith("Baseline: ")
        assert str(tmp_path) not in told[0]
