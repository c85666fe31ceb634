"""The findings of `sr3d doctor`: facts about the machine, and one small detection on each device.

It must work on broken machines, so a check that fails is a finding.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import torch

from sr3d.detectors import build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.runs.folder import as_jobs_run
from sr3d.runs.machine import code_version, machine_facts, versions
from sr3d.sparse.agreement import compare_engines
from sr3d.sparse.functional import engine_on
from sr3d.sparse.triton_check import VARIABLE, triton_fault

_OPTIONAL = {
    "snakemake": "the workflow: pip install 'sr3d[pipeline]'",
    "mlflow": "the run store: pip install 'sr3d[pipeline]'",
    "pandas": "tables: pip install 'sr3d[pipeline]'",
    "MinkowskiEngine": "model.engine=minkowski: envs/openmmlab.sh builds it",
}
# docs/deploy.md has the same text.
SUPPORT = {
    "Linux": "tested",
    "Darwin": "not tested. Everything should work on the CPU. Apple GPUs are not used",
    "Windows": "not tested. Detection and own data should work. GPUs are not leased. Run the "
    "workflow under WSL",
}
_VARIABLES = ("CUDA_VISIBLE_DEVICES", VARIABLE, "CC", "TRITON_CACHE_DIR", "TRITON_INTERPRET")
_NO_GPU = "not checked: PyTorch sees no GPU"
_ON_A_GPU = ("engine on a GPU", "gpu works", "triton equals torch")


def examine(environment: Mapping[str, str]) -> dict[str, Any]:
    """The findings by name. All values are plain. Never raises."""
    facts = _attempt(machine_facts)
    found: dict[str, Any] = dict(facts) if isinstance(facts, dict) else {"machine": facts}
    found["support"] = SUPPORT.get(platform.system(), "unknown: sr3d is tested on Linux only")
    found |= {f"{name} is": version for name, version in versions().items()}
    found["code"] = code_version()["commit"] or "installed package"
    for name, purpose in _OPTIONAL.items():
        if find_spec(name) is None:
            found[name] = f"absent, needed for {purpose}"
    found |= {name: environment[name] for name in _VARIABLES if name in environment}
    found["cpu works"] = _attempt(lambda: _detect("cpu"))
    if find_spec("MinkowskiEngine") is not None:
        found["MinkowskiEngine works"] = _attempt(lambda: _detect("cpu", "model.engine=minkowski"))
    seen = _attempt(torch.cuda.is_available)
    if seen is not True:
        reason = _NO_GPU if seen is False else f"not checked: torch.cuda {seen}"
        return found | dict.fromkeys(
            ("gpu works", "engine on a GPU", "triton equals torch"), reason
        )
    gpu = torch.device("cuda")
    looks = (lambda: engine_on(gpu), lambda: _detect("cuda"), lambda: _agreement(gpu))
    return found | {name: _attempt(look) for name, look in zip(_ON_A_GPU, looks, strict=True)}


def _attempt(look: Callable[[], Any]) -> Any:
    """The result of a check, or its failure in words."""
    try:
        return look()
    except Exception as error:  # drivers, compilers and libraries raise anything
        lines = str(error).strip().splitlines() or ["no message"]
        return f"failed: {type(error).__name__}: {lines[0]}"


def _detect(device: str, *overrides: str) -> str:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2000, 6, generator=generator)
    model = build_detector(with_overrides(default_config("synthetic"), overrides)).to(device)
    started = time.perf_counter()
    with as_jobs_run(threads=1):
        model.detect(points)
    return f"yes, a small detection took {time.perf_counter() - started:.2f} s"


def _agreement(device: torch.device) -> str:
    if (fault := triton_fault()) is not None:
        return f"not checked: {fault}"
    apart = compare_engines(device)
    return "largest relative difference " + ", ".join(f"{k} {v:.1e}" for k, v in apart.items())
