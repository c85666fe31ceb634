"""Reads files of `torch.save` without running code in them.

Such a file consists of a pickle, which is a program, and the bytes of the tensors. Training
programs also pickle their own objects, for example mmengine its logs. This module imports and calls
nothing for such objects. It reads containers, numbers and text as they are. Tensors become
descriptions, from which `load_tensors` reads the required tensors. Objects become empty stand-ins.
Calls of the standard library beyond plain values are refused.

It reads both formats: zip archives, and the older stream (`_use_new_zipfile_serialization=False`).

`torch.load(weights_only=True)` with stand-ins as `safe_globals` is no replacement (tried with torch
2.13). It does not compare checksums, so a damaged file gives wrong weights without an error. It
creates tensors of any size from a few bytes. It refuses defaultdict, subclasses of dict and list
such as Lightning's AttributeDict, pickle protocols 4 and 5, and integers above 255 bytes.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import struct
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy.typing as npt
import torch
from torch import Tensor

from sr3d.errors import InputError, Kind
from sr3d.runs.files import LFS_REMEDY, is_lfs_pointer

# Names of the standard library that checkpoints contain besides weights. A stand-in replaces each,
# so nothing runs. All other names of the standard library are refused.
_PLAIN = {
    ("_codecs", "encode"), ("argparse", "Namespace"), ("types", "SimpleNamespace"),
    ("functools", "partial"), ("copyreg", "_reconstructor"), ("builtins", "object"),
    ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "complex"),
    ("builtins", "bytes"), ("builtins", "bytearray"), ("builtins", "slice"),
    ("builtins", "dict"), ("builtins", "list"), ("builtins", "tuple"), ("builtins", "range"),
    ("builtins", "int"), ("builtins", "float"), ("builtins", "str"), ("builtins", "bool"),
    ("builtins", "type"),
    # The names of range, int and str in pickles of protocol 2, which `torch.save` writes.
    ("builtins", "xrange"), ("builtins", "long"), ("builtins", "unicode"),
    ("builtins", "getattr"),  # how a method is pickled. mmengine's logs contain some
}  # fmt: skip
_PLAIN_MODULES = {"collections", "datetime", "pathlib", "decimal", "fractions", "uuid", "enum"}
_DTYPES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}  # fmt: skip
_STANDARD = sys.stdlib_module_names
_Refusal = tuple[str, str | None]  # problem and remedy of an `InputError`
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # the beginning of a file in the older format


@dataclass
class Storage:
    """count values of dtype. offset: start of their bytes in a file of the older format."""

    key: str
    dtype: torch.dtype
    count: int
    offset: int = -1


@dataclass(frozen=True)
class StoredTensor:
    """A view of a storage, as `Tensor.as_strided` has it."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class StandIn:
    """Replaces an object that is not read. Accepts anything from a pickle, and keeps nothing.

    origin: the module and the name of its class.
    """

    origin = ""

    def __new__(cls, *_: Any, **__: Any) -> StandIn:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> StandIn:
        return self

    def append(self, _: Any) -> None:
        pass

    extend = add = append


def read_torch_file(path: str | Path) -> Any:
    """The content of a file, with tensors as `StoredTensor`.

    Raises:
        InputError: the file is missing, truncated, a program (TorchScript, torch.export) or of an
            unknown format, or calls what no checkpoint needs. The message names the call.
    """
    try:
        with open(path, "rb") as file:
            if refusal := _no_torch_file(file):
                problem, remedy = refusal
                raise InputError(problem, file=path, kind=Kind.UNREADABLE, remedy=remedy)
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    if refusal := _no_checkpoint(archive):
                        problem, remedy = refusal
                        raise InputError(problem, file=path, kind=Kind.UNREADABLE, remedy=remedy)
                    pickled = archive.read(_entry(archive))  # all of it, so zipfile compares CRCs
                return _TorchUnpickler(io.BytesIO(pickled)).load()
            file.seek(0)
            return _read_stream(file)
    except FileNotFoundError:
        raise InputError("no such checkpoint", file=path, kind=Kind.MISSING) from None
    except InputError:
        raise
    except Exception as error:  # damaged bytes make an unpickler raise almost anything
        raise _unreadable(path, error) from None


def _no_torch_file(file: BinaryIO) -> _Refusal | None:
    """What the file is instead, and the remedy. None if it may be a torch file."""
    begin = file.read(64)
    file.seek(0)
    if is_lfs_pointer(begin):
        return LFS_REMEDY, None
    if begin.lstrip()[:1] == b"<":
        return "is a web page", "Download the checkpoint itself, in a browser if a login is needed."
    return None


def _no_checkpoint(archive: zipfile.ZipFile) -> _Refusal | None:
    """What the archive is instead, and the remedy. None if it may be a checkpoint."""
    names = archive.namelist()
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        return (
            "is TorchScript, a program with its weights, and sr3d does not run code from files",
            "Save its weights with torch.save(torch.jit.load(FILE).state_dict(), OUT), and pass "
            "OUT.",
        )
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        return (
            "is a program of torch.export, and sr3d does not run code from files",
            "Pass the checkpoint that it was exported from, or save "
            "`torch.export.load(FILE).state_dict`.",
        )
    if _entry(archive) not in names:
        few = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        return (
            f"is a zip archive of other files ({few})",
            "Unpack it and pass the checkpoint in it.",
        )
    return None


def load_tensors(path: str | Path, stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """Some tensors of a file, contiguous, each with memory of its own.

    Raises:
        InputError: the file is truncated or damaged, or a view leaves its storage.
    """
    try:
        with open(path, "rb") as file:
            archive = zipfile.ZipFile(file) if zipfile.is_zipfile(file) else None
            storages = {item.storage.key: item.storage for item in stored.values()}
            values = {key: _values(file, archive, storage) for key, storage in storages.items()}
        return {name: _view(values[item.storage.key], item) for name, item in stored.items()}
    except Exception as error:
        raise _unreadable(path, error) from None


def stream_values(data: bytes) -> npt.NDArray[Any]:
    """(N,) values of one storage that `torch.save` wrote in the older format.

    Raises:
        ValueError, and other errors of an unpickler: it is not such a storage.
    """
    storage = _read_stream(io.BytesIO(data))
    if not isinstance(storage, Storage):
        raise ValueError("not a storage")
    values = _values(io.BytesIO(data), None, storage)
    return values.float().numpy() if storage.dtype == torch.bfloat16 else values.numpy()


class _TorchUnpickler(pickle.Unpickler):
    """Takes every name from a fixed table. Nothing is imported."""

    def find_class(self, module: str, name: str) -> Any:
        # A pickle may set attributes of an object that it gets, so it gets a new one each time.
        match module, name:
            case "collections", "OrderedDict":
                return collections.OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return lambda *args: _stored(*args[:4])
            case "torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state":
                return lambda *args: args[0]
            case "torch._tensor", "_rebuild_from_type_v2":
                return lambda rebuild, _, args, *__: rebuild(*args)
            case "torch", storage if storage in _DTYPES:
                return storage
        module = module.replace("__builtin__", "builtins")  # Python 2's name
        package = module.partition(".")[0]
        known = module in _PLAIN_MODULES or (module, name) in _PLAIN
        if known or package not in _STANDARD:
            return type("StandIn", (StandIn,), {"origin": f"{module}.{name}"})
        raise pickle.UnpicklingError(f"it calls {module}.{name}, which no weights need")

    def persistent_load(self, pid: Any) -> Storage:
        """("storage", its type, key, device, count), and None at the end in the older format."""
        kind, dtype, key, _, count, *views = pid
        if kind != "storage" or any(view is not None for view in views):
            raise ValueError("a storage of an unknown kind")
        return Storage(str(key), _DTYPES[dtype], int(count))


def _stored(storage: Any, offset: Any, size: Any, stride: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return StoredTensor(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))


def _read_stream(file: BinaryIO) -> Any:
    """The older format: pickles, then each storage as its count and its bytes."""
    if _TorchUnpickler(file).load() != _MAGIC or _TorchUnpickler(file).load() != _PROTOCOL:
        raise ValueError("neither a zip archive nor an older torch file")
    system = _TorchUnpickler(file).load()
    if not system.get("little_endian", True):
        raise ValueError("written by a big-endian machine")
    met: dict[str, list[Storage]] = {}
    content = _StreamUnpickler(file, met).load()
    for key in _TorchUnpickler(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        for storage in met[key]:
            storage.offset = file.tell()
        file.seek(count * met[key][0].dtype.itemsize, 1)
    return content


class _StreamUnpickler(_TorchUnpickler):
    """Collects every storage, so that `_read_stream` can set its offset."""

    def __init__(self, file: BinaryIO, met: dict[str, list[Storage]]) -> None:
        super().__init__(file)
        self._met = met

    def persistent_load(self, pid: Any) -> Storage:
        storage = super().persistent_load(pid)
        self._met.setdefault(storage.key, []).append(storage)
        return storage


def _entry(archive: zipfile.ZipFile, name: str = "data.pkl") -> str:
    """An entry below the archive's one folder, whatever the folder's name is."""
    root = archive.namelist()[0].partition("/")[0]
    return f"{root}/{name}"


def _values(file: BinaryIO, archive: zipfile.ZipFile | None, storage: Storage) -> Tensor:
    size = storage.count * storage.dtype.itemsize
    if archive is not None:
        data = archive.read(_entry(archive, f"data/{storage.key}"))
    else:
        file.seek(storage.offset)
        data = file.read(size)
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes instead of {size}, so it may be truncated")
    if not data:
        return torch.empty(0, dtype=storage.dtype)
    return torch.frombuffer(bytearray(data), dtype=storage.dtype)


def _view(values: Tensor, item: StoredTensor) -> Tensor:
    if math.prod(item.size) > len(values):  # a few bytes must not allocate all memory
        raise ValueError(f"{item.size} values where {len(values)} are stored")
    return values.as_strided(item.size, item.stride, item.offset).clone(
        memory_format=torch.contiguous_format
    )


def _unreadable(path: str | Path, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    remedy = (
        "Do not use it, or save the model's state_dict alone in the program that wrote it."
        if isinstance(error, pickle.UnpicklingError) and "it calls" in reason
        else "Compare its size with the original. It is cut off, or not a file of torch.save."
    )
    return InputError(
        f"not a readable checkpoint ({reason})", file=path, kind=Kind.UNREADABLE, remedy=remedy
    )
