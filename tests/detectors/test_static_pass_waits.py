"""The pass that a CUDA graph records runs on tensors without values: it never looks at a result.

PyTorch's meta device has shapes and no values, so whatever a host would have to wait for (an item,
a count of what is not zero) raises there. Triton's kernels do nothing in this test; what is around
them is the real code. It needs no GPU, and is what can be shown of a recording without one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from sr3d.deploy.fused_network import FusedNetwork
from sr3d.deploy.static_pass import StaticPass
from sr3d.sparse import functional
from tests.detectors.test_compiled import MODELS, Make, capacity_for, scan
from tests.sparse import triton_cases  # noqa: F401 (sets Triton up before it is imported)


class NoKernel:
    def __init__(self) -> None:
        self.launches = 0

    def __getitem__(self, grid: object) -> Callable[..., None]:
        def launch(*args: object, **kwargs: object) -> None:
            self.launches += 1

        return launch


class Uploads(TorchFunctionMode):
    """Notes every call that brings values of the host's to the device: a graph can record none.

    Tensors made of Python's numbers are such, and so are lists that index; the meta device itself
    passes both over, for want of values.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        devices = {t.device.type for t in tree_leaves((args, kwargs, result)) if is_tensor(t)}
        from_numbers = func in MADE_OF_NUMBERS and devices == {"meta"}
        if devices == {"cpu", "meta"} or from_numbers or (func in INDEXING and has_list(args[1])):
            self.found.append(str(func))
        return result


MADE_OF_NUMBERS = {torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor}
INDEXING = {torch.Tensor.__getitem__, torch.Tensor.__setitem__}


def has_list(index: object) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, list | np.ndarray) for part in parts)


def is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[NoKernel]:
    from sr3d.sparse.triton import convolution_kernels, engine, neighbor_tables, pooling_kernels

    kernel = NoKernel()
    for module, names in (
        (convolution_kernels, ("convolution", "sum_groups")),
        (pooling_kernels, ("max_pool",)),
        (neighbor_tables, ("_fill_tiles", "_rank_rows")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, kernel)
    monkeypatch.setattr(engine, "INTERPRETED", True)
    # Autocast does not know the meta device.
    monkeypatch.setattr(functional, "_autocast", lambda x, weight: (x, weight))
    with functional.engine("triton"):
        yield kernel


@MODELS
@pytest.mark.parametrize(
    ("dataset", "dtype"), [("scannet", torch.float16), ("sunrgbd", torch.float32)]
)
def test_it_never_waits_and_brings_nothing_along(
    kernels: NoKernel, dataset: str, dtype: torch.dtype, make: Make
) -> None:
    model, points = make(dataset), scan()
    capacity = capacity_for(model, points)
    network = FusedNetwork(model, dtype).to("meta")  # type: ignore[arg-type]
    static = StaticPass(network, capacity)
    cloud = torch.empty(2, capacity.points, 3, device="meta")
    inputs = cloud[0], cloud[1], torch.empty((), dtype=torch.int64, device="meta")
    static(*inputs)  # to warm up, as before a recording: constants are brought there once
    kernels.launches = 0
    with Uploads() as uploads:
        found = static(*inputs)
    assert found.keep.shape == (len(found.boxes), len(model.dataset.classes))
    assert found.overflow.device.type == "meta"
    assert kernels.launches > 50
    assert uploads.found == []


def test_the_check_notices_a_wait_and_an_upload() -> None:
    values = torch.empty(3, device="meta")
    with pytest.raises((NotImplementedError, RuntimeError)):
        values.nonzero()
    with pytest.raises((NotImplementedError, RuntimeError)):
        values.sum().item()
    for upload in (
        lambda: torch.ones(3).to("meta"),
        lambda: values.new_tensor([1.0, 2.0]),
        lambda: torch.tensor([1, 2], device="meta"),
        lambda: torch.as_tensor([1, 2], device="meta"),
        lambda: values[[0, 2]],
        lambda: values.add(torch.ones(3, device="meta")[[0, 1, 2]]),
    ):
        with Uploads() as uploads:
            upload()
        assert len(uploads.found) == 1
