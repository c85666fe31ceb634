"""Writes an exported detector as an ONNX file of standard operators.

ONNX has no sparse convolution. `sr3d.interop.exporting` writes it as gathers and products.
PyTorch's exporter translates the other operations, except three that are translated here. PyTorch's
translation of a stable sort is missing. Its division of whole numbers goes through float32, which
is exact only to 2²⁴, below the numbers of cells. Its search compares all pairs.

Needs onnx and onnxscript from the extra `export` (tested with 1.23 and 0.7, PyTorch 2.13). Running
the file needs only onnxruntime.
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
    """Inputs: points, colors, count. Outputs: see `PortableDetector.forward`.

    Raises:
        InputError: a package is missing.
    """
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise InputError(
                f"writing ONNX needs {package}",
                file=path,
                kind=Kind.MISSING,
                remedy="Run `pip install 'sr3d[export]'`.",
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
    """Uses ONNX's TopK, which puts the lower index first among equals."""
    count = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]), axis=0)
    return op.TopK(values, count, axis=dim, largest=int(descending), sorted=1)


def _divide(op: Any, x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    """Division of whole numbers. ONNX rounds towards zero, so adjust it for different signs."""
    if rounding_mode != "floor" or not x.dtype.is_integer():
        raise NotImplementedError(f"div with rounding_mode={rounding_mode} of {x.dtype}")
    y = op.CastLike(y, x)
    zero = op.CastLike(op.Constant(value_int=0), x)
    quotient = op.Div(x, y)
    rest = op.Sub(x, op.Mul(quotient, y))
    down = op.And(op.Not(op.Equal(rest, zero)), op.Xor(op.Less(rest, zero), op.Less(y, zero)))
    return op.Sub(quotient, op.CastLike(down, x))


def _search(op: Any, ascending: Any, values: Any, **options: Any) -> Any:
    """The first place to insert each value: a binary search, unrolled."""
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
