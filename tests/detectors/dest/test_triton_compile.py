"""The kernels of the selective scan compile for GPUs, which needs none.

The interpreter accepts more than the compiler does, so this runs in a process without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.sparse.test_triton_compile import CAPABILITIES, compiled

KERNELS = ("scan", "gradients")


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_kernels_compile(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env |= {"TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.detectors.dest.test_triton_compile"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts.keys() == {f"{name}, {c}" for name in KERNELS for c in CAPABILITIES}
    assert all(fact["shared"] <= 99 * 1024 for fact in facts.values())  # of a consumer GPU


def compile_all() -> dict[str, dict[str, Any]]:
    """With the blocks and options of the published network: 36 channels per head."""
    from sr3d.detectors.dest.triton import engine, kernels

    sizes = ("batches", "points", "heads", "channels", "states", "first", "stride")
    blocks = dict(CHUNK=engine.CHUNK, BLOCK_P=64, BLOCK_K=16)
    facts = {}
    for name in KERNELS:
        kernel = getattr(kernels, name)
        tensors = dict.fromkeys(kernel.arg_names, "*fp32")
        arguments = tensors | dict.fromkeys(sizes, "i32") | blocks
        for capability in CAPABILITIES:
            made = compiled(kernel, arguments, capability, engine._WARPS)
            facts[f"{name}, {capability}"] = made
    return facts


if __name__ == "__main__":
    json.dump(compile_all(), sys.stdout)
