"""Processes that hold a leased GPU until they are told to end; the GPUs exist in name only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

# Leases a GPU, says which, and holds it until its stdin closes.
_HOLDER = textwrap.dedent(
    """
    import os, sys
    from pathlib import Path
    from sr3d.runs import gpu_lease
    gpu_lease.POLL_SECONDS = 0.05
    folder = Path(sys.argv[1])
    with gpu_lease.lease_gpu("cuda", folder) as gpu:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == gpu
        assert "torch" not in sys.modules
        (folder / f"used-{gpu}").mkdir()  # fails where another uses it
        print(gpu, flush=True)
        sys.stdin.read()
        (folder / f"used-{gpu}").rmdir()
    """
)


def holder(folder: Path, gpus: str, **torchrun: int) -> subprocess.Popen[str]:
    """One process. torchrun: what that would say in the environment."""
    said = {name: str(value) for name, value in torchrun.items()}
    return subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": gpus, **said},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> str:
    """The GPU that a process got, once it has."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def waits(process: subprocess.Popen[str]) -> list[str]:
    """The leased GPUs that a waiting process names, once it waits.

    Empty if it waits for another job that takes several GPUs.
    """
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.strip()
    return re.findall(r"\d+", line)


def kill(process: subprocess.Popen[str], folder: Path, gpu: str) -> None:
    """End a process that has a GPU without giving it time to tidy."""
    process.kill()
    process.wait(timeout=60)
    (folder / f"used-{gpu}").rmdir()
