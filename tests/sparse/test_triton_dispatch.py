from tests.sparse.triton_cases import DEVICE, kernel_map, random  # isort: skip

import subprocess
import sys
from typing import Any

import pytest

from sr3d.sparse import torch_engine
from sr3d.sparse.epilogue import Epilogue
from sr3d.sparse.functional import engine, max_pool, sparse_conv, sparse_conv_fused
from sr3d.sparse.triton import engine as triton_engine


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which engine computed what."""
    seen: list[str] = []
    for name, module in (("torch", torch_engine), ("triton", triton_engine)):
        for function in ("convolve", "input_gradient", "weight_gradient", "max_pool"):
            original = getattr(module, function)

            def spy(
                *args: Any, label: str = f"{name} {function}", run: Any = original, **more: Any
            ) -> Any:
                seen.append(label)
                return run(*args, **more)

            monkeypatch.setattr(module, function, spy)
    return seen


def test_the_device_decides(calls: list[str]) -> None:
    m = kernel_map("2³ strided")
    expected = "triton" if DEVICE.type == "cuda" else "torch"
    sparse_conv(random(m.n_in, 4), random(8, 4, 4), m)
    max_pool(random(m.n_in, 4), m)
    assert calls == [f"{expected} convolve", f"{expected} max_pool"]
    calls.clear()
    sparse_conv(random(m.n_in, 4).double(), random(8, 4, 4).double(), m)
    assert calls == ["torch convolve"]


def test_forced_engine_has_the_gradients_too_and_ends_with_its_block(calls: list[str]) -> None:
    m = kernel_map("2³ strided")
    x, weight = random(m.n_in, 4).requires_grad_(), random(8, 4, 4).requires_grad_()
    with engine("triton"):
        y = sparse_conv(x, weight, m)
        with engine("torch"):
            max_pool(x, m)
        max_pool(x, m)
    y.sum().backward()
    kinds = ["triton convolve", "torch max_pool", "triton max_pool"]
    assert calls == [*kinds, "triton input_gradient", "triton weight_gradient"]
    calls.clear()
    with pytest.raises(RuntimeError), engine("torch"):
        raise RuntimeError
    sparse_conv(x, weight, m)
    assert calls[0].startswith("triton" if DEVICE.type == "cuda" else "torch")


def test_what_the_kernels_cannot_compute_is_refused() -> None:
    m = kernel_map("2³ strided")
    x, weight = random(m.n_in, 4), random(8, 4, 4)
    with engine("triton"):
        with pytest.raises(ValueError, match="float64"):
            sparse_conv(x.double(), weight.double(), m)
        with pytest.raises(ValueError, match="bfloat16"):
            sparse_conv(x, weight.bfloat16(), m)
        with pytest.raises(ValueError, match="8 offsets"):
            sparse_conv(x, random(27, 4, 4), m)
        with pytest.raises(ValueError, match=str(m.n_in)):
            sparse_conv(x[:-1], weight, m)
        with pytest.raises(ValueError, match="residual"):
            sparse_conv_fused(x, weight, m, Epilogue(residual=x))


@pytest.mark.skipif(DEVICE.type == "cuda", reason="about a machine without a GPU")
def test_without_a_gpu_the_error_says_how_to_test() -> None:
    code = """
import torch
from sr3d.sparse import Sites, functional
sites = Sites.from_coords(torch.tensor([[0, 1, 2, 3]]))
with functional.engine("triton"):
    functional.sparse_conv(torch.ones(1, 4), torch.ones(27, 4, 4), sites.kernel_map(sites, 3))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert "TRITON_INTERPRET=1" in done.stderr
    assert done.returncode == 1


def test_triton_is_not_imported_until_it_is_used() -> None:
    code = """
import sys, torch
import sr3d.sparse.nn
from sr3d.sparse import Sites, functional
sites = Sites.from_coords(torch.tensor([[0, 1, 2, 3]]))
functional.sparse_conv(torch.ones(1, 4), torch.ones(27, 4, 4), sites.kernel_map(sites, 3))
assert "triton" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], env={"PATH": ""}, check=True)
