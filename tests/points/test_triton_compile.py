"""Every kernel compiles for a GPU, which needs none, and without fused multiply-adds.

The interpreter accepts more than the compiler does, so this runs in a process without it.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.sparse.test_triton_compile import CAPABILITIES, compiled

KERNELS = ("furthest_points", "ball_query", "nearest")


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_kernels_compile_to_the_exact_rule(tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env |= {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    command = [sys.executable, "-m", "tests.points.test_triton_compile"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts.keys() == {f"{name}, {c}" for name in KERNELS for c in CAPABILITIES}
    for fact in facts.values():
        assert fact["shared"] <= 99 * 1024  # of a consumer GPU
        assert not fact["fused_multiply_add"]


def compile_all():
    """The kernels with the blocks and options that the engine launches them with."""
    from sr3d.points.triton import engine, kernels

    floats = dict.fromkeys(("points", "distance", "centres", "queries"), "*fp32")
    integers = dict.fromkeys(("chosen", "found", "index"), "*i64")
    sizes = dict.fromkeys(("number", "count", "balls", "rows_total"), "i32")
    blocks = dict(BLOCK=engine._SAMPLING_BLOCK, BLOCK_M=engine._ROWS, BLOCK_N=engine._COLUMNS)
    arguments = floats | integers | sizes | blocks | dict(limit="fp32", SLOTS=64, K=3)
    warps = {"furthest_points": engine._SAMPLING_WARPS}
    return {
        f"{name}, {capability}": compiled(
            getattr(kernels, name),
            arguments,
            capability,
            warps.get(name, 4),
            **engine._EXACT,
        )
        for name in KERNELS
        for capability in CAPABILITIES
    }


if __name__ == "__main__":
    json.dump(compile_all(), sys.stdout)
