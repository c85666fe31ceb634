"""What `sr3d doctor` finds: facts about the machine, and one small detection on each device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch

from sr3d.config import default_config
from sr3d.machine import code_version, machine_facts, versions
from sr3d.models.detector import build_detector
from sr3d.runs import as_jobs_run

_OPTIONAL = {
    "snakemake": "the workflow: pip install 'sr3d[pipeline]'",
    "mlflow": "the run store: pip install 'sr3d[pipeline]'",
    "scipy": "summaries: pip install 'sr3d[pipeline]'",
    "pandas": "tables: pip install 'sr3d[pipeline]'",
    "MinkowskiEngine": "model.engine=minkowski: envs/openmmlab.sh builds it",
}


def examine(environment: Mapping[str, str]) -> dict[str, Any]:
    """Name of each finding to its value; the values are plain."""
    found: dict[str, Any] = {**machine_facts(), **{f"{k} is": v for k, v in versions().items()}}
    found["code"] = code_version()["commit"] or "installed package"
    for name, purpose in _OPTIONAL.items():
        if find_spec(name) is None:
            found[name] = f"absent; for {purpose}"
    if "CUDA_VISIBLE_DEVICES" in environment:
        found["CUDA_VISIBLE_DEVICES"] = environment["CUDA_VISIBLE_DEVICES"]
    found["cpu works"] = _try("cpu")
    if find_spec("MinkowskiEngine") is not None:
        found["MinkowskiEngine works"] = _try("cpu", "model.engine=minkowski")
    found["gpu works"] = _try("cuda") if torch.cuda.is_available() else "no GPU seen by PyTorch"
    return found


def _try(device: str, *overrides: str) -> str:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2000, 6, generator=generator)
    model = build_detector(default_config("synthetic").with_overrides(overrides)).to(device)
    started = time.perf_counter()
    with as_jobs_run(threads=1):
        model.detect(points)
    return f"yes, a small detection took {time.perf_counter() - started:.2f} s"
