"""The facts about the machine of a result, which are kept with every result."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

from sr3d.runs.files import code_digest

# The files of this package that decide the numbers of a training or evaluation run. Prepared data
# have a separate digest. A test compares this list with the imports of both.
_COMPUTING = (
    "config.py", "config_groups.py", "data/datasets.py", "data/ground_truth.py", "data/loader.py",
    "data/parallel.py", "data/prepared/reading.py", "data/scene.py", "data/superpoints.py",
    "data/transforms.py",
    "runs/folder.py", "runs/record.py", "deploy", "detectors", "evaluate", "geometry", "losses",
    "matching", "sparse", "train",
)  # fmt: skip
BUSY_LOAD = 0.25  # load average per core above which other work disturbs times
_PACKAGES = (
    "sr3d", "torch", "triton", "numpy", "snakemake", "mlflow", "MinkowskiEngine", "mmdet3d",
)  # fmt: skip


def machine_facts() -> dict[str, Any]:
    """Processor, memory, accelerators, operating system, threads, and processes of torchrun."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }


def other_load() -> float:
    """Load average of the last minute without the threads of this process."""
    return max(0.0, os.getloadavg()[0] - torch.get_num_threads())


def is_busy(load: float, cores: int | None) -> bool:
    """Whether other work, as a load average, is high enough to disturb measured times."""
    return load > BUSY_LOAD * (cores or 1)


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that decide a result."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def code_version() -> dict[str, Any]:
    """The git commit of the checkout, whether it was edited, and a digest of the files that decide
    the numbers of a run.

    The first two are None if the package was installed without its repository.
    """
    folder = Path(__file__).resolve().parents[1]  # the package

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *args], capture_output=True, text=True, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--", str(folder))
    return {
        "commit": git("rev-parse", "HEAD"),
        "edited": None if status is None else bool(status),
        "digest": code_digest(folder, _COMPUTING),
    }


def reset_peak_memory(device: torch.device) -> None:
    """Start to measure the peak memory of a run that shares its process with earlier runs.

    Only a GPU's peak can be reset.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_mb() -> dict[str, float]:
    """Peak memory in MiB: `cpu`, and `gpu` if PyTorch finds a GPU.

    cpu: of the process, so it includes earlier runs in the process. gpu: PyTorch's peak since
    `reset_peak_memory`.
    """
    peak = {"cpu": round(peak_resident_mib(), 1)}
    if torch.cuda.is_available():
        peak["gpu"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return peak


def peak_resident_mib() -> float:
    """The peak resident memory of this process, in MiB."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    if sys.platform == "linux":  # getrusage may return the peak of the parent process
        return process_status_mib("VmHWM")
    import resource  # missing on Windows

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def process_status_mib(name: str) -> float:
    """A size that Linux reports of this process, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 2**10


def _gpus() -> list[str]:
    """Names of the GPUs that PyTorch sees, or the error message of a broken driver."""
    try:
        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    except (RuntimeError, AssertionError) as error:
        return [f"not readable: {error}"]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
