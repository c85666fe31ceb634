"""Reads pickled data files without running code in them.

A pickle is a program. This reader supports the few calls that plain data need (numbers, strings,
containers, numpy arrays) and refuses all others. numpy's own unpickling does not run either: this
module rebuilds arrays from their bytes, because a crafted dtype can make numpy read foreign memory.
"""

from __future__ import annotations

import collections
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sr3d.errors import InputError, Kind
from sr3d.runs.files import LFS_REMEDY, is_lfs_pointer

_OPENMMLAB = ("mmdet3d", "mmdet", "mmcv", "mmengine", "torch")
_PLAIN_DTYPE = re.compile(r"[<>|=]?[biufcSU?]\d*")


def load_pickle(path: str | Path) -> Any:
    """The object in a pickle file: builtin containers, numbers, strings, numpy arrays and scalars.

    Numpy arrays come as a subclass of ndarray. Arrays of Python objects are refused.

    Raises:
        InputError: the file is missing, is not a complete pickle, or calls anything else. The
            message then names the call.
    """
    return _load(Path(path), _PlainUnpickler)


def load_results(path: str | Path) -> Any:
    """`load_pickle` for results of OpenMMLab's programs. Tensors become arrays. Objects of mmdet3d,
    mmdet, mmcv and mmengine become `ForeignObject`.

    Raises:
        InputError: see `load_pickle`.
    """
    return _load(Path(path), _ResultsUnpickler)


class ForeignObject:
    """An object of OpenMMLab's packages, reduced to its state.

    kind: the name of its class. state: its attributes.
    """

    kind = ""
    state: dict[str, Any]

    def __new__(cls, *_: Any, **__: Any) -> ForeignObject:
        made = super().__new__(cls)
        made.state = {}
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.state.update(state)


def _load(path: Path, unpickler: type[_PlainUnpickler]) -> Any:
    try:
        with open(path, "rb") as file:
            if is_lfs_pointer(file.peek(64)):
                raise InputError(LFS_REMEDY, file=path, kind=Kind.UNREADABLE)
            return unpickler(file, path).load()
    except FileNotFoundError:
        raise InputError("no such file", file=path, kind=Kind.MISSING) from None
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"not a readable pickle ({reason}), so it may be truncated",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Copy or write it again.",
        ) from None


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        # numpy 2 renamed numpy.core to numpy._core. Python 2 wrote __builtin__.
        module = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        if (module, name) not in _ALLOWED:
            raise InputError(
                f"refused, because this pickle calls {module}.{name}, which "
                "plain data does not need",
                file=self._path,
                kind=Kind.UNREADABLE,
                remedy="Save it again as plain lists and numpy arrays, or as npz.",
            )
        return _ALLOWED[module, name]()


class _ResultsUnpickler(_PlainUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "torch._utils", "_rebuild_tensor_v2":
                return _tensor
            case "torch.storage", "_load_from_bytes":
                return _storage
            case "torch", "Size":
                return tuple
            case "builtins" | "__builtin__", "getattr":  # how some versions pickle an enumeration
                return lambda *_: ForeignObject()
        if module.partition(".")[0] in _OPENMMLAB:
            return type("ForeignObject", (ForeignObject,), {"kind": name})
        return super().find_class(module, name)


def _storage(data: bytes) -> _Array:
    """The values of a tensor's storage, which is a file of `torch.save` within the pickle."""
    from sr3d.data.torch_files import stream_values

    return stream_values(data).view(_Array)


def _tensor(values: _Array, offset: int, size: Any, stride: Any, *_: Any) -> _Array:
    size, stride = tuple(map(int, size)), tuple(map(int, stride))
    last = int(offset) + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 in size:
        return np.empty(size, values.dtype).view(_Array)
    if int(offset) < 0 or min(stride, default=0) < 0 or last >= len(values):
        raise ValueError("a tensor leaves its storage")
    steps = tuple(step * values.itemsize for step in stride)
    view = np.lib.stride_tricks.as_strided(values[int(offset) :], size, steps)
    return view.copy().view(_Array)


class _Dtype:
    """Replaces numpy.dtype. Only the byte order of its pickled state is used."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not _PLAIN_DTYPE.fullmatch(code):
            raise ValueError(f"arrays of numpy type {code!r} are not plain data")
        self.real = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.real = self.real.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array that checks its pickled state (version, shape, dtype, is Fortran, bytes)."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        checked = _from_buffer(data, dtype, shape, "F" if fortran else "C")
        plain: Any = (1, checked.shape, dtype.real, bool(fortran), bytes(data))
        super().__setstate__(plain)


def _empty_array(*_: Any) -> _Array:
    return np.empty(0).view(_Array)


def _from_buffer(data: Any, dtype: _Dtype, shape: Any, order: str) -> _Array:
    flat = np.frombuffer(data, dtype.real).copy() if data else np.empty(0, dtype.real)
    return flat.reshape(tuple(map(int, shape)), order="F" if order == "F" else "C").view(_Array)


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype.real, count=1)[0]


def _no_bytes() -> bytes:
    """Protocol 2 writes b"" as a call of `bytes`."""
    return b""


def _latin1(text: str, encoding: str) -> bytes:
    """Protocol 2 writes bytes as a call of `_codecs.encode`."""
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _fresh(function: Callable[..., Any]) -> Callable[[], Any]:
    # A pickle may set attributes of an object that it gets, so it gets a new object each time.
    return lambda: lambda *args: function(*args)


# What a pickle may ask for -> what it gets. ndarray itself is only ever a token to pass on.
_ALLOWED: dict[tuple[str, str], Callable[[], Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _fresh(_empty_array),
    ("numpy.core.multiarray", "scalar"): _fresh(_scalar),
    ("numpy.core.numeric", "_frombuffer"): _fresh(_from_buffer),
    ("numpy", "dtype"): _fresh(_Dtype),
    ("numpy", "ndarray"): lambda: "numpy.ndarray",
    ("_codecs", "encode"): _fresh(_latin1),
    ("builtins", "bytes"): _fresh(_no_bytes),
    ("builtins", "set"): _fresh(set),
    ("builtins", "frozenset"): _fresh(frozenset),
    ("builtins", "complex"): _fresh(complex),
    ("collections", "OrderedDict"): lambda: collections.OrderedDict,
}
