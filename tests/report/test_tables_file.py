"""`tables.yaml` is read correctly, and each mistake gives one sentence."""

import copy
import json
import re
from typing import Any, get_args

import pytest
import yaml

from sr3d.cli import main
from sr3d.config import DatasetName
from sr3d.errors import Kind
from sr3d.study.report.paper import (
    DATASETS,
    METRICS,
    AmountClaim,
    Consistency,
    CurveBelowClaim,
    DifferenceClaim,
    MetricName,
    Qualitative,
    Tradeoff,
    TrendClaim,
    number,
    read_paper,
    shown_settings,
    signed,
)
from tests.refusals import refuses

NULL = object()

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
    """The file with `change` (a value, None to delete, NULL for YAML's null) at a place such as
    claims.gain.over.
    """
    value: Any = copy.deepcopy(FILE)
    *path, last = (int(step) if step.isdigit() else step for step in place.split("."))
    node = value
    for step in path:
        node = node[step]
    if change is None:
        del node[last]
    else:
        node[last] = None if change is NULL else change
    return value


def dotted(place: str) -> str:
    """The place in the form of errors, such as rows[0].label."""
    return re.sub(r"\.(\d+)", r"[\1]", place)


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
    ("place", "change", "mentions"),
    [
        ("claim", {}, "'claims'"),
        ("tables.table2.titel", "x", "'title'"),
        ("tables.table2.name", "x", "title"),
        ("tables.table2.metrics.0", "AP75", "'AP75'"),
        ("tables.table2.datasets.0", "scanet", "'scannet'"),
        ("tables.table2.prints", "best", "'best_mean'"),
        ("tables.table2.reference", "sr4d", "'sr3d'"),
        ("tables.table2.rows.1.ticks.0", "SAR", "RAS"),
        ("tables.table2.rows.1.paper.scanet", {}, "'scannet'"),
        ("tables.table2.rows.1.paper.scannet.AP", {}, "'AP50'"),
        ("tables.table2.rows.1.paper.scannet.AP25.max", 1, "median"),
        ("figures.fig1.kind", "trade", "'tradeoff'"),
        ("figures.fig1.table", "table3", "'table2'"),
        ("figures.fig1.top_n", 3, "kind, title"),
        ("claims.gain.id", "x", "kind"),
        ("claims.gain.kind", "diference", "'difference'"),
        ("claims.gain.kind", 3, "difference, amount"),
        ("claims.gain.of", "table9", "'table2'"),
        ("claims.gain.paper.sunrgbd", 1.0, "scannet"),
        ("claims.gain.statistic", "best", "direction"),
        ("claims.much.statistic", "average", "best, mean"),
        ("claims.only.scale", "log", "ratio"),
        ("claims.best.over", "baseline", "among"),
    ],
)
def test_an_unknown_name_is_refused_with_the_names_that_are_known(
    tmp_path, place, change, mentions
):
    with refuses(Kind.UNKNOWN, field=dotted(place), file="tables.yaml", mentions=[mentions]):
        read(tmp_path, changed(place, change))


@pytest.mark.parametrize(
    "place",
    [
        "figures",
        "tables.table2.source",
        "tables.table2.rows.0.label",
        "tables.table2.rows.2.paper",
        "figures.fig1.kind",
        "claims.gain.direction",
        "claims.much.paper",
        "claims.only.margin",
        "claims.only.margin_reason",
        "claims.fast.limit",
        "claims.fast.limit_reason",
        "claims.seen.reason",
    ],
)
def test_a_missing_entry_is_named(tmp_path, place):
    with refuses(Kind.MISSING, field=dotted(place), file="tables.yaml"):
        read(tmp_path, changed(place, None))


@pytest.mark.parametrize(
    ("place", "change", "mentions"),
    [
        ("tables.table2", ["x"], "a mapping"),
        ("tables.table2.title", 3, "text"),
        ("tables.table2.datasets", "scannet", "a list"),
        ("tables.table2.trainings", "five", "'five'"),
        ("tables.table2.tests", 0, "'0'"),
        ("tables.table2.tests", True, "'True'"),
        ("tables.table2.reference", NULL, "text"),
        ("tables.table2.rows.1.setting", NULL, "text"),
        ("tables.table2.rows.1.paper.scannet.AP25.mean", "x", "'x'"),
        ("tables.table2.rows.1.paper.scannet.AP25.mean", float("nan"), "'nan'"),
        ("figures.fig1", ["x"], "a mapping"),
        ("figures.fig5.settings", ["sr3d"], "2 values"),
        ("figures.fig5.settings", ["sr3d", "baseline", "tr3d"], "2 values"),
        ("figures.fig8.panels.0.points", ["x"], "a mapping"),
        ("figures.fig8.panels.0.points", {6: "sr3d", 4: "k4"}, "[6.0, 4.0]"),
        ("figures.fig8.panels.0.points.six", "sr3d", "six"),
        ("figures.fig8.panels.0.points.6", 7, "text"),
        ("claims.only.margin", 0, "above 0"),
        ("claims.fast.limit", -1, "above 0"),
        ("claims.drop.log", "no way", "'no way'"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_expected(tmp_path, place, change, mentions):
    field = dotted(place).replace("points[6]", "points.6")
    with refuses(Kind.VALUE, field=field, file="tables.yaml", mentions=[mentions]):
        read(tmp_path, changed(place, change))


@pytest.mark.parametrize(
    ("place", "change", "field", "mentions"),
    [
        ("tables.table2.rows.2.setting", "sr3d", "tables.table2.rows", "'sr3d'"),
        ("claims.gain.over", "sr3d", "claims.gain.over", "'sr3d'"),
        ("claims.gain.direction", "lower", "claims.gain.paper", "'lower'"),
        ("claims.gain.paper.scannet", 0, "claims.gain.paper", "'higher'"),
        ("claims.much.direction", "higher", "claims.much.paper", "'higher'"),
        ("claims.only.paper.scannet", 0.8, "claims.only.paper", "0.8"),
        ("claims.near.margin", 0.9, "claims.near.margin", "above 1"),
        ("claims.near.paper.scannet", 0.9, "claims.near.paper", "0.9"),
        ("claims.fast.paper.scannet", 1.1, "claims.fast.paper", "1.1"),
        ("claims.fast.paper.scannet", 0, "claims.fast.paper", "0.0"),
        ("claims.best.among", ["sr3d"], "claims.best.among", "'sr3d'"),
        ("claims.best.among", [], "claims.best.among", "'sr3d'"),
        ("claims.drop.along", {1: "a", 2: "b"}, "claims.drop.along", "three"),
        ("claims.drop.along", {0: "a", 1: "b", 2: "c"}, "claims.drop.along", "above zero"),
    ],
)
def test_values_that_contradict_each_other_are_refused(tmp_path, place, change, field, mentions):
    with refuses(Kind.CONFLICT, field=field, file="tables.yaml", mentions=[mentions]):
        read(tmp_path, changed(place, change))


def test_no_file_and_no_yaml(tmp_path):
    path = tmp_path / "tables.yaml"
    with refuses(Kind.MISSING, file=path):
        read_paper(path)
    path.write_text("tables: [")
    with refuses(Kind.UNREADABLE, file=path):
        read_paper(path)
    path.write_text("- tables")
    with refuses(Kind.VALUE, file=path, mentions=["a mapping"]):
        read_paper(path)


def test_the_schema_describes_the_file_as_it_is_written(capsys):
    main(["schema", "tables"])
    schema = json.loads(capsys.readouterr().out)
    parts = schema["$defs"]
    assert schema["required"] == ["tables", "figures", "claims"]
    assert "name" not in parts["PaperTable"]["properties"]
    assert "id" not in parts["DifferenceClaim"]["properties"]
    assert parts["PaperRow"]["properties"]["setting"]["type"] == "string"
    assert parts["Panel"]["properties"]["points"]["type"] == "object"
    kinds = schema["properties"]["claims"]["additionalProperties"]["discriminator"]["mapping"]
    assert kinds.keys() == {claim["kind"] for claim in FILE["claims"].values()}


def test_declared_names_are_those_that_have_a_name_in_print():
    assert get_args(MetricName) == tuple(METRICS)
    assert get_args(DatasetName) == tuple(DATASETS)


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
