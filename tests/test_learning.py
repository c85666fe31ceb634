"""Detectors learn through the whole workflow: a few real scenes, and procedural rooms.

`make test-real`, or by hand: snakemake --config tier=real real_scans=DIR (docs/workflow.md).
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.shared_data import shared
from tests.workflow.checkout import Checkout


def run(tmp_path: Path, *config: str, **changes: Any) -> Checkout:
    checkout = Checkout.make(tmp_path / "checkout", ("baseline", "spota", "ras", "sr3d"))
    checkout.sr3d.unlink()  # no stand-in: the command itself
    checkout.edit("config.yaml", checkout.read("config.yaml") | changes)
    call = checkout.command("--cores", "2", "--config", *config)
    done = subprocess.run(**call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return checkout


def boxes(prepared: Path) -> dict[str, int]:
    manifest = json.loads((prepared / "manifest.json").read_text())
    return {scene: facts["boxes"] for scene, facts in manifest["scenes"].items()}


def check_results(
    results: Path,
    dataset: str,
    setting: str = "sr3d",
    table_name: str = "table2",
    at_least: float = 90,
) -> dict[str, Any]:
    record = json.loads((results / f"{dataset}/{setting}/train0/test0/run.json").read_text())
    print(setting, {name: record["metrics"][name] for name in ("AP25", "AP50")})
    assert record["metrics"]["AP25"] >= at_least
    table = (results / f"report/{table_name}_{dataset}.md").read_text()
    assert f"{record['metrics']['AP25']:.1f}" in table
    with sqlite3.connect(results / "mlflow.db") as store:
        keys = {value for (value,) in store.execute("select value from tags where key='sr3d.key'")}
        profiles = [text for (text,) in store.execute("select dataset_profile from datasets")]
    run = f"{dataset}/{setting}"
    runs = {run, f"{run}/train0", f"{run}/train0/test0"}
    assert runs <= keys
    # The data set entry of the store tells what the data are.
    facts = [json.loads(profile) for profile in profiles]
    assert facts
    assert all(fact["source"] and fact["labels"] and fact["digest"] for fact in facts)
    return record["data"]


@pytest.mark.real
def test_sr3d_learns_real_scans(tmp_path: Path) -> None:
    checkout = run(tmp_path, "tier=real", f"real_scans={shared('real/scannet')}")
    prepared = checkout.folder / "data" / "real"
    assert boxes(prepared) == {"scene0000_00": 27, "scene0113_00": 4}
    check_results(checkout.folder / "results" / "real", "scannet")


@pytest.mark.real
@pytest.mark.parametrize(
    "setting",
    [
        "votenet_overfit",
        "mlcvnet_overfit",
        "brnet_overfit",
        "rbgnet_overfit",
        "groupfree_overfit",
        "dest_overfit",
        "3detr_overfit",
        "3detr_m_overfit",
    ],
)
def test_detectors_on_points_learn_real_scans(setting: str, tmp_path: Path) -> None:
    scans = f"real_scans={shared('real/scannet')}"
    checkout = run(tmp_path, "tier=real_points", scans, settings=[setting])
    check_results(checkout.folder / "results" / "real_points", "scannet", setting, "overfit")


@pytest.mark.real
@pytest.mark.parametrize(
    ("setting", "at_least"),
    [
        ("votenet", 55),
        ("mlcvnet", 55),
        ("brnet", 55),
        ("rbgnet", 55),
        ("groupfree", 50),
        ("3detr_m", 20),
    ],
)
def test_detectors_on_points_learn_rooms(setting: str, at_least: float, tmp_path: Path) -> None:
    """On 40 rooms that they have not seen, with the thin presets."""
    few = {"trainings": 1, "tests": 1, "settings": [setting]}
    checkout = run(tmp_path, "tier=table1_rooms", **few)
    results = checkout.folder / "results" / "table1_rooms"
    check_results(results, "synthetic", setting, "table1", at_least)


@pytest.mark.real
def test_sr3d_learns_real_frames_with_oriented_boxes(tmp_path: Path) -> None:
    checkout = run(tmp_path, "tier=real_sunrgbd", f"real_scans={shared('real/sunrgbd')}")
    prepared = checkout.folder / "data" / "real_sunrgbd"
    assert boxes(prepared) == {"000001": 3, "001712": 5, "000017": 2}
    data = check_results(checkout.folder / "results" / "real_sunrgbd", "sunrgbd")
    assert data["split"] == "val"


@pytest.mark.real
def test_sr3d_learns_rooms_with_oriented_boxes(tmp_path: Path) -> None:
    checkout = run(
        tmp_path,
        "tier=rotated",
        settings=["sr3d"],
        trainings=1,
        tests=1,
        test_split="train",
        synthetic={"train": 8, "val": 4, "points": 20_000, "seed": 0},
        overrides=[
            "augment.flip_x=0",
            "augment.rotation=1.0",
            "augment.scale=[0.95, 1.05]",
            "train.repeat=12",
        ],
    )
    assert len(boxes(checkout.folder / "data" / "synthetic_rotated")) == 12
    data = check_results(checkout.folder / "results", "synthetic_rotated")
    assert (data["split"], data["labels"]) == ("train", "exact")
