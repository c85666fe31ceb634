"""What a GPU would be waited for, counted without one."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Their results have a size, or are a number, that the processor must know before it goes on.
_WAITING = ("nonzero", "_local_scalar_dense", "masked_select", "bincount", "equal")
_BY_INDEX = ("index", "index_put", "index_put_")  # these wait if the index is a mask
_WAITING_FAMILIES = ("unique", "_unique", "repeat_interleave")


class Waits(TorchDispatchMode):
    """Within it, `count` is the number of operations that wait for a GPU; `operations` of all."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.operations = 0

    def __enter__(self) -> Self:
        self._tolist: Callable[..., Any] = Tensor.tolist

        def tolist(tensor: Tensor) -> Any:
            self.count += 1
            return self._tolist(tensor)

        Tensor.tolist = tolist  # type: ignore[method-assign, assignment]
        return super().__enter__()  # type: ignore[no-any-return]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        Tensor.tolist = self._tolist  # type: ignore[method-assign, assignment]
        super().__exit__(kind, error, trace)

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = function.overloadpacket.__name__
        indices = args[1] if name in _BY_INDEX else ()
        self.operations += 1
        self.count += (
            name in _WAITING
            or name.startswith(_WAITING_FAMILIES)
            or any(getattr(index, "dtype", None) == torch.bool for index in indices)
            or (name == "lift_fresh" and args[0].ndim > 0)  # from a list: copied to the GPU
        )
        return function(*args, **(kwargs or {}))
