"""One GPU per job on a machine with several: Snakemake counts GPUs but assigns none.

A lease is a locked file per GPU, held for the life of the job and freed by the kernel with its
process, however that ends. Jobs that a batch system started see only the GPU that they were given,
and so lease it at once. This module must run before torch is imported, and so does not import it.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL_SECONDS = 0.5


@contextmanager
def lease_gpu(device: str = "cuda", folder: Path | None = None) -> Iterator[str | None]:
    """Wait for a GPU that no other lease holds, and make it the only one that CUDA shows.

    Yields its name in CUDA_VISIBLE_DEVICES (an index, or an identifier where the variable holds
    those); None, and nothing is done, where `device` is not "cuda" or there is no GPU. folder: of
    the lock files.
    """
    gpus = visible_gpus() if device == "cuda" else []
    if not gpus:
        yield None
        return
    folder = folder or lock_folder()
    folder.mkdir(parents=True, exist_ok=True)
    gpu, lock = _wait_for_one(gpus, folder)
    before = {name: os.environ.get(name) for name in (VISIBLE, "CUDA_DEVICE_ORDER")}
    if not before[VISIBLE]:
        # nvidia-smi, which gave the index, counts along the bus; CUDA counts from the fastest.
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ[VISIBLE] = gpu
    try:
        yield gpu
    finally:
        os.close(lock)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def visible_gpus() -> list[str]:
    """The GPUs that this process may use: those of CUDA_VISIBLE_DEVICES if set, else all."""
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # CUDA ignores everything from the first invalid name on; -1 is the usual one for "none".
        return names[: next((i for i, n in enumerate(names) if n in ("", "-1")), len(names))]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


def lock_folder() -> Path:
    """Where leases are kept: per person and, under Slurm, per step, where indices start anew."""
    step = [os.environ[name] for name in ("SLURM_JOB_ID", "SLURM_STEP_ID") if name in os.environ]
    return Path(tempfile.gettempdir()) / "-".join(["sr3d-gpus", str(os.getuid()), *step])


def _wait_for_one(gpus: list[str], folder: Path) -> tuple[str, int]:
    """The first GPU to be free, and the descriptor whose lock holds it."""
    waiting = False
    while True:
        for gpu in gpus:
            lock = os.open(folder / f"{gpu.replace('/', '_')}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return gpu, lock
            except BlockingIOError:
                os.close(lock)
        if not waiting:
            print(f"all GPUs are leased ({', '.join(gpus)}): waiting", file=sys.stderr, flush=True)
            waiting = True
        time.sleep(POLL_SECONDS)
