"""Sums whose order a GPU chooses: those by index to which one place adds several rows."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_PACKAGE = Path(__file__).resolve().parents[1] / "sr3d"
_SUMMED_BY_ROW = {"index_add", "index_add_"}  # self, dim, index, source
_SUMMED_BY_PLACE = {"scatter_add", "scatter_add_"}  # self, dim, index, source


class UnorderedSums(TorchDispatchMode):
    """found: each such sum of floating-point numbers, as "operation file:line".

    The sum of `index_put` is none: on a GPU PyTorch sorts it, whatever it was told of determinism.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in _SUMMED_BY_ROW | _SUMMED_BY_PLACE and args[0].is_floating_point():
            dim, index = args[1], args[2]
            if _repeats(index if name in _SUMMED_BY_PLACE else index[:, None], dim):
                self.found.append(f"{name} {_where()}")
        return func(*args, **(kwargs or {}))


def _repeats(index: Tensor, dim: int) -> bool:
    """Whether a number occurs twice along the dimension."""
    ordered = index.sort(dim=dim).values
    size = ordered.shape[dim]
    return size > 1 and bool(
        (ordered.narrow(dim, 1, size - 1) == ordered.narrow(dim, 0, size - 1)).any()
    )


def _where() -> str:
    """The innermost line of the package that called; the backward pass has none."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(_PACKAGE):
            return f"{path.name}:{frame.lineno}"
    return "(the backward pass)"
