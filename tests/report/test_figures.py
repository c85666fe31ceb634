"""Figures: what they draw, what they say is missing, and the same bytes each time."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from sr3d.geometry.box_set import BoxSet
from sr3d.metrics.matching import best_ground_truth
from sr3d.metrics.scored_files import ScoredTest, write_scored
from sr3d.report.figures import draw_figures
from sr3d.report.figures.qualitative import choose, f1
from sr3d.report.figures.style import errors, look
from sr3d.report.figures.sweep import draw_sweep
from sr3d.report.findings import Findings
from sr3d.report.paper import read_paper
from tests.make_runs import SETTINGS, edit, make_tree
from tests.shared_data import ROOT

PAPER = read_paper(ROOT / "workflow" / "tables.yaml")
SWEPT = {"sr3d": [], "k4": ["assigner.k=4"], "k8": ["assigner.k=8"]}
LEVELS = {"sr3d": 62.0, "k4": 60.0, "k8": 61.0}


def scored(boxes: list[float], scores: list[float]) -> ScoredTest:
    """Two scenes of one unit box each at x = 0; detections of the first at `boxes`."""
    truth = BoxSet(
        np.array(["room0", "room1"]),
        np.zeros(2, np.int64),
        np.tile(np.array([0, 0, 0, 1, 1, 1, 0], np.float32), (2, 1)),
        scenes=("room0", "room1"),
    )
    box = np.array([[x, 0, 0, 1, 1, 1, 0] for x in boxes], np.float32).reshape(-1, 7)
    found = BoxSet(
        np.array(["room0"] * len(boxes), dtype=str),
        np.zeros(len(boxes), np.int64),
        box,
        np.array(scores, np.float32),
        ("room0", "room1"),
    )
    return ScoredTest(truth, found, best_ground_truth(truth, found, rotated=False))


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    make_tree(results, settings={name: SETTINGS[name] for name in ("baseline", "sr3d")})
    epochs = {"loss": [3.0, 2.0], "AIC": [0.4, 0.3]}
    for name in ("baseline", "sr3d"):
        for i in range(2):
            edit(results, f"synthetic/{name}/train{i}", metrics={"epochs": epochs})
            for j in range(2):
                key = f"synthetic/{name}/train{i}/test{j}"
                metrics = {"AP25": 60.0 + i, "AP50": 40.0 + j, "PCE": 0.2}
                edit(results, key, metrics=metrics, timings={"latency_ms": 50.0})
                write_scored(results / key / "detections.npz", scored([0.1, 3.0], [0.9, 0.5]))
    return Findings(results, "synthetic")


def test_every_figure_is_drawn_and_says_what_it_lacks(findings, tmp_path):
    drawn = {one.name: one for one in draw_figures(PAPER, findings, tmp_path)}
    assert drawn.keys() == {*PAPER.figures, "strip", "curves"}
    for name, one in drawn.items():
        assert one.caption
        assert one.svg == tmp_path / f"{name}_synthetic.svg"
        assert ET.parse(one.svg).getroot().tag.endswith("svg")
        assert one.png.read_bytes().startswith(b"\x89PNG")
    assert "k = 4 (k4): not run" in drawn["fig8"].missing
    assert not any("sr3d" in told for told in drawn["fig8"].missing)
    assert any(told.startswith("FCAF3D") for told in drawn["fig1"].missing)
    assert any("points" in told for told in drawn["fig5"].missing)
    assert drawn["strip"].missing == drawn["curves"].missing == ()


def test_the_same_runs_give_the_same_bytes(findings, tmp_path):
    for folder in ("a", "b"):
        draw_figures(PAPER, findings, tmp_path / folder, ["fig6", "fig8", "strip"])
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_nothing_run_draws_nothing_and_says_so(tmp_path):
    drawn = draw_figures(PAPER, Findings(tmp_path / "none", "scannet"), tmp_path)
    assert all(one.svg is None and one.png is None and one.missing for one in drawn)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_draws_the_means_at_their_places(tmp_path):
    make_tree(tmp_path, settings=SWEPT, score=lambda s, i, j: LEVELS[s] + i + 0.1 * j)
    canvas = draw_sweep(PAPER.figures["fig8"], Findings(tmp_path, "synthetic"))
    line = canvas.picture.axes[0].containers[0][0]
    # k = 4, 6 and 8 of 4 to 10; each mean is its level + 0.5 + 0.05.
    assert list(line.get_xdata()) == [0, 2, 4]
    assert list(line.get_ydata()) == pytest.approx([60.55, 62.55, 61.55])


def test_looks_differ_without_colour():
    looks = [(one.marker, one.line) for one in map(look, range(49))]
    assert len(set(looks)) == 49


def test_error_bars_reach_the_interval_or_have_no_length():
    assert errors([2.0, 5.0], [(1.5, 3.0), None]) == [[0.5, 0.0], [1.0, 0.0]]


def test_scenes_run_from_the_largest_gain_to_the_least():
    gains = {"a": 0.0, "b": 0.5, "c": -0.5, "d": 0.1, "e": 0.1}
    assert choose(gains, 3) == ["b", "e", "c"]  # order b, d, e, a, c
    assert choose(gains, 1) == ["b"]
    assert choose({"a": 0.0}, 3) == ["a"]


def test_f1_counts_confident_boxes_alone():
    # One right, one wrong, one wanted: 2·1 / (2 + 1); the third is below the threshold.
    assert f1(scored([0.1, 3.0, 6.0], [0.9, 0.5, 0.1]), "room0") == pytest.approx(2 / 3)
    assert f1(scored([], []), "room1") == 0.0
