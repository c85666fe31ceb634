"""Every kernel compiles for a GPU, which needs none: Triton brings the compiler along.

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

CAPABILITIES = (80, 90)

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


def test_kernels_compile_to_tensor_core_code(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env |= {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    command = [sys.executable, "-m", "tests.sparse.test_triton_compile"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert len(facts) == len(CAPABILITIES) * 4 + 5
    for name, fact in facts.items():
        assert fact["shared"] <= 99 * 1024, name  # what a consumer GPU has
        if "convolution" in name or "weight" in name:
            assert fact["tensor_core"], name
            assert fact["asynchronous"], name


def compile_all() -> dict[str, dict[str, Any]]:
    """What the compiler made of the kernels, in the shapes that the networks have."""
    from sr3d.sparse.triton import convolution_kernels as c
    from sr3d.sparse.triton import pooling_kernels as p
    from sr3d.sparse.triton import tables as t
    from sr3d.sparse.triton import weight_kernels as w

    half = dict(x="*bf16", weight="*bf16", out="*bf16", residual="*bf16")
    floats = dict(scale="*fp32", shift="*fp32")
    names = ("order", "lists", "counts", "sources", "table", "winners")
    tables = dict.fromkeys(names, "*i32")
    sizes = dict.fromkeys(("n_out", "padded", "tiles", "stride_k", "stride_i", "size"), "i32")
    types = half | floats | tables | sizes
    conv: dict[str, Any] = dict(
        CI=64, CO=128, VOLUME=27, PER_GROUP=27, MIRRORED=False, PARTIAL=False, WIDEN=False
    )
    conv |= dict(BLOCK_M=64, BLOCK_N=64, BLOCK_K=64, PRECISION="ieee", ACTIVATION="relu")
    conv |= dict(stride_o=1)
    plain = dict(scale=None, shift=None, residual=None, ACTIVATION="none")
    back = dict(stride_i=1, stride_o="i32", MIRRORED=True) | plain
    stem = dict(CI=6, CO=64, BLOCK_K=16)
    split = dict(PER_GROUP=9, PARTIAL=True, out="*fp32") | plain
    weights: dict[str, Any] = dict(
        x="*bf16", grad="*bf16", partials="*fp32", in_rows="*i32", out_rows="*i32", starts="*i32"
    )
    weights |= dict(chunk="i32", VOLUME=27, CI=64, CO=128, BLOCK_M=64, BLOCK_N=64, BLOCK_K=64)
    weights |= dict(PRECISION="ieee", WIDEN=False)
    facts = {}
    for capability in CAPABILITIES:
        for name, more in (("fused", {}), ("backward", back), ("stem", stem)):
            arguments = types | conv | more
            facts[f"convolution {name} {capability}"] = compiled(
                c.convolution, arguments, capability
            )
        facts[f"weight {capability}"] = compiled(w.weight_gradient, weights, capability)
    facts["convolution split"] = compiled(c.convolution, types | conv | split, 90)
    total = dict(partials="*fp32", GROUPS=3, BLOCK=1024, CO=128, ACTIVATION="elu")
    facts["sum of groups"] = compiled(c.sum_groups, types | total, 90)
    pool: dict[str, Any] = dict(CHANNELS=64, VOLUME=8, BLOCK_M=32, BLOCK_N=64)
    facts["max pool"] = compiled(p.max_pool, types | pool, 90)
    rank: dict[str, Any] = dict(significance="*i32", ranks="*i32", VOLUME=27, PER_GROUP=9, GROUPS=3)
    rank |= dict(BITS=9, WIDTH=32, BLOCK_M=64)
    facts["rank"] = compiled(t._rank_rows, types | rank, 90)
    fill: dict[str, Any] = dict(ranked="*i64", count="i32", VOLUME=27, PER_GROUP=9, WIDTH=16)
    facts["fill"] = compiled(t._fill_tiles, types | fill | dict(BLOCK_M=64), 90)
    return facts


def compiled(kernel: Any, arguments: dict[str, Any], capability: int) -> dict[str, Any]:
    """Compile with arguments that are types ("i32", "*fp32") or values (constants)."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    def is_type(value: Any) -> bool:
        return isinstance(value, str) and value.lstrip("*") in {"i32", "i64", "fp32", "bf16"}

    names = kernel.arg_names
    values = {name: arguments[name] for name in names}
    signature = {n: v if is_type(v) else "constexpr" for n, v in values.items()}
    constants = {(names.index(n),): v for n, v in values.items() if not is_type(v)}
    odd = ("n_out", "tiles", "count", "size")  # differ from scene to scene
    aligned = [n for n in names if signature[n] != "constexpr" and n not in odd]
    attributes = {(names.index(n),): [["tt.divisibility", 16]] for n in aligned}
    result = triton.compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": 4, "num_stages": 5},
    )
    ptx = result.asm["ptx"]
    return {
        "shared": result.metadata.shared,
        "tensor_core": "mma.sync" in ptx or "wgmma.mma_async" in ptx,
        "asynchronous": "cp.async" in ptx,
    }


if __name__ == "__main__":
    json.dump(compile_all(), sys.stdout)
