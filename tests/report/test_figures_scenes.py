"""Scenes are chosen by the rule. They have points if the prepared data are the evaluated ones."""

import re
from pathlib import Path

import numpy as np
import pytest

from sr3d.data.prepared import PreparedDataset, read_manifest
from sr3d.evaluate.scored_files import ScoredDetections
from sr3d.study.report.figures.drawing import draw_figures
from sr3d.study.report.figures.scene_choice import (
    IOU,
    SCORE,
    before,
    choose_by_gain,
    choose_next,
    confident,
    f1_scores,
    same_as,
)
from sr3d.study.report.figures.scene_plots import VIEWS, draw_qualitative
from sr3d.study.report.figures.style import names_of
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import read_paper
from tests.report.figure_trees import make_full_tree, scored_test
from tests.shared_data import ROOT

PAPER = read_paper(ROOT / "workflow" / "tables.yaml")
TRUTH = {"a": [(0, 0, 1), (1, 5, 1)], "b": [(0, 0, 1)], "c": [], "d": [(2, 0, 1)]}


def test_f1_by_hand():
    found = {
        "a": [(0, 0.1, 0.9), (0, 0.2, 0.8), (1, 5, 0.4)],  # the second finds what is taken
        "b": [(0, 0, 0.29)],  # not confident
        "c": [],  # nothing to find, nothing found
        "d": [(1, 0, 0.9)],  # another class
    }
    expected = {"a": 2 * 2 / (3 + 2), "b": 0.0, "c": 1.0, "d": 0.0}
    assert f1_scores(scored_test(TRUTH, found)) == pytest.approx(expected)


def test_a_score_at_the_threshold_counts():
    assert f1_scores(scored_test({"b": [(0, 0, 1)]}, {"b": [(0, 0, SCORE)]})) == {"b": 1.0}


def literal_f1(test: ScoredDetections, scene: str) -> float:
    """Box by box, the best score first. Each takes the ground truth that it overlaps most."""
    score = test.detections.score
    assert score is not None
    rows = [i for i in range(len(test.detections)) if test.detections.scene[i] == scene]
    rows = [i for i in rows if float(score[i]) >= float(np.float32(SCORE))]
    taken, right = set(), 0
    for i in sorted(rows, key=lambda i: -score[i]):
        mine = test.matching.index[i]
        if test.matching.iou[i] > IOU and mine not in taken:
            taken.add(mine)
            right += 1
    wanted = sum(s == scene for s in test.truth.scene)
    return 2 * right / (len(rows) + wanted) if rows or wanted else 1.0


@pytest.mark.parametrize("seed", range(5))
def test_f1_agrees_with_counting_one_by_one(seed):
    draw = np.random.default_rng(seed)

    def some(most: int) -> list[tuple[int, float, float]]:
        return [
            (int(draw.integers(2)), float(draw.uniform(0, 4)), float(draw.uniform(0, 1)))
            for _ in range(draw.integers(most))
        ]

    scenes = [f"room{i}" for i in range(20)]
    test = scored_test({s: some(6) for s in scenes}, {s: some(12) for s in scenes})
    found = f1_scores(test)
    assert found.keys() == set(scenes)
    for scene in scenes:
        assert found[scene] == pytest.approx(literal_f1(test, scene)), scene
        of_scene = confident(test).of(scene)
        assert list(of_scene.boxes.score) == sorted(of_scene.boxes.score, reverse=True)


def test_scenes_run_from_the_largest_gain_to_the_smallest():
    gains = {"a": 0.0, "b": 0.5, "c": -0.5, "d": 0.1, "e": 0.1}  # in order: b, d, e, a, c
    assert choose_by_gain(gains, 3) == ["b", "e", "c"]
    assert choose_by_gain(gains, 2) == ["b", "c"]
    assert choose_by_gain(gains, 1) == ["b"]
    assert choose_by_gain(gains, 9) == ["b", "d", "e", "a", "c"]
    assert choose_by_gain({"b": 0.0, "a": 0.0}, 1) == ["a"]
    assert choose_by_gain({}, 3) == []


def test_a_later_figure_has_the_scenes_that_earlier_ones_leave():
    gains = {name: -float(i) for i, name in enumerate("abcdefghij")}
    assert choose_next(gains, 3, []) == ["a", "e", "j"]
    assert choose_next(gains, 3, [3]) == ["b", "f", "i"]  # of b, c, d, f, g, h, i
    assert choose_next(gains, 4, [3, 3]) == ["c", "d", "g", "h"]
    assert choose_next(gains, 4, [3, 7]) == []


def test_figures_that_differ_in_their_data_alone_are_drawn_once():
    fig5, fig9, fig10 = every = [PAPER.figures[name] for name in ("fig5", "fig9", "fig10")]
    shown = {
        dataset: [same_as(figure, every, dataset) for figure in every]
        for dataset in ("scannet", "sunrgbd", "synthetic")
    }
    assert shown["scannet"] == shown["synthetic"] == [None, None, fig9]
    assert shown["sunrgbd"] == [None, fig10, None]
    assert same_as(fig10, [fig5, fig10], "synthetic") is None  # asked for without Fig. 9
    assert before(fig5, every, "synthetic") == []
    assert before(fig9, every, "synthetic") == [fig5]
    assert before(fig10, every, "sunrgbd") == [fig5]  # which leaves out Fig. 9, not drawn there


def test_a_figure_that_has_no_scene_left_says_so(tmp_path):
    truth = {"room0": [(0, 0, 1)], "room1": []}
    tests = dict.fromkeys(("baseline", "sr3d"), scored_test(truth, truth))
    make_full_tree(tmp_path, {"baseline": [], "sr3d": []}, tests, trainings=1)
    drawn = draw_figures(PAPER, Findings(tmp_path, "synthetic"), tmp_path / "out", ["fig5", "fig9"])
    assert drawn[0].svg is not None
    assert drawn[1].svg is None
    assert "Fig. 5" in drawn[1].caption


def test_the_figure_shows_those_scenes_with_their_scores(tmp_path):
    truth = {f"room{i}": [(0, 0, 1)] for i in range(5)}
    wrong, right = [(0, 9, 0.9)], [(0, 0, 0.9)]
    both = [(0, 0, 0.9), (0, 9, 0.8)]
    baseline = dict(zip(truth, (right, wrong, both, right, both), strict=True))
    sr3d = dict(zip(truth, (wrong, right, both, right, right), strict=True))
    # Gains: −1, +1, 0, 0, +1/3: in order room1, room4, room2, room3, room0.
    tests = {"baseline": scored_test(truth, baseline), "sr3d": scored_test(truth, sr3d)}
    make_full_tree(tmp_path, {"baseline": [], "sr3d": []}, tests, trainings=1)
    findings = Findings(tmp_path, "synthetic")
    canvas = draw_qualitative(PAPER.figures["fig5"], findings, names_of(PAPER), None)
    titles = [axes.get_title() for axes in canvas.picture.axes]
    assert titles[:: 3 * len(VIEWS)] == ["room1", "room2", "room0"]
    assert titles[3:6] == ["", "", ""]  # the other view of the first scene
    assert titles[1:3] == ["Baseline: F1 0.00", "SR3D: F1 1.00"]
    assert canvas.scenes == []  # no points
    later = draw_qualitative(
        PAPER.figures["fig9"], findings, names_of(PAPER), None, [PAPER.figures["fig5"]]
    )
    titles = [axes.get_title() for axes in later.picture.axes]
    assert titles[:: 3 * len(VIEWS)] == ["room4", "room3"]
    assert "Fig. 5" in later.caption


def test_scenes_of_one_test_alone_are_left_out_and_told(tmp_path):
    common, other = {"room0": [(0, 0, 1)]}, {"room1": [(0, 0, 1)]}
    tests = {"baseline": scored_test(common, common), "sr3d": scored_test(common | other, common)}
    make_full_tree(tmp_path, {"baseline": [], "sr3d": []}, tests, trainings=1)
    findings = Findings(tmp_path, "synthetic")
    canvas = draw_qualitative(PAPER.figures["fig5"], findings, names_of(PAPER), None)
    assert [axes.get_title() for axes in canvas.picture.axes][::6] == ["room0"]
    assert re.findall(r"\d+", canvas.missing[0]) == ["1"]


def tree_on(rooms: Path, results: Path, digest: str) -> Findings:
    truth = {scene: [(0, 0, 1)] for scene in PreparedDataset(rooms, "val").ids}
    tests = dict.fromkeys(("baseline", "sr3d"), scored_test(truth, truth))
    data = {"dataset": "synthetic", "split": "val", "scenes": 3, "digest": digest}
    make_full_tree(results, {"baseline": [], "sr3d": []}, tests, trainings=1, data=data)
    return Findings(results, "synthetic")


def test_points_are_drawn_where_the_data_are_those_of_the_tests(rooms, tmp_path):
    findings = tree_on(rooms, tmp_path, read_manifest(rooms).digest())
    canvas = draw_qualitative(PAPER.figures["fig5"], findings, names_of(PAPER), rooms)
    assert canvas.missing == []
    assert [len(axes.images) for axes in canvas.picture.axes] == [1] * 9 * len(VIEWS)
    (drawn,) = draw_figures(PAPER, findings, tmp_path / "out", ["fig5"], rooms)
    assert len(drawn.viewers) == 3


@pytest.mark.parametrize(("digest", "folder"), [("0123", None), (None, "none")])
def test_other_points_are_not_drawn(rooms, tmp_path, digest, folder):
    findings = tree_on(rooms, tmp_path, digest or read_manifest(rooms).digest())
    data = rooms if folder is None else tmp_path / folder
    canvas = draw_qualitative(PAPER.figures["fig5"], findings, names_of(PAPER), data)
    assert not any(axes.images for axes in canvas.picture.axes)
    assert canvas.scenes == []
    assert len(canvas.missing) == 1
    assert (str(data) in canvas.missing[0]) == (folder is not None)
