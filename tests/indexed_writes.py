"""Writes by index: which name one place more than once, and how a GPU would carry them out.

On a GPU PyTorch sorts the indices of `index_put(accumulate=True)`, and of every such operation
while deterministic algorithms are on, and then walks through equal indices one by one. The sums of
`index_add` and `scatter_add` have no fixed order while deterministic algorithms are off.

Source: aten/src/ATen/native/TensorAdvancedIndexing.cpp and native/cuda/Indexing.cu of PyTorch 2.7.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.pretend_gpu import OnHost

_PACKAGE = Path(__file__).resolve().parents[1] / "sr3d"
_PUTS = {"index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put"}
_BY_ROW = {"index_add", "index_add_", "index_copy", "index_copy_"}  # self, dim, index, source
_BY_PLACE = {"scatter", "scatter_", "scatter_add", "scatter_add_"}  # self, dim, index, source
_SUMS = {"index_add", "index_add_", "scatter_add", "scatter_add_"}


class Write(NamedTuple):
    """One operation. function: of the package, or "backward". repeats: entries whose place an
    earlier entry names. sums: repeated entries are added. deterministic: the flag's state.
    """

    operation: str
    function: str
    repeats: int
    entries: int
    sums: bool
    floating: bool
    deterministic: bool

    @property
    def sorted(self) -> bool:
        """Whether a GPU sorts the indices and walks through equal ones."""
        return self.deterministic or (self.operation in _PUTS and self.sums)

    @property
    def unordered(self) -> bool:
        """Whether a GPU chooses the order of a sum that depends on its order."""
        return self.sums and self.floating and self.repeats > 0 and not self.sorted


class IndexedWrites(TorchDispatchMode):
    """found: every write by index of a tensor of more than one value, but for those on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Write] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in _PUTS | _BY_ROW | _BY_PLACE and not isinstance(args[0], OnHost):
            self._note(name, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _note(self, name: str, target: Tensor, *args: Any, **kwargs: Any) -> None:
        if name in _PUTS:
            indices, values, *rest = args
            sums = bool(rest[0] if rest else kwargs.get("accumulate", False))
            index, dim = _numbers(target, indices), 0
        else:
            dim, index, values = args[:3]
            sums = name in _SUMS
        if not isinstance(values, Tensor) or (values.numel() == 1 and not sums):
            return  # one value: the order means nothing, and a GPU knows it
        self.found.append(
            Write(
                name,
                _function(),
                _repeats(index, dim),
                index.numel(),
                sums,
                target.is_floating_point(),
                torch.are_deterministic_algorithms_enabled(),
            )
        )


def _numbers(target: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """One number for each combination of indices."""
    columns: list[tuple[Tensor, int]] = []
    for axis, index in enumerate(indices):
        if index is None:
            continue
        if index.dtype == torch.bool:
            parts = index.nonzero().unbind(1)
            columns += [(part, target.shape[axis + i]) for i, part in enumerate(parts)]
        else:
            columns.append((index.long() % max(1, target.shape[axis]), target.shape[axis]))
    number = torch.zeros((), dtype=torch.int64)
    for index, size in columns:
        number = number * size + index
    return number.reshape(-1)


def _repeats(index: Tensor, dim: int) -> int:
    ordered = index.sort(dim=dim).values
    size = ordered.shape[dim] if index.ndim else 0
    if size < 2:
        return 0
    return int((ordered.narrow(dim, 1, size - 1) == ordered.narrow(dim, 0, size - 1)).sum())


def _function() -> str:
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(_PACKAGE):
            return f"{path.stem}.{frame.name}"
    return "backward"
