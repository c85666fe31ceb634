"""An exported detector as an ONNX file of standard operators.

ONNX has no sparse convolution; `sr3d.interop.exporting` writes it as gathers and products, which it
has. What else the program needs is translated by PyTorch's exporter, three operations here: its own
translation of them is missing (a stable sort), loses digits (whole-number division goes through
float32, exact to 2²⁴ only, and cells are counted far beyond) or compares all with all (a search).

Needs onnx and onnxscript, which come with the extra `export` (tested with 1.23 and 0.7, PyTorch
2.13); to run the file, onnxruntime, and none of this.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from sr3d.errors import InputError, Kind
from sr3d.runs.files import atomic_path

_OPSET = 18


def write_onnx(program: ExportedProgram, path: str | Path) -> None:
    """The inputs are points, colors, count; the outputs as of `PortableDetector.forward`.

    Raises:
        InputError: a package is missing.
    """
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise InputError(
                f"writing ONNX needs {package}; pip install 'sr3d[export]'",
                file=path,
                kind=Kind.MISSING,
            )
    op: Any = getattr(import_module("onnxscript"), f"opset{_OPSET}")
    aten = torch.ops.aten
    table: dict[Any, Any] = {
        aten.sort.stable: lambda *args, **options: _stable_sort(op, *args, **options),
        aten.div.Tensor_mode: lambda *args, **options: _divide(op, *args, **options),
        aten.searchsorted.Tensor: lambda *args, **options: _search(op, *args, **options),
    }
    translated = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=_OPSET,
        custom_translation_table=table,
        output_names=["boxes", "scores", "keep", "overflow"],
        verbose=False,
    )
    assert translated is not None
    with atomic_path(path) as temporary:
        translated.save(temporary)


def _stable_sort(
    op: Any, values: Any, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> Any:
    """ONNX's TopK puts the lower index first among equals."""
    count = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]), axis=0)
    return op.TopK(values, count, axis=dim, largest=int(descending), sorted=1)


def _divide(op: Any, x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    """Of whole numbers, whose division ONNX cuts towards zero, down where the signs differ."""
    if rounding_mode != "floor" or not x.dtype.is_integer():
        raise NotImplementedError(f"div with rounding_mode={rounding_mode} of {x.dtype}")
    y = op.CastLike(y, x)
    zero = op.CastLike(op.Constant(value_int=0), x)
    quotient = op.Div(x, y)
    rest = op.Sub(x, op.Mul(quotient, y))
    down = op.And(op.Not(op.Equal(rest, zero)), op.Xor(op.Less(rest, zero), op.Less(y, zero)))
    return op.Sub(quotient, op.CastLike(down, x))


def _search(op: Any, ascending: Any, values: Any, **options: Any) -> Any:
    """The first place where each value could be put in: a binary search, written out."""
    if any(options.values()):
        raise NotImplementedError(f"searchsorted with {options}")
    size = ascending.shape[0]

    def number(n: int) -> Any:
        return op.Constant(value_int=n)

    place = op.Mul(values, number(0))
    for bit in reversed(range(int(size).bit_length())):
        tried = op.Add(place, number(1 << bit))
        last = op.Min(op.Sub(tried, number(1)), number(size - 1))
        fits = op.LessOrEqual(tried, number(size))
        less = op.And(fits, op.Less(op.Gather(ascending, last, axis=0), values))
        place = op.Where(less, tried, place)
    return place
