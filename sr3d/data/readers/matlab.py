"""MATLAB files as plain values, version 5 and version 7.3 (which is HDF5) alike.

pymatreader reads both. An array of structs becomes a dictionary of lists, with one entry per
struct. A single struct becomes a dictionary of plain values. `struct_rows` gives a list of
dictionaries for both.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pymatreader import read_mat

from sr3d.errors import InputError, Kind

AGAIN = "Download it again."


def load_mat(path: Path, *names: str) -> list[Any]:
    """The variables with these names.

    Raises:
        InputError: the file cannot be read, or lacks a variable.
    """
    if not path.is_file():
        raise InputError("no such file", file=path, kind=Kind.MISSING, remedy=AGAIN)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about types that the requested variables do not have
            content = read_mat(path, variable_names=list(names))
    except Exception as error:  # a damaged file makes the parsers raise almost anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"not a readable MATLAB file ({reason})", file=path, kind=Kind.UNREADABLE, remedy=AGAIN
        ) from None
    for name in names:
        if name not in content:
            raise InputError(f"has no variable {name}", file=path, kind=Kind.MISSING, remedy=AGAIN)
    return [content[name] for name in names]


def texts(value: Any) -> list[str]:
    """The texts of a cell array. A single text gives a list of one, an empty array none."""
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)]


def struct_rows(value: Any, text: str) -> list[dict[str, Any]]:
    """The structs of an array of any length. `text` is a field that holds a text in each.

    Raises:
        KeyError: the structs lack that field.
        ValueError: the fields have different lengths.
    """
    if not isinstance(value, dict):
        if np.size(value):
            raise ValueError("not an array of structs")
        return []
    if isinstance(value[text], str):
        return [value]
    count = len(value[text])
    ragged = [name for name, column in value.items() if len(column) != count]
    if ragged:
        raise ValueError(f"{len(value[ragged[0]])} entries of {ragged[0]} for {count} structs")
    return [{name: column[i] for name, column in value.items()} for i in range(count)]
