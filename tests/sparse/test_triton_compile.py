"""Every kernel compiles for a GPU, which needs none: Triton brings the compiler along.

The interpreter accepts more than the compiler does, so this runs in a process without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

CAPABILITIES = (80, 89, 90)
# Arithmetic of `tuning`: type of the features, and of the products.
ARITHMETICS = {"half": ("bf16", "ieee"), "tf32": ("fp32", "tf32"), "float32": ("fp32", "ieee")}
OPERATIONS = ("forward", "input gradient", "weight gradient")

OTHERS = ("stem", "sum of groups", "max pool", "max pool gradient", "rank", "fill", "probe")

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


def test_kernels_compile_for_every_arithmetic(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env |= {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    command = [sys.executable, "-m", "tests.sparse.test_triton_compile"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert all(fact["shared"] <= 99 * 1024 for fact in facts.values())  # of a consumer GPU
    for operation, arithmetic, capability in product(OPERATIONS, ARITHMETICS, CAPABILITIES):
        fact = facts.pop(f"{operation}, {arithmetic}, {capability}")
        # IEEE products of float32 are not for tensor cores.
        assert fact["tensor_core"] == (arithmetic != "float32"), (operation, arithmetic)
        assert fact["asynchronous"], (operation, arithmetic)
    others = {f"{name}, {capability}" for name in OTHERS for capability in CAPABILITIES}
    assert facts.keys() == others


def compile_all() -> dict[str, dict[str, Any]]:
    """What the compiler made of the kernels, in the shapes that the networks have."""
    facts = {}
    for capability in CAPABILITIES:
        for arithmetic in ARITHMETICS:
            for operation, made in of_layer(arithmetic, capability).items():
                facts[f"{operation}, {arithmetic}, {capability}"] = made
        facts |= {f"{name}, {capability}": made for name, made in rest(capability).items()}
    return facts


TABLES = dict.fromkeys(("order", "lists", "counts", "sources", "table", "winners"), "*i32")
SIZES = dict.fromkeys(
    ("n_in", "n_out", "padded", "tiles", "stride_k", "stride_i", "size", "chunk"), "i32"
)
PLAIN = dict(scale=None, shift=None, residual=None, ACTIVATION="none")


def of_layer(arithmetic: Any, capability: int) -> dict[str, dict[str, Any]]:
    """A large layer from 64 to 128 channels, with the configurations that it would run with."""
    from sr3d.sparse.triton import convolution_kernels, weight_kernels
    from sr3d.sparse.triton.tuning import KernelConfig, Layer, choose

    dtype, precision = ARITHMETICS[arithmetic]

    def config(operation: Any) -> KernelConfig:
        return choose(Layer(operation, arithmetic, 64, 128, 27, 15), torch.device("cpu"))

    def blocks(c: KernelConfig) -> dict[str, Any]:
        return dict(BLOCK_M=c.block_m, BLOCK_N=c.block_n, BLOCK_K=c.block_k, PRECISION=precision)

    def kernel(run: Any, c: KernelConfig, **arguments: Any) -> dict[str, Any]:
        values = TABLES | SIZES | blocks(c) | dict(VOLUME=27, CI=64, CO=128, WIDEN=False)
        return compiled(run, values | arguments, capability, c.warps, c.stages)

    c = config("convolution")
    partial = c.groups > 1
    features = dict(x=f"*{dtype}", weight=f"*{dtype}", out="*fp32" if partial else f"*{dtype}")
    fused = dict(scale="*fp32", shift="*fp32", residual=f"*{dtype}", ACTIVATION="relu")
    shape = dict(PER_GROUP=-(-27 // c.groups), PARTIAL=partial)
    pairs = dict.fromkeys(("in_rows", "out_rows", "starts"), "*i32")
    return {
        "forward": kernel(
            convolution_kernels.convolution,
            c,
            **features | shape | (PLAIN if partial else fused),
            stride_o=1,
            MIRRORED=False,
        ),
        "input gradient": kernel(
            convolution_kernels.convolution,
            c,
            **features | shape | PLAIN | dict(stride_i=1, stride_o="i32", MIRRORED=True),
        ),
        "weight gradient": kernel(
            weight_kernels.weight_gradient,
            config("weight_gradient"),
            **pairs,
            x=f"*{dtype}",
            grad=f"*{dtype}",
            partials="*fp32",
        ),
    }


def rest(capability: int) -> dict[str, dict[str, Any]]:
    """The other kernels, and the stem's convolution, whose 6 channels fill no block."""
    from sr3d.sparse.triton import convolution_kernels as c
    from sr3d.sparse.triton import neighbor_tables as t
    from sr3d.sparse.triton import pooling_kernels as p
    from sr3d.sparse.triton import probe

    half = dict(x="*bf16", weight="*bf16", out="*bf16", grad="*bf16")
    stem: dict[str, Any] = dict(VOLUME=27, PER_GROUP=27, CI=6, CO=64, stride_o=1)
    stem |= dict(MIRRORED=False, PARTIAL=False, WIDEN=False, PRECISION="ieee")
    stem |= dict(BLOCK_M=64, BLOCK_N=64, BLOCK_K=16)
    total = dict(partials="*fp32", GROUPS=3, BLOCK=1024, CO=128)
    pool = dict(CHANNELS=64, VOLUME=8, BLOCK_M=32, BLOCK_N=64)
    rows = dict(VOLUME=27, PER_GROUP=9, BLOCK_M=64)
    rank = dict(significance="*i32", ranks="*i32", GROUPS=3, BITS=9, WIDTH=32)
    fill = dict(ranked="*i64", count="i32", WIDTH=16)
    kernels: dict[str, tuple[Any, dict[str, Any]]] = {
        "stem": (c.convolution, stem | PLAIN),
        "sum of groups": (c.sum_groups, total | PLAIN | dict(ACTIVATION="elu")),
        "max pool": (p.max_pool, pool),
        "max pool gradient": (p.max_pool_gradient, pool),
        "rank": (t._rank_rows, rows | rank),
        "fill": (t._fill_tiles, rows | fill),
        "probe": (probe._add_one, dict(values="*fp32", SIZE=16)),
    }
    return {
        name: compiled(kernel, TABLES | SIZES | half | arguments, capability)
        for name, (kernel, arguments) in kernels.items()
    }


def compiled(
    kernel: Any,
    arguments: dict[str, Any],
    capability: int,
    warps: int = 4,
    stages: int = 5,
    **options: Any,
) -> dict[str, Any]:
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
    odd = ("n_in", "n_out", "tiles", "count", "size", "chunk")  # differ from scene to scene
    aligned = [n for n in names if signature[n] != "constexpr" and n not in odd]
    attributes = {(names.index(n),): [["tt.divisibility", 16]] for n in aligned}
    result = triton.compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": warps, "num_stages": stages, **options},
    )
    ptx = result.asm["ptx"]
    return {
        "shared": result.metadata.shared,
        "tensor_core": "mma.sync" in ptx or "wgmma.mma_async" in ptx,
        "asynchronous": "cp.async" in ptx,
        "fused_multiply_add": "fma.rn.f32" in ptx,
    }


if __name__ == "__main__":
    json.dump(compile_all(), sys.stdout)
