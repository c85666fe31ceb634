"""Lease a GPU to each process on a machine with several GPUs.

Snakemake counts GPUs but does not assign them.

A lease is a locked file per GPU. The process holds it for its lifetime, and the kernel frees it
when the process ends for any reason. Among processes of torchrun, the first takes the GPUs of all
and assigns them. It keeps its GPUs while it waits for more, because otherwise jobs with one GPU
could overtake it for ever. Only one job at a time may do so, because two could wait for each other.

Jobs of a batch system see only their assigned GPUs, so they lease them at once. This module must
run before torch is imported, so it does not import torch.

Processes share the lock of a GPU. `filelock` has no shared locks, and Windows has no `fcntl`. So
GPUs are not leased on Windows: each process sees all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from sr3d.errors import InputError, Kind
from sr3d.runs.files import writing

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL_SECONDS = 0.5
_ELSEWHERE = "Set TMPDIR to a folder that you may write."  # see `lock_folder`

T = TypeVar("T")
LockMode = Literal["exclusive", "shared"]


@contextmanager
def lease_gpu(device: str = "cuda", folder: Path | None = None) -> Iterator[str | None]:
    """Wait for a GPU that no other lease holds, and make it the only one visible to CUDA.

    Yields its name in CUDA_VISIBLE_DEVICES (an index, or an identifier if the variable holds
    identifiers). Yields None and does nothing if `device` is not "cuda", without a GPU, and on
    Windows. folder: of the lock files. Under torchrun all processes of the machine must call this.

    Raises:
        InputError: torchrun started more processes than there are GPUs, or the folder of the lock
            files cannot be written.
    """
    gpus = visible_gpus() if device == "cuda" else []
    if gpus and sys.platform == "win32":
        print("GPUs are not leased on Windows: start one job at a time", file=sys.stderr)
        gpus = []
    if not gpus:
        yield None
        return
    folder = folder or lock_folder()
    with writing(folder, _ELSEWHERE):
        folder.mkdir(parents=True, exist_ok=True)
    before = {name: os.environ.get(name) for name in (VISIBLE, "CUDA_DEVICE_ORDER")}
    with ExitStack() as held:
        gpu = _lease(gpus, folder, held)
        if not before[VISIBLE]:
            # nvidia-smi numbers GPUs along the bus, CUDA from the fastest.
            os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ[VISIBLE] = gpu
        try:
            yield gpu
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def visible_gpus() -> list[str]:
    """The GPUs that this process may use: those in CUDA_VISIBLE_DEVICES if set, else all."""
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # CUDA ignores everything from the first invalid name on. -1 usually means none.
        return names[: next((i for i, n in enumerate(names) if n in ("", "-1")), len(names))]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


def lock_folder() -> Path:
    """The folder of leases, per user and, under Slurm, per step, because a step renumbers GPUs."""
    step = [os.environ[name] for name in ("SLURM_JOB_ID", "SLURM_STEP_ID") if name in os.environ]
    return Path(tempfile.gettempdir()) / "-".join(["sr3d-gpus", str(os.getuid()), *step])


def _lease(gpus: list[str], folder: Path, held: ExitStack) -> str:
    """The GPU of this process, locked until `held` is closed."""
    rank = int(os.environ.get("LOCAL_RANK", "0"))  # set by torchrun
    count = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if count > len(gpus):
        raise InputError(
            f"{count} processes, but {len(gpus)} GPUs",
            field="--nproc-per-node",
            kind=Kind.CONFLICT,
            remedy=f"Pass --nproc-per-node={len(gpus)} to torchrun.",
        )
    if count == 1:
        return _take_one(gpus, folder, held, "exclusive")
    job = folder / f"job-{os.environ.get('MASTER_PORT', '')}"  # running jobs have different ports
    if rank == 0:
        taken = _take_several(count, gpus, folder, held)
        _tell(job, taken, held)
    else:
        taken = _wait_for(lambda: _assigned(job))
        # Beside the first process's lock, so the GPU is free only after both have ended.
        _wait_for(lambda: _lock(_lock_file(taken[rank], folder), held, "shared"))
    return taken[rank]


def _take_several(count: int, gpus: list[str], folder: Path, held: ExitStack) -> list[str]:
    """Take GPUs as they become free. Meanwhile no other job takes several."""
    taken: list[str] = []
    with ExitStack() as gate:
        _wait_for(
            lambda: _lock(folder / "several.lock", gate, "exclusive"),
            "another job is taking several GPUs: waiting",
        )
        while len(taken) < count:
            left = [gpu for gpu in gpus if gpu not in taken]
            # Locked exclusively first, then shared with the process that will use it.
            taken.append(_take_one(left, folder, held, "exclusive", "shared"))
    return sorted(taken, key=gpus.index)


def _take_one(gpus: list[str], folder: Path, held: ExitStack, *modes: LockMode) -> str:
    """The first free GPU, locked."""
    return _wait_for(
        lambda: next((g for g in gpus if _lock(_lock_file(g, folder), held, *modes)), None),
        f"all GPUs are leased ({', '.join(gpus)}): waiting",
    )


def _lock_file(gpu: str, folder: Path) -> Path:
    return folder / f"{gpu.replace('/', '_')}.lock"


def _lock(path: Path, held: ExitStack, *modes: LockMode) -> bool:
    """Whether the file could be locked in all these ways, one after the other."""
    import fcntl  # missing on Windows, which leases nothing

    flags = {"exclusive": fcntl.LOCK_EX, "shared": fcntl.LOCK_SH}
    with writing(path, _ELSEWHERE):
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for mode in modes:
            fcntl.flock(lock, flags[mode] | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    held.callback(os.close, lock)
    return True


def _tell(job: Path, gpus: list[str], held: ExitStack) -> None:
    """Write each process's GPU to a file that is valid while this process keeps it locked."""
    fresh = job.with_suffix(".new")
    _lock(fresh, held, "exclusive")
    fresh.write_text(json.dumps(gpus), encoding="utf-8")
    fresh.replace(job)
    held.callback(job.unlink, missing_ok=True)


def _assigned(job: Path) -> list[str] | None:
    """The content of `_tell`, unless its process has ended."""
    with ExitStack() as probe:
        if not job.exists() or _lock(job, probe, "shared"):
            return None
    return json.loads(job.read_text(encoding="utf-8"))


def _wait_for(attempt: Callable[[], T | None], message: str = "") -> T:
    """Repeat the attempt until it returns a value. If this takes long, print the message."""
    printed = not message
    while not (got := attempt()):
        if not printed:
            print(message, file=sys.stderr, flush=True)
            printed = True
        time.sleep(POLL_SECONDS)
    return got
