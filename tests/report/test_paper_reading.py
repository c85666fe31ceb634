"""Reading `tables.yaml`: what comes out, and one sentence for each mistake."""

import copy
from typing import Any

import pytest
import yaml

from sr3d.errors import InputError
from sr3d.study.report.paper import (
    METRICS,
    AmountClaim,
    Consistency,
    CurveBelowClaim,
    DifferenceClaim,
    Qualitative,
    Tradeoff,
    TrendClaim,
    number,
    read_paper,
    shown_settings,
    signed,
)

ROW = {
    "setting": "sr3d",
    "label": "SR3D",
    "ticks": ["RAS"],
    "paper": {"scannet": {"AP25": {"mean": 73.2}}},
}
PANEL = {"parameter": "k", "metrics": ["AP25"], "points": {4: "k4", 6: "sr3d"}}
ABOUT = {"of": "table2", "says": "it is\nso", "where": "here", "datasets": ["scannet"]}
PAIR = {"metric": "AP25", "setting": "sr3d", "over": "baseline"}
FILE = {
    "tables": {
        "table2": {
            "title": "Table 2",
            "source": "averages",
            "datasets": ["scannet"],
            "metrics": ["AP25"],
            "prints": "mean",
            "trainings": 5,
            "tests": 5,
            "reference": "baseline",
            "components": ["RAS"],
            "rows": [
                {"setting": "baseline", "label": "Baseline"},
                ROW,
                {"label": "Other", "paper": {}, "group": "Cited", "note": "not run"},
            ],
        },
    },
    "figures": {
        "fig1": {"kind": "tradeoff", "title": "Fig. 1", "source": "s", "datasets": ["scannet"],
                 "table": "table2", "x": "latency_ms", "y": "AP25"},
        "fig5": {"kind": "qualitative", "title": "Fig. 5", "source": "s", "datasets": [],
                 "settings": ["baseline", "sr3d"], "rule": "the first", "count": 3},
        "fig6": {"kind": "consistency", "title": "Fig. 6", "source": "s", "datasets": [],
                 "settings": ["sr3d"], "top_n": 30},
        "fig8": {"kind": "sweep", "title": "Fig. 8", "source": "s", "datasets": [],
                 "panels": [PANEL]},
    },
    "claims": {
        "gain": {"kind": "difference", **ABOUT, **PAIR, "direction": "higher",
                 "paper": {"scannet": 2.4}},
        "best": {"kind": "highest", **ABOUT, "metric": "AP25", "setting": "sr3d",
                 "among": ["baseline"]},
        "drop": {"kind": "trend", **ABOUT, "metric": "AP25", "direction": "falls", "log": True,
                 "along": {0.5: "mu_0p5", 1: "sr3d", 2: "mu_2"}},
        "low": {"kind": "curve_below", **ABOUT, **(PAIR | {"metric": "AIC"})},
        "much": {"kind": "amount", **ABOUT, **PAIR, "direction": "lower",
                 "paper": {"scannet": -2.4}, "statistic": "best"},
        "fast": {"kind": "at_most", **ABOUT, **PAIR, "limit": 1.03, "limit_reason": "it\nsays so",
                 "paper": {"scannet": 1.02}},
        "only": {"kind": "equivalence", **ABOUT, **PAIR, "scale": "difference", "margin": 0.7,
                 "margin_reason": "half of it", "paper": {"scannet": -0.1}},
        "near": {"kind": "equivalence", **ABOUT, **PAIR, "scale": "ratio", "margin": 1.05,
                 "margin_reason": "twice the rounding", "paper": {"scannet": 0.98}},
        "same": {"kind": "equal", **ABOUT, **PAIR},
        "seen": {"kind": "cited", **ABOUT, "reason": "a picture."},
    },
}  # fmt: skip


def read(tmp_path, value):
    path = tmp_path / "tables.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return read_paper(path)


def changed(place: str, change):
    """The file with `change` (a value, or None to delete) at a place such as claims.gain.over."""
    value: Any = copy.deepcopy(FILE)
    *path, last = (int(step) if step.isdigit() else step for step in place.split("."))
    node = value
    for step in path:
        node = node[step]
    if change is None:
        del node[last]
    else:
        node[last] = change
    return value


def test_what_is_read(tmp_path):
    paper = read(tmp_path, FILE)
    table = paper.tables["table2"]
    assert (table.name, table.reference, table.components) == ("table2", "baseline", ("RAS",))
    assert table.settings() == ("baseline", "sr3d")
    baseline, sr3d, other = table.rows
    assert (baseline.paper, baseline.ticks, baseline.group, baseline.note) == ({}, (), "", "")
    assert (sr3d.setting, sr3d.ticks) == ("sr3d", ("RAS",))
    assert sr3d.value("scannet", "AP25", "mean") == 73.2
    assert sr3d.value("scannet", "AP25", "best") is sr3d.value("sunrgbd", "AP50", "mean") is None
    assert (other.setting, other.group, other.note) == (None, "Cited", "not run")
    assert table.footnotes == ()


def test_figures_that_are_read(tmp_path):
    figures = read(tmp_path, FILE).figures
    assert figures["fig1"] == Tradeoff(
        name="fig1", title="Fig. 1", source="s", datasets=("scannet",), table="table2",
        x="latency_ms", y="AP25",
    )  # fmt: skip
    assert isinstance(figures["fig5"], Qualitative)
    assert (figures["fig5"].settings, figures["fig5"].count) == (("baseline", "sr3d"), 3)
    assert isinstance(figures["fig6"], Consistency)
    assert (figures["fig6"].settings, figures["fig6"].top_n) == (("sr3d",), 30)
    (panel,) = figures["fig8"].panels
    assert (panel.points, panel.log) == (((4.0, "k4"), (6.0, "sr3d")), False)


def test_claims_that_are_read(tmp_path):
    claims = read(tmp_path, FILE).claims
    assert claims["gain"] == DifferenceClaim(
        id="gain", of="table2", says="it is so", where="here", datasets=("scannet",),
        metric="AP25", setting="sr3d", over="baseline", direction="higher", paper={"scannet": 2.4},
    )  # fmt: skip
    assert isinstance(claims["much"], AmountClaim)
    assert claims["much"].statistic == "best"
    assert (claims["fast"].limit, claims["fast"].limit_reason) == (1.03, "it says so")
    assert (claims["only"].margin, claims["only"].margin_reason) == (0.7, "half of it")
    assert [claims[name].scale for name in ("only", "near")] == ["difference", "ratio"]
    assert {name: claim.kind for name, claim in claims.items()} == {
        name: value["kind"] for name, value in FILE["claims"].items()
    }
    assert isinstance(claims["drop"], TrendClaim)
    assert claims["drop"].along == ((0.5, "mu_0p5"), (1.0, "sr3d"), (2.0, "mu_2"))
    assert isinstance(claims["low"], CurveBelowClaim)
    assert claims["best"].among == ("baseline",)
    assert (claims["same"].over, claims["seen"].reason) == ("baseline", "a picture.")
    assert len({*claims.values()}) == len(claims)  # can be keys


@pytest.mark.parametrize(
    ("place", "change", "words"),
    [
        ("figures", None, "'figures' is missing"),
        ("claim", {}, "unknown 'claim'; did you mean 'claims'"),
        ("tables.table2", ["x"], "tables.table2: expected a mapping, got '['x']'"),
        ("tables.table2.titel", "x", "tables.table2: unknown 'titel'; did you mean 'title'"),
        ("tables.table2.title", 3, "tables.table2.title: expected a text, got '3'"),
        ("tables.table2.source", None, "tables.table2: 'source' is missing"),
        ("tables.table2.datasets", ["scanet"], "datasets[0]: unknown 'scanet'; did you mean 'sc"),
        ("tables.table2.datasets", "scannet", "datasets: expected a list"),
        ("tables.table2.metrics", ["AP75"], "metrics[0]: unknown 'AP75'"),
        ("tables.table2.prints", "best", "prints: unknown 'best'"),
        ("tables.table2.trainings", "five", "trainings: expected a whole number, got 'five'"),
        ("tables.table2.tests", 0, "tests: expected a whole number above zero, got '0'"),
        ("tables.table2.tests", True, "tests: expected a whole number above zero, got 'True'"),
        ("tables.table2.reference", "sr4d", "reference: unknown 'sr4d'; did you mean 'sr3d'"),
        ("tables.table2.rows.0.label", None, "tables.table2.rows[0]: 'label' is missing"),
        ("tables.table2.rows.2.paper", None, "tables.table2.rows[2]: 'paper' is missing"),
        ("tables.table2.rows.2.setting", "sr3d", "rows: 'sr3d' has two rows"),
        (
            "tables.table2.rows.1.ticks",
            ["SAR"],
            "rows[1].ticks[0]: unknown 'SAR'; choose one of RAS",
        ),
        ("tables.table2.rows.1.paper.scanet", {}, "rows[1].paper: unknown 'scanet'"),
        ("tables.table2.rows.1.paper.scannet.AP", {}, "rows[1].paper.scannet: unknown 'AP'"),
        ("tables.table2.rows.1.paper.scannet.AP25.max", 1, "paper.scannet.AP25: unknown 'max'"),
        ("tables.table2.rows.1.paper.scannet.AP25.mean", "x", "AP25.mean: expected a number"),
        ("figures.fig1.kind", "trade", "figures.fig1.kind: unknown 'trade'"),
        ("figures.fig1.table", "table3", "figures.fig1.table: unknown 'table3'"),
        ("figures.fig1.top_n", 3, "figures.fig1: unknown 'top_n'"),
        ("figures.fig5.settings", ["sr3d"], "figures.fig5.settings: expected two settings"),
        ("figures.fig8.panels.0.points", {6: "sr3d", 4: "k4"}, "points: expected values in rising"),
        ("figures.fig8.panels.0.points", {"six": "sr3d"}, "points: expected a number, got 'six'"),
        ("claims.gain.kind", "diference", "claims.gain.kind: unknown 'diference'; did you mean"),
        ("claims.gain.of", "table9", "claims.gain.of: unknown 'table9'; did you mean 'table2'"),
        ("claims.gain.over", "sr3d", "claims.gain.over: expected another setting, got 'sr3d'"),
        ("claims.gain.direction", "lower", "gain.paper: expected numbers of the direction 'lower'"),
        ("claims.gain.direction", None, "claims.gain: 'direction' is missing"),
        ("claims.gain.paper", {"sunrgbd": 1.0}, "claims.gain.paper: unknown 'sunrgbd'"),
        ("claims.gain.statistic", "best", "claims.gain: unknown 'statistic'"),
        ("claims.much.statistic", "average", "claims.much.statistic: unknown 'average'"),
        ("claims.much.paper", None, "claims.much: 'paper' is missing"),
        ("claims.much.direction", "higher", "much.paper: expected numbers of the direction 'hi"),
        ("claims.only.margin", None, "claims.only: 'margin' is missing"),
        ("claims.only.margin", 0, "claims.only.margin: expected a difference above 0, got '0'"),
        ("claims.only.margin_reason", None, "claims.only: 'margin_reason' is missing"),
        ("claims.only.paper", {"scannet": 0.8}, "claims.only.paper: expected numbers within"),
        ("claims.only.scale", "log", "claims.only.scale: unknown 'log'"),
        ("claims.near.margin", 0.9, "claims.near.margin: expected a ratio above 1, got '0.9'"),
        ("claims.near.paper", {"scannet": 0.9}, "claims.near.paper: expected numbers within"),
        ("claims.fast.limit", -1, "claims.fast.limit: expected a ratio above 0, got '-1'"),
        ("claims.fast.limit_reason", None, "claims.fast: 'limit_reason' is missing"),
        ("claims.fast.paper", {"scannet": 1.1}, "claims.fast.paper: expected ratios above 0 and"),
        ("claims.best.among", ["sr3d"], "claims.best.among: expected the other settings"),
        ("claims.best.over", "baseline", "claims.best: unknown 'over'"),
        ("claims.drop.along", {1: "a", 2: "b"}, "claims.drop.along: expected three settings"),
        ("claims.drop.along", {0: "a", 1: "b", 2: "c"}, "claims.drop.along: expected values above"),
        ("claims.drop.log", "no way", "claims.drop.log: expected a yes or no"),
        ("claims.fast.limit", None, "claims.fast: 'limit' is missing"),
        ("claims.seen.reason", None, "claims.seen: 'reason' is missing"),
    ],
)
def test_each_mistake_is_named_with_its_place(tmp_path, place, change, words):
    with pytest.raises(InputError) as error:
        read(tmp_path, changed(place, change))
    assert words in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'tables.yaml'}: ")


def test_no_file_and_no_yaml(tmp_path):
    path = tmp_path / "tables.yaml"
    with pytest.raises(InputError, match=r"tables\.yaml: no such file"):
        read_paper(path)
    path.write_text("tables: [")
    with pytest.raises(InputError, match=r"tables\.yaml: not valid YAML"):
        read_paper(path)
    path.write_text("- tables")
    with pytest.raises(InputError, match=r"tables\.yaml: expected a mapping"):
        read_paper(path)


def test_shown_settings(tmp_path):
    value = copy.deepcopy(FILE)
    value["tables"]["table9"] = value["tables"]["table2"] | {
        "rows": value["tables"]["table2"]["rows"][:1]
    }
    path = tmp_path / "tables.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    found = {name: shown.tables for name, shown in shown_settings(read_paper(path)).items()}
    assert found == {"baseline": ("table2", "table9"), "sr3d": ("table2",)}


@pytest.mark.parametrize(
    ("metric", "value", "text", "difference"),
    [
        ("AP25", 73.24, "73.2", "+73.2"),
        ("AP50", -0.26, "−0.3", "−0.3"),
        ("AP50", -0.04, "0.0", "0.0"),
        ("PCE", 0.1234, "0.123", "+0.123"),
        ("AIC", -0.0004, "0.000", "0.000"),
        ("latency_ms", 41.6, "42", "+42"),
        ("latency_ms", -0.3, "0", "0"),
        ("minutes_per_epoch", 12.34, "12.3", "+12.3"),
        ("parameters", 14_661_464, "14.7M", "+14.7M"),
        ("parameters", -774, "−774", "−774"),
        ("parameters", 0, "0", "0"),
    ],
)
def test_numbers_in_print(metric, value, text, difference):
    assert number(metric, value) == text
    assert signed(metric, value) == difference


def test_every_metric_has_a_label_of_its_own():
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS) == 7
