"""MATLAB files for tests, in both formats: a list of dictionaries is an array of structs, a list of
texts a cell array.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io


def write_mat(path: Path, version: str, **variables: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if version == "v5":
        scipy.io.savemat(path, {name: _for_scipy(v) for name, v in variables.items()})
        return
    # The layout that MATLAB gives `save -v7.3`: HDF5 behind a header of 512 bytes.
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        for name, value in variables.items():
            _put(file, name, value, refs)
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def _for_scipy(value: Any) -> Any:
    if isinstance(value, list) and (not value or isinstance(value[0], str)):
        cells = np.empty((1, len(value)), dtype=object)
        cells[0, :] = value
        return cells
    if isinstance(value, list):
        rows = np.empty((1, len(value)), dtype=[(name, object) for name in value[0]])
        for i, row in enumerate(value):
            for name, item in row.items():
                rows[0, i][name] = _for_scipy(item)
        return rows
    return value


def _put(group: h5py.Group, name: str, value: Any, refs: h5py.Group) -> None:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        made = group.create_group(name)
        made.attrs["MATLAB_class"] = np.bytes_("struct")
        for key in value[0]:
            items = [row[key] for row in value]
            if len(value) == 1:  # MATLAB keeps the fields of one struct without references
                _put(made, key, items[0], refs)
            else:
                made.create_dataset(key, data=_references(items, refs))
    elif isinstance(value, list) and value:
        made = group.create_dataset(name, data=_references(value, refs))
        made.attrs["MATLAB_class"] = np.bytes_("cell")
    elif isinstance(value, list) or np.size(value) == 0:
        made = group.create_dataset(name, data=np.zeros(2, dtype=np.uint64))
        made.attrs["MATLAB_class"] = np.bytes_("double")
        made.attrs["MATLAB_empty"] = np.uint8(1)
    elif isinstance(value, str):
        codes = np.frombuffer(value.encode("utf-16-le"), dtype=np.uint16)[:, None]
        made = group.create_dataset(name, data=codes)
        made.attrs["MATLAB_class"] = np.bytes_("char")
        made.attrs["MATLAB_int_decode"] = np.int32(2)
    else:
        made = group.create_dataset(name, data=np.atleast_2d(np.asarray(value, np.float64)).T)
        made.attrs["MATLAB_class"] = np.bytes_("double")


def _references(items: list[Any], refs: h5py.Group) -> np.ndarray:
    found = np.empty((len(items), 1), dtype=h5py.ref_dtype)
    for i, item in enumerate(items):
        name = f"r{len(refs)}"
        _put(refs, name, item, refs)
        found[i, 0] = refs[name].ref
    return found
