from __future__ import annotations

import collections
import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sr3d.data.safe_pickle import load_pickle
from sr3d.errors import InputError, Kind
from tests.refusals import refuses
from tests.shared_data import shared


def stored(folder: Path, value: Any, protocol: int = 4) -> Path:
    path = folder / "file.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_comes_back(tmp_path: Path, protocol: int) -> None:
    value: dict[str, Any] = {
        "containers": [(1, None, True), {2, 3}, frozenset([4]), collections.OrderedDict(a=1.5)],
        "bytes": [b"", b"\xff\x00"],
        "complex": 1 + 2j,
        "scalars": [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("é")],
    }
    again = load_pickle(stored(tmp_path, value, protocol))
    assert again == value
    assert [type(item) for item in again["scalars"]] == [type(item) for item in value["scalars"]]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.array(["chair", "otherfurniture", "Büro"]),
        np.array([b"ab", b"c"]),
        np.zeros((0, 7)),
        np.array(2.5),
        np.array([True, False]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_come_back(tmp_path: Path, array: np.ndarray, protocol: int) -> None:
    again = load_pickle(stored(tmp_path, array, protocol))
    np.testing.assert_array_equal(again, array, strict=False)
    assert again.shape == array.shape
    assert again.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    assert again.flags.writeable


def test_numpy_1_module_names(tmp_path: Path) -> None:
    path = stored(tmp_path, [np.float64(2.0), np.arange(3)], protocol=2)
    old = path.read_bytes().replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core.multiarray" in old
    path.write_bytes(old)
    scalar, array = load_pickle(path)
    assert scalar == 2.0
    assert array.tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda mark: Call(os.system, f"touch {mark}"), "system"),
        (lambda mark: {"scene": [Call(os.system, f"touch {mark}")]}, "system"),
        (lambda mark: Call(getattr, Call(os.system, f"touch {mark}"), "real"), "getattr"),
        (lambda mark: Call(eval, f"open({str(mark)!r}, 'w')"), "eval"),
        (lambda mark: Call(open, str(mark), "w"), "open"),
        (lambda mark: Call(np.fromfile, str(mark)), "fromfile"),
        (lambda mark: Path("x"), "pathlib"),
    ],
    ids=["system", "nested", "getattr", "eval", "open", "numpy", "path"],
)
def test_nothing_is_called(tmp_path: Path, make: Any, named: str, protocol: int) -> None:
    mark = tmp_path / "called"
    path = stored(tmp_path, make(mark), protocol)
    with refuses(Kind.UNREADABLE, file=path, mentions=[named]):
        load_pickle(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("stream", "refused"),
    [
        # getattr(os, "system") by name, through modules and through attributes of what is allowed
        (b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR.", "getattr"),
        (b"c__builtin__\ngetattr\n.", "getattr"),
        (b"\x80\x04\x8c\x05numpy\x8c\x09f2py.os.x\x93.", "f2py"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", "tofile"),
        (b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.", "fromkeys"),
        # what is allowed, called as it should not be
        (b"cnumpy\nndarray\n(I9\ntR.", "not callable"),
        (b"cnumpy\ndtype\n(S'O'\ntR.", "plain data"),
        (b"cbuiltins\nbytes\n(I99999999999\ntR.", "argument"),
        (b"c_codecs\nencode\n(Vx\nVrot13\ntR.", "rot13"),
        (b"Pname\n.", "persistent"),
    ],
)
def test_hand_made_streams(tmp_path: Path, stream: bytes, refused: str) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(stream)
    with refuses(Kind.UNREADABLE, file=path, mentions=[refused]):
        load_pickle(path)


def test_a_file_cannot_change_the_reader_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    for name in ("numpy\ndtype", "collections\nOrderedDict", "_codecs\nencode"):
        # BUILD: set an attribute on what the name gave.
        path.write_bytes(f"c{name}\n}}S'__doc__'\nS'changed'\nsb.".encode())
        with contextlib.suppress(InputError):
            load_pickle(path)
    assert collections.OrderedDict.__doc__ != "changed"
    path.write_bytes(b"cnumpy\ndtype\n.")
    assert load_pickle(path).__doc__ != "changed"


def test_numpy_dtypes_cannot_be_forged(tmp_path: Path) -> None:
    """An array of object pointers made from bytes would let a file choose addresses."""
    objects = stored(tmp_path, np.array([{}, None], dtype=object))
    with refuses(Kind.UNREADABLE, file="file.pkl"):
        load_pickle(objects)
    records = stored(tmp_path, np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]))
    with refuses(Kind.UNREADABLE, file="file.pkl"):
        load_pickle(records)
    whole = stored(tmp_path, np.arange(4.0), protocol=4).read_bytes()
    longer = whole.replace(b"K\x04\x85", b"K\x05\x85")  # the shape (4,) becomes (5,)
    assert longer != whole
    objects.write_bytes(longer)
    with refuses(Kind.UNREADABLE, file="file.pkl"):
        load_pickle(objects)


def test_damaged_files(tmp_path: Path) -> None:
    whole = stored(tmp_path, {"scene": ["a", "b"], "box": np.ones((2, 7))}).read_bytes()
    path = tmp_path / "damaged.pkl"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"damaged\.pkl"):
            load_pickle(path)
    path.write_bytes(b"scene,label\n1,2\n")
    with refuses(Kind.UNREADABLE, file="damaged.pkl"):
        load_pickle(path)
    with refuses(Kind.MISSING, file="absent.pkl"):
        load_pickle(tmp_path / "absent.pkl")


def test_arbitrary_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    whole = stored(tmp_path, {"a": [1, "x"], "box": np.ones(3), "n": np.float32(1)}).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.pkl"
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            load_pickle(path)
        except InputError:
            refused += 1
    assert refused > 100


def test_mmdet3d_info_files_are_plain_data() -> None:
    infos = load_pickle(shared("real/sunrgbd/points/sunrgbd_000017_infos.pkl"))
    assert infos["data_list"][0]["images"]["CAM0"]["height"] == 530
