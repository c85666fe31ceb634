"""Every number of the paper's tables, transcribed again, compared with `tables.yaml`."""

import re

import pytest

from sr3d.study.report.paper import read_paper
from tests.shared_data import ROOT

PAPER = read_paper(ROOT / "workflow" / "tables.yaml")

# As printed: method, then AP25, AP50, latency on ScanNet V2, and the same on SUN RGB-D.
TABLE_1 = """
VoteNet        | 58.6        | 33.5        | 71ms  | 57.7        | -           | 41ms
MLCVNet        | 64.5        | 41.4        | 183ms | 59.8        | -           | -
3DETR          | 65.0        | 47.0        | 170ms | 59.1        | 32.7        | -
BRNet          | 66.1        | 50.9        | 135ms | 61.1        | 43.7        | -
GroupFree      | 69.1 (68.6) | 52.8 (51.8) | 178ms | 63.0 (62.6) | 45.2 (44.4) | -
RBGNet         | 70.6 (69.6) | 55.2 (54.7) | 210ms | 64.1 (63.6) | 47.2 (46.3) | -
CAGroup3D      | 75.1 (74.5) | 61.3 (60.3) | 472ms | 66.8 (66.4) | 50.2 (49.5) | -
SPGroup3D      | 74.3 (73.5) | 59.6 (58.3) | 131ms | 65.4 (64.8) | 47.1 (46.4) | -
V-DETR         | 77.4 (76.8) | 65.0 (64.5) | 240ms | 67.5 (66.8) | 50.4 (49.7) | -
DEST           | 78.5 (78.3) | 66.6 (66.2) | 263ms | 68.4 (67.4) | 51.8 (50.9) | -
GSDN           | 62.8        | 34.8        | 49ms  | -           | -           | -
FCAF3D         | 71.5 (70.7) | 57.3 (56.0) | 64ms  | 64.2 (63.8) | 48.9 (48.2) | 56ms
FCAF3D + DLLA  | 71.4 (71.0) | 60.0 (59.0) | 97ms  | 63.8 (63.4) | 48.3 (47.4) | -
TR3D           | 72.9 (72.0) | 59.3 (57.4) | 42ms  | 67.1 (66.3) | 50.4 (49.6) | 36ms
TR3D + DLLA    | 73.8 (72.8) | 60.2 (58.9) | -     | 67.3 (67.0) | 50.6 (50.5) | -
SR3D           | 74.0 (73.2) | 59.7 (58.5) | 42ms  | 68.1 (67.2) | 50.9 (50.5) | 36ms
"""
# setting: AP25, AP50, all averages on ScanNet V2.
AVERAGES = {
    "table2": {
        "baseline": (70.8, 55.6), "spota": (72.3, 57.4), "ras": (72.5, 57.7), "sr3d": (73.2, 58.5),
    },
    "table3": {
        "sr3d": (73.2, 58.5), "spota_with_cls": (72.5, 56.9), "spota_without_vd": (72.7, 57.8),
    },
    "table4": {"simota": (72.3, 56.5), "align_ota": (72.2, 56.9), "sr3d": (73.2, 58.5)},
    "table5": {"qfl": (71.9, 57.7), "vfl": (71.7, 58.3), "sr3d": (73.2, 58.5)},
    "table6": {
        "baseline": (70.8, 55.6), "baseline_gt_ctr": (70.9, 55.9), "baseline_gt_iou": (91.8, 87.7),
    },
    "table7": {"tr3d": (72.0, 57.4), "sr3d": (73.2, 58.5)},
}  # fmt: skip


def numbers(cell: str, alone: str) -> dict[str, float]:
    """A cell of Table 1. alone: the statistic of a single number."""
    found = [float(text) for text in re.findall(r"\d+(?:\.\d+)?", cell)]
    return dict(zip(("best", "mean") if len(found) == 2 else (alone,), found, strict=False))


def typed(line: str) -> tuple[str, dict]:
    """A line of Table 1 as a row's label and values."""
    label, *cells = (cell.strip() for cell in line.split("|"))
    values: dict = {}
    for i, cell in enumerate(cells):
        metric = ("AP25", "AP50", "latency_ms")[i % 3]
        if cell != "-":
            found = numbers(cell, "mean" if metric == "latency_ms" else "best")
            values.setdefault(("scannet", "sunrgbd")[i // 3], {})[metric] = found
    return label, values


def test_table_1():
    wanted = dict(map(typed, TABLE_1.strip().splitlines()))
    assert len(wanted) == 16
    rows = {row.label: row for row in PAPER.tables["table1"].rows if row.paper}
    assert {label: row.paper for label, row in rows.items()} == wanted
    assert list(rows) == list(wanted)  # in the paper's order
    sparse = [label for label, row in rows.items() if row.group == "Sparse detectors"]
    assert sparse == list(wanted)[:10]


def test_table_1_runs_what_can_be_run_and_cites_the_rest():
    settings = {row.label: row.setting for row in PAPER.tables["table1"].rows if row.setting}
    assert settings == {
        "VoteNet": "votenet",
        "MLCVNet": "mlcvnet",
        "3DETR": "3detr_m",
        "BRNet": "brnet",
        "GroupFree": "groupfree",
        "RBGNet": "rbgnet",
        "V-DETR": "vdetr",
        "SPGroup3D": "spgroup3d",
        "CAGroup3D": "cagroup3d",
        "DEST": "dest",
        "GSDN": "gsdn",
        "FCAF3D": "fcaf3d",
        "FCAF3D + DLLA": "fcaf3d_dlla",
        "TR3D": "tr3d",
        "TR3D + DLLA": "tr3d_dlla",
        "Baseline": "baseline",
        "SR3D": "sr3d",
    }


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_of_the_other_tables(name):
    rows = {row.setting: row for row in PAPER.tables[name].rows if row.paper}
    found = {
        setting: tuple(row.value("scannet", metric, "mean") for metric in ("AP25", "AP50"))
        for setting, row in rows.items()
    }
    assert found == AVERAGES[name]
    statistics = {s for row in rows.values() for v in row.paper["scannet"].values() for s in v}
    assert statistics == {"mean"}
    assert PAPER.tables[name].datasets == ("scannet",)


def test_the_other_columns_of_tables_2_and_7():
    two = {row.setting: row.value("scannet", "latency_ms", "mean") for row in table_rows("table2")}
    assert two == {"baseline": 42, "spota": 42, "ras": 42, "sr3d": 42}
    seven = {
        row.setting: tuple(
            row.value("scannet", metric, "mean") for metric in ("minutes_per_epoch", "parameters")
        )
        for row in table_rows("table7")
    }
    assert seven == {"tr3d": (12.3, 14.7e6), "sr3d": (12.6, 14.7e6)}


def test_ticks():
    ticks = {name: [row.ticks for row in table_rows(name)] for name in ("table2", "table6")}
    assert ticks == {
        "table2": [(), ("SPOTA",), ("RAS",), ("SPOTA", "RAS")],
        "table6": [(), ("gt_ctr",), ("gt_iou",)],
    }


def test_the_other_tables_have_no_further_numbers():
    counts = {name: sum(map(count, table.rows)) for name, table in PAPER.tables.items()}
    del counts["table1"]  # compared completely above
    assert counts == {
        "table2": 12, "table3": 6, "table4": 6, "table5": 6, "table6": 6, "table7": 8, "open": 0,
        "eq6": 0, "overfit": 0,
    }  # fmt: skip


def table_rows(name: str):
    return [row for row in PAPER.tables[name].rows if row.paper]


def count(row) -> int:
    return sum(len(v) for metrics in row.paper.values() for v in metrics.values())
