"""The main job on real input: SR3D learns two real scans by heart through the whole workflow.

`make test-real`, or by hand: snakemake --config tier=real real_scans=DIR (docs/workflow.md).
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.shared_data import shared
from tests.workflow.checkout import Checkout


@pytest.mark.real
def test_sr3d_learns_real_scans(tmp_path: Path) -> None:
    scans = shared("real/scannet")
    checkout = Checkout.make(tmp_path / "checkout", ("baseline", "spota", "ras", "sr3d"))
    (checkout.folder / "bin" / "sr3d").unlink()  # no stand-in: the command itself
    call = checkout.command("--cores", "2", "--config", "tier=real", f"real_scans={scans}")
    done = subprocess.run(**call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout

    manifest = json.loads((checkout.folder / "data/real/manifest.json").read_text())
    assert {s: f["boxes"] for s, f in manifest["scenes"].items()} == {
        "scene0000_00": 27,
        "scene0113_00": 4,
    }
    results = checkout.folder / "results/real"
    record = json.loads((results / "scannet/sr3d/train0/test0/run.json").read_text())
    print({name: record["metrics"][name] for name in ("AP25", "AP50")})
    assert record["metrics"]["AP25"] >= 90
    table = (results / "report/table2_scannet.md").read_text()
    assert f"{record['metrics']['AP25']:.1f}" in table
    with sqlite3.connect(results / "mlflow.db") as store:
        keys = {value for (value,) in store.execute("select value from tags where key='sr3d.key'")}
    assert {"scannet/sr3d", "scannet/sr3d/train0", "scannet/sr3d/train0/test0"} <= keys
