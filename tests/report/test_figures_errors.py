"""Outcomes of ground truth, and the worst scenes with their viewers, in every report."""

import numpy as np
import pytest

from sr3d.data.prepared import PreparedDataset, read_manifest
from sr3d.study.report.figures import draw_figures
from sr3d.study.report.figures.class_plots import Outcomes, outcomes_of
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import read_paper
from tests.report.figure_trees import make_full_tree, scored_test
from tests.report.test_viewer import read
from tests.shared_data import ROOT

PAPER = read_paper(ROOT / "workflow" / "tables.yaml")
CLASSES = ("chair", "table", "bed")


def outcomes(truth, found):
    return outcomes_of(scored_test({"a": truth}, {"a": found}), CLASSES, rotated=False)


# Boxes have a side of 1: shifted by 0.4, 0.7 and 0.95 they overlap by 0.43, 0.18 and 0.03.
@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ([(0, 0.4, 0.9)], Outcomes(1, 0, 0, 0)),
        ([(0, 0.7, 0.9)], Outcomes(0, 1, 0, 0)),
        ([(1, 0.4, 0.9)], Outcomes(0, 0, 1, 0)),
        ([(1, 0.7, 0.9)], Outcomes(0, 0, 0, 1)),
        ([(0, 0.95, 0.9)], Outcomes(0, 0, 0, 1)),
        ([(0, 0.4, 0.2)], Outcomes(0, 0, 0, 1)),  # of a low score
        ([], Outcomes(0, 0, 0, 1)),
        ([(1, 0.1, 0.9), (0, 0.4, 0.5)], Outcomes(1, 0, 0, 0)),
        ([(1, 0.1, 0.9), (0, 0.7, 0.5)], Outcomes(0, 1, 0, 0)),
    ],
)
def test_each_ground_truth_has_one_outcome(found, outcome):
    assert outcomes([(0, 0, 1)], found) == {"chair": outcome}


def test_outcomes_are_counted_by_class():
    truth = [(0, 0, 1), (0, 5, 1), (2, 10, 1)]
    found = outcomes(truth, [(0, 0, 0.9), (1, 10, 0.9)])
    assert found == {"chair": Outcomes(1, 0, 0, 1), "bed": Outcomes(0, 0, 1, 0)}


@pytest.fixture(scope="module")
def results(rooms, tmp_path_factory):
    """Runs of one setting, which misses the box of the second room."""
    folder = tmp_path_factory.mktemp("results")
    scenes = PreparedDataset(rooms, "val").ids
    right, wrong = [(0, 0, 0.9)], [(0, 9, 0.9)]
    test = scored_test(
        {scene: [(0, 0, 1)] for scene in scenes},
        dict(zip(scenes, (right, wrong, right), strict=True)),
    )
    digest = read_manifest(rooms).digest()
    data = {"dataset": "synthetic", "split": "val", "scenes": 3, "digest": digest}
    make_full_tree(folder, {"sr3d": []}, {"sr3d": test}, trainings=1, data=data)
    return folder


def test_the_worst_scene_comes_first_and_has_a_viewer(results, rooms, tmp_path):
    (worst,) = draw_figures(PAPER, Findings(results, "synthetic"), tmp_path, ["worst"], rooms)
    data = PreparedDataset(rooms, "val")
    assert [viewer.scene for viewer in worst.viewers] == [data.ids[i] for i in (1, 0, 2)]
    assert worst.missing == ()
    scene, _ = read(worst.viewers[0].path)
    detections, truth = scene["layers"]
    assert np.allclose(detections["boxes"][0][0], 9)
    assert len(truth["boxes"]) == len(data[1].boxes)


def test_without_points_boxes_alone_are_drawn(results, tmp_path):
    findings = Findings(results, "synthetic")
    worst, errors = draw_figures(PAPER, findings, tmp_path, ["worst", "errors"])
    assert worst.viewers == ()
    assert len(worst.missing) == 1
    assert errors.svg is not None
