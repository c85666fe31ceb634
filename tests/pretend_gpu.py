"""A GPU that is not there: which device each tensor would lie on, and what would wait for it.

All tensors lie in the processor's memory; those that would on a real machine are marked, and every
other one counts as the GPU's and says that it lies there. So code takes the ways that it takes on a
GPU and gives real values, while a tensor of the wrong device, a wait of the host's and a copy to
the GPU are noticed. Triton's kernels run in its interpreter.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
ROOT = Path(__file__).resolve().parents[1]


class OnHost(Tensor):
    """A tensor in the processor's memory; pinned, so that it can be copied without waiting?"""

    pinned = False
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


_PROPERTIES: dict[Any, Callable[[Tensor], Any]] = {
    Tensor.device.__get__: lambda x: CPU if isinstance(x, OnHost) else GPU,  # type: ignore[attr-defined]
    Tensor.is_cuda.__get__: lambda x: not isinstance(x, OnHost),  # type: ignore[attr-defined]
}
# Their results are values, or have a size, that the host must know before it goes on.
_VALUES = {
    *("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__"),
    *("nonzero", "masked_select", "unique", "bincount", "equal", "allclose", "__array__"),
}
_CUDA = {
    "is_available": True,
    "device_count": 1,
    "get_device_name": "a GPU that is not there",
    "synchronize": None,
    "max_memory_allocated": 0,
    "reset_peak_memory_stats": None,
}
_INDEXING = {Tensor.__getitem__, Tensor.__setitem__}
_TO_HOST = {"cpu", "numpy"}


class PretendGpu(TorchFunctionMode):
    """What the host did, each as "function file:line caller" of the package. waits: for a value.
    uploads: copies to the GPU that it must wait for. copies: those that it need not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.uploads: list[str] = []
        self.copies: list[str] = []

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _PROPERTIES:
            return _PROPERTIES[func](args[0])
        name, kwargs = getattr(func, "__name__", str(func)), dict(kwargs or {})
        if name == "pin_memory":
            pinned = args[0].as_subclass(OnHost)
            pinned.pinned = True
            return pinned
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        target = _target(name, args, kwargs, given)
        self._note(name, func, args, kwargs, given, target)
        if target == GPU and "device" in kwargs:
            kwargs["device"] = CPU
        args = [CPU if _is_device(a) else a for a in args] if name == "to" else args
        return _marked(func(*args, **kwargs), target)

    def _note(
        self,
        name: str,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        given: list[Tensor],
        target: torch.device,
    ) -> None:
        on_gpu = [x for x in given if not isinstance(x, OnHost)]
        on_host = [x for x in given if isinstance(x, OnHost)]
        if func in _INDEXING:
            if on_gpu and _bool_masks(args[1]):
                self.waits.append(_where(name))
            if not isinstance(args[0], OnHost) and _from_host(args[1]):
                self.uploads.append(_where(name))
            return
        if name == "copy_":
            (self.uploads if isinstance(args[1], OnHost) else self.waits).extend(
                [_where(name)] if on_gpu and on_host else []
            )
            return
        if name == "to":
            if on_gpu and target == CPU:
                self.waits.append(_where(name))
            elif on_host and target == GPU:
                # PyTorch copies a strided tensor to memory that is not pinned, and waits for that.
                pinned = on_host[0].pinned and on_host[0].is_contiguous()
                without_waiting = pinned and kwargs.get("non_blocking")
                (self.copies if without_waiting else self.uploads).append(_where(name))
            return
        if on_gpu and any(x.ndim for x in on_host):
            raise RuntimeError(f"{name}: tensors on both cuda:0 and cpu at {_where(name)}")
        repeats = name == "repeat_interleave" and len(given) > 1 and "output_size" not in kwargs
        if on_gpu and (name in _VALUES or repeats):
            self.waits.append(_where(name))
        if target == GPU and not given and name in ("tensor", "as_tensor", "asarray"):
            self.uploads.append(_where(name))
        if name == "new_tensor" and on_gpu:
            self.uploads.append(_where(name))


def _target(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], given: list[Tensor]
) -> torch.device:
    """Where the result lies."""
    if name in _TO_HOST:
        return CPU
    asked = kwargs.get("device")
    if name == "to":
        asked = next((a for a in args[1:] if _is_device(a)), asked)
        if asked is None and len(args) > 1 and isinstance(args[1], Tensor):
            return CPU if isinstance(args[1], OnHost) else GPU
    if asked is not None:
        return GPU if torch.device(asked).type == "cuda" else CPU
    return GPU if any(not isinstance(x, OnHost) for x in given) else CPU


def _is_device(value: object) -> bool:
    return isinstance(value, torch.device) or (isinstance(value, str) and value[:3] in "cpucuda")


def _bool_masks(index: object) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(p, Tensor) and p.dtype == torch.bool and p.ndim for p in parts)


def _from_host(index: object) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(p, list | np.ndarray | OnHost) for p in parts)


def _marked(result: Any, device: torch.device) -> Any:
    kind = OnHost if device == CPU else Tensor

    def mark(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, OnHost) == (kind is OnHost):
            return value
        return value.as_subclass(kind)  # type: ignore[arg-type]

    return tree_map(mark, result)


def _where(name: str) -> str:
    """The innermost line of the package that called."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT / "sr3d"):
            return f"{name} {path.relative_to(ROOT)}:{frame.lineno} {frame.name}"
    return f"{name} (a test)"


def _module_to(module: nn.Module, device: torch.device | str, *_: Any, **__: Any) -> nn.Module:
    """In place of `nn.Module.to`, which swaps what this mode would have to see."""
    kind = Tensor if torch.device(device).type == "cuda" else OnHost
    with torch._C.DisableTorchFunction():
        for part in module.modules():
            for name, value in part._parameters.items():
                if value is not None:
                    moved = value.detach().as_subclass(kind)
                    part._parameters[name] = nn.Parameter(moved, value.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = buffer.as_subclass(kind)
    return module


def choose_large_tiles(patch: pytest.MonkeyPatch) -> None:
    """The interpreter then takes a third: its time goes by the number of tiles, not their size."""
    from sr3d.sparse.triton import engine
    from sr3d.sparse.triton.tuning import KernelConfig, fitted

    tiles = KernelConfig(128, 64, 64, warps=4, stages=1)
    patch.setattr(engine, "choose", lambda layer, device: fitted(tiles, layer))


@contextmanager
def pretend_gpu(patch: pytest.MonkeyPatch) -> Iterator[PretendGpu]:
    """Within it, what exists already lies on the GPU, as do tensors that say so."""
    from triton.runtime.interpreter import GridExecutor

    from sr3d.sparse.triton import engine

    choose_large_tiles(patch)
    launch = GridExecutor.__call__

    def unnoticed(self: Any, *args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return launch(self, *args, **kwargs)

    patch.setattr(GridExecutor, "__call__", unnoticed)
    patch.setattr(nn.Module, "to", _module_to)
    from_numpy = torch.from_numpy  # which modes do not see
    patch.setattr(torch, "from_numpy", lambda array: from_numpy(array).as_subclass(OnHost))
    patch.setattr(engine, "on", lambda device: nullcontext())
    grouped = clip_grad._group_tensors_by_device_and_dtype  # asks the tensors past any mode
    patch.setattr(
        clip_grad,
        "_group_tensors_by_device_and_dtype",
        lambda tensors: {(GPU, dtype): group for (_, dtype), group in grouped(tensors).items()},
    )
    for name, value in _CUDA.items():
        patch.setattr(torch.cuda, name, lambda *_, value=value: value)
    with PretendGpu() as gpu:
        yield gpu
