"""The content of figures: numbers of the summaries, curves, clouds, looks, positions."""

import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from sr3d.study.report.figures.canvas import Estimate, band, estimate, incomplete
from sr3d.study.report.figures.metric_plots import (
    default_of,
    draw_curves,
    draw_strip,
    draw_sweep,
    line_of,
    ranked,
)
from sr3d.study.report.figures.score_plots import cloud_of, draw_consistency
from sr3d.study.report.figures.style import (
    draw_estimate,
    look,
    names_of,
    round_ticks,
    spans_decades,
)
from sr3d.study.report.figures.tradeoff import (
    PrintedPoint,
    machine_of,
    our_points,
    paper_points,
    place_names,
)
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import read_paper
from sr3d.study.statistics import t_interval
from tests.report.figure_trees import SPARSE, lacking, make_full_tree, scored_test
from tests.shared_data import ROOT

PAPER = read_paper(ROOT / "workflow" / "tables.yaml")
FIGURES = PAPER.figures
NAMES = names_of(PAPER)
SETTINGS: dict[str, list[str]] = {"baseline": [], "sr3d": [], "k4": [], "k8": []}


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    make_full_tree(results, SETTINGS)
    return Findings(results, "synthetic")


def test_an_estimate_is_the_summarys(findings):
    found = findings.metric("sr3d", "AP25")
    assert estimate(findings, "sr3d", "AP25") == Estimate(found["mean"], tuple(found["interval"]))
    assert found["mean"] == pytest.approx(52 + 1 + 0.05)
    assert estimate(findings, "sr3d", "AIC").mean == pytest.approx(0.16)
    assert estimate(findings, "spota", "AP25") is None


def test_a_single_training_has_no_interval_and_a_hollow_mark(tmp_path):
    make_full_tree(tmp_path, {"sr3d": []}, trainings=1)
    mark = estimate(Findings(tmp_path, "synthetic"), "sr3d", "AP25")
    assert mark.interval is None
    axes = Figure().subplots()
    draw_estimate(axes, 1.0, mark, look(0))
    (point,) = axes.lines
    assert point.get_markerfacecolor() == "white"


def test_an_estimate_is_drawn_with_its_interval_wherever_the_mean_lies():
    # A mean of unequal numbers of evaluations may lie outside the interval. Error bars refuse this.
    axes = Figure().subplots()
    draw_estimate(axes, 3.0, Estimate(5.0, (1.0, 2.0)), look(1))
    bar, point = axes.lines
    assert list(bar.get_xdata()) == [3.0, 3.0]
    assert list(bar.get_ydata()) == [1.0, 2.0]
    assert (list(point.get_xdata()), list(point.get_ydata())) == ([3.0], [5.0])
    draw_estimate(axes, 3.0, Estimate(5.0, (1.0, 2.0)), look(1), upright=False)
    assert list(axes.lines[2].get_xdata()) == [1.0, 2.0]


def test_a_band_is_a_t_interval_the_range_of_two_or_nothing_around_one():
    three = [[1.0, 2.0], [2.0, 4.0], [3.0, 9.0]]
    found = band(three)
    assert found.means == (2.0, 5.0)
    low, high = t_interval([2.0, 4.0, 9.0])
    assert (found.low[1], found.high[1]) == (low, high)
    two = band(three[:2])
    assert (two.low, two.high) == ((1.0, 2.0), (2.0, 4.0))
    assert band(three[:1]).low is None
    assert band([]) is None
    ragged = band([[1.0, 2.0, 3.0], [3.0, 4.0]])
    assert (ragged.means, ragged.shortest, ragged.longest) == ((2.0, 3.0), 2, 3)


def test_what_a_setting_lacks(findings):
    assert lacking(incomplete(findings, "spota", "+ SPOTA")) == ["+ SPOTA"]
    assert incomplete(findings, "sr3d", "SR3D") == []


def test_the_tradeoff_has_our_means_and_the_papers_numbers(findings):
    figure = FIGURES["fig1"]
    ours, missing = our_points(figure, PAPER.tables["table1"], findings)
    assert [point.setting for point in ours] == ["baseline", "sr3d"]
    assert ours[1].x.mean == findings.metric("sr3d", "latency_ms")["mean"]
    assert ours[1].y == estimate(findings, "sr3d", "AP25")
    assert lacking(missing) == [*SPARSE, "GSDN", "FCAF3D", "FCAF3D + DLLA", "TR3D", "TR3D + DLLA"]
    _, missing = our_points(figure, PAPER.tables["table1"], findings, ["votenet", "gsdn", "sr3d"])
    assert lacking(missing) == [
        *(name for name in SPARSE if name != "VoteNet"),
        *("FCAF3D", "FCAF3D + DLLA", "TR3D", "TR3D + DLLA"),
    ]
    theirs = paper_points(figure, PAPER.tables["table1"], "scannet")
    assert PrintedPoint("SR3D", 42, 74.0, 73.2) in theirs
    assert PrintedPoint("VoteNet", 71, 58.6, None) in theirs
    assert "TR3D + DLLA" not in [point.label for point in theirs]  # the paper has no latency of it


def test_a_machine_is_its_gpu_or_its_processor():
    facts = {"processor": "a processor", "threads": 2, "gpus": ["a GPU", "a GPU"]}
    assert machine_of({"device": "cuda:1", "machine": facts}) == "a GPU"
    assert re.fullmatch(r"a processor\b.*\b2\b.*", machine_of({"device": "cpu", "machine": facts}))
    assert "processor" in machine_of({})


def test_a_sweep_has_each_value_that_ran_at_its_place(findings):
    line = line_of(FIGURES["fig8"].panels[0], "AP50", findings)
    assert line.values == (4.0, 6.0, 8.0)
    assert line.estimates[1] == estimate(findings, "sr3d", "AP50")
    assert default_of(FIGURES["fig8"]) == "sr3d"
    picture = draw_sweep(FIGURES["fig8"], findings).picture
    assert [axes.get_xscale() for axes in picture.axes[:4]] == ["linear", "log", "linear", "log"]
    marks = {(float(x), float(y)) for drawn in picture.axes[0].lines for x, y in drawn.get_xydata()}
    for value, setting in ((4, "k4"), (6, "sr3d"), (8, "k8")):
        assert (value, findings.metric(setting, "AP25")["mean"]) in marks


def test_a_cloud_is_the_most_confident_of_each_class():
    draw = np.random.default_rng(0)
    boxes = [
        (int(draw.integers(3)), float(draw.uniform(0, 2)), float(draw.uniform())) for _ in range(60)
    ]
    test = scored_test({"room": [(0, 0, 1), (1, 1, 1), (2, 2, 1)]}, {"room": boxes})
    cloud = cloud_of(test, 5)
    expected = []
    for label in range(3):
        mine = [i for i, box in enumerate(boxes) if box[0] == label]
        for i in sorted(mine, key=lambda i: -boxes[i][2])[:5]:
            overlap = max(0.0, 1 - abs(boxes[i][1] - label))  # unit boxes at x = label
            expected.append((np.float32(boxes[i][2]), overlap / (2 - overlap)))
    assert len(cloud.score) == 15
    assert np.stack([cloud.score, cloud.iou], axis=1) == pytest.approx(np.array(expected), abs=1e-5)
    assert cloud.error == pytest.approx(np.abs(cloud.score - cloud.iou))


def test_the_consistency_figure_draws_the_means_of_aic_and_pce(findings):
    picture = draw_consistency(FIGURES["fig6"], findings, NAMES).picture
    curves, *clouds, errors = picture.axes
    assert list(curves.lines[0].get_ydata()) == pytest.approx([0.31, 0.21, 0.16])
    drawn = [value for line in errors.lines for value in np.atleast_1d(line.get_xdata())]
    assert findings.metric("sr3d", "PCE")["mean"] in drawn
    assert [axes.get_title() for axes in clouds] == [
        "(b) Baseline",
        "(b) SR3D",
    ]


def test_the_strip_has_every_value_and_the_best_setting_on_top(findings):
    assert ranked(findings) == ["k8", "k4", "sr3d", "baseline"]
    picture = draw_strip(findings, NAMES).picture
    dots = [
        x for line in picture.axes[0].lines if line.get_marker() == "o" for x in line.get_xdata()
    ]
    every = [v for s in SETTINGS for row in findings.values(s, "AP25") for v in row]
    assert sorted(dots) == sorted(every)
    means = [
        float(x)
        for line in picture.axes[0].lines
        if line.get_marker() == "|"
        for x in line.get_xdata()
    ]
    assert sorted(means) == pytest.approx(
        sorted(m for s in SETTINGS for m in findings.means(s, "AP25"))
    )


def test_curves_are_drawn_one_for_each_training_on_common_axes(findings):
    picture = draw_curves(findings, NAMES).picture
    shown = [axes for axes in picture.axes if axes.get_visible()]
    assert len(shown) == 2 * len(SETTINGS)
    assert [len(axes.lines) for axes in shown] == [3] * len(shown)
    assert list(shown[0].lines[0].get_ydata()) == findings.curves("baseline", "loss")[0]
    assert len({axes.get_ylim() for axes in shown[:4]}) == 1


def test_looks_differ_without_colour():
    looks = [(one.marker, one.line) for one in map(look, range(104))]
    assert len(set(looks)) == 104
    shown = {(NAMES.look(s).marker, NAMES.look(s).line) for s in NAMES.labels}
    assert len(shown) == len(NAMES.labels)


def test_names_are_the_papers_with_their_heading_where_they_need_it():
    assert NAMES.label("sr3d") == "SR3D"
    assert NAMES.label("k4") == "k = 4"
    assert NAMES.label("sr3d_augment_tr3d").startswith("Augmentation: ")
    assert NAMES.label("of nobody") == "of nobody"
    assert "k\u00a0=\u00a04" in NAMES.lines("k4", 2)


def test_axes_are_logarithmic_beyond_a_factor_of_ten():
    assert spans_decades([1.0, 10.1])
    assert not spans_decades([1.0, 10.0])
    assert not spans_decades([0.0, 10.0])
    assert round_ticks(40, 500) == [50, 100, 200, 500]


def test_names_cover_neither_each_other_nor_points():
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.subplots()
    points = [(x, y) for x in (0.0, 1.0, 1.1) for y in (0.0, 0.12, 1.0)]
    axes.plot(*zip(*points, strict=True), "o")
    axes.margins(0.2)
    place_names(axes, points, [f"name {i}" for i in range(9)], size=8, color="black")
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    dots = [Bbox.from_bounds(x - 1, y - 1, 2, 2) for x, y in axes.transData.transform(points)]
    assert len(boxes) == 9
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in (*boxes[:i], *dots))
        assert axes.get_window_extent().overlaps(box)
