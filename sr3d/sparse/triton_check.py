"""Checks whether Triton can run, and chooses the engine that `model.engine=native` means.

Triton compiles a small launcher in C when a kernel first runs. This needs a C compiler and Python's
headers, which slim container images lack.
"""

from __future__ import annotations

import logging
import os
import shutil
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch

from sr3d.errors import InputError, Kind

VARIABLE = "SR3D_ENGINE"
_CHOICES = ("native", "torch", "triton")
_COMPILERS = ("gcc", "clang", "cc")
_log = logging.getLogger(__name__)


def native_engine(device: torch.device) -> Literal["torch", "triton"]:
    """The engine of a device, if the configuration says `native`.

    On a GPU: Triton, unless it cannot run or the environment variable SR3D_ENGINE names another.
    If Triton cannot run, a warning says so, once per process.

    Raises:
        InputError: SR3D_ENGINE is unknown, or requests Triton where it cannot run.
    """
    asked = os.environ.get(VARIABLE) or "native"
    if asked not in _CHOICES:
        raise InputError(
            f"'{asked}' is unknown",
            field=VARIABLE,
            kind=Kind.UNKNOWN,
            remedy=f"Choose one of {', '.join(_CHOICES)}.",
        )
    if device.type != "cuda" or asked == "torch":
        return "torch"
    if asked == "triton":
        require_triton(f"{VARIABLE}=triton")
    return "triton" if _triton_runs() else "torch"


def require_triton(who: str) -> None:
    """Check that Triton can run. who: the option that requests it, for the message.

    Raises:
        InputError: it cannot.
    """
    if (fault := triton_fault()) is not None:
        raise InputError(fault, field=who, kind=Kind.MISSING, remedy="Or use model.engine=native.")


@cache
def triton_fault() -> str | None:
    """The reason why Triton cannot run, with the remedy. None if a kernel compiles and runs."""
    if find_spec("triton") is None:
        return "Triton is not installed. Run `pip install triton`"
    try:
        from sr3d.sparse.triton import probe

        return probe.fault()
    except Exception as error:  # a broken installation may raise anything
        return _explained(error)


@cache
def _triton_runs() -> bool:
    fault = triton_fault()
    if fault is not None:
        _log.warning(
            "Triton cannot run: %s. The torch engine computes in its place, which is slower. "
            "To choose it without this warning, set %s=torch",
            fault,
            VARIABLE,
        )
    return fault is None


def _explained(error: Exception) -> str:
    compilers = [os.environ["CC"]] if os.environ.get("CC") else _COMPILERS
    if not any(shutil.which(name) for name in compilers):
        return (
            f"no C compiler ({' or '.join(compilers)}) is on the PATH. Install one "
            "(`apt install gcc libc6-dev`, or `conda install c-compiler`)"
        )
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").exists():
        return (
            f"{headers} has no Python.h. Install Python's headers (`apt install python3-dev`), or "
            "use a Python with headers (conda's, or pyenv's)"
        )
    reason = str(error).strip().splitlines() or ["no message"]
    return (
        f"{type(error).__name__}: {reason[0]}. `sr3d doctor` prints the versions of driver, "
        "PyTorch and Triton, which must be compatible"
    )
