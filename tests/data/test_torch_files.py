"""Torch's files are read whole and run nothing."""

import argparse
import collections
import datetime
import functools
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sr3d.data.torch_files import StandIn, StoredTensor, load_tensors, read_torch_file
from sr3d.errors import InputError, Kind
from tests.data.checkpoint_files import pretending, save_mmengine
from tests.refusals import refuses

BOTH = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])


def tensors() -> dict[str, Tensor]:
    base = torch.arange(24.0)
    return {
        "whole": base,
        "view": base[5:],  # of the same storage
        "transposed": base.view(4, 6).t(),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "half": torch.randn(3).half(),
        "bf16": torch.randn(2, 2).bfloat16(),
        "double": torch.randn(5, dtype=torch.float64),
        "mask": torch.tensor([True, False]),
        "bytes": torch.tensor([0, 255], dtype=torch.uint8),
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }


@BOTH
def test_tensors_come_back_bit_for_bit(zipped: bool, tmp_path: Path) -> None:
    path, state = tmp_path / "a.pth", tensors()
    torch.save({"state": state, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    content = read_torch_file(path)
    read = load_tensors(path, content["state"])
    assert content["epoch"] == 3
    assert list(read) == list(state)
    for name, tensor in state.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(read[name], tensor), name
        assert read[name].is_contiguous()
    read["whole"].zero_()  # no memory is shared, unlike in the file
    assert read["view"][0] == 5


@BOTH
def test_an_mmengine_checkpoint_is_read_without_mmengine(zipped: bool, tmp_path: Path) -> None:
    path, weight = tmp_path / "epoch_12.pth", torch.randn(3, 4)
    save_mmengine(path, {"w": weight}, zipped, dataset_meta={"classes": ("bed", "sofa")})
    with pytest.raises(pickle.UnpicklingError, match=r"mmengine|numpy"):
        torch.load(path, weights_only=True)  # which is why there is a reader of our own
    content = read_torch_file(path)
    assert list(content) == ["meta", "state_dict", "message_hub", "optimizer", "param_schedulers"]
    assert content["meta"]["dataset_meta"] == {"classes": ("bed", "sofa")}
    assert isinstance(content["state_dict"], OrderedDict)
    assert torch.equal(load_tensors(path, content["state_dict"])["w"], weight)
    assert "mmengine" not in sys.modules


class Runs:
    """Unpickled, calls a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@BOTH
@pytest.mark.parametrize("place", ["state_dict", "meta", "message_hub"])
def test_a_file_that_would_run_a_command_is_refused(
    zipped: bool, place: str, tmp_path: Path
) -> None:
    import os

    path, proof = tmp_path / "evil.pth", tmp_path / "ran"
    evil = {"state_dict": {}, place: {"x": Runs(os.system, f"touch {proof}")}}
    torch.save(evil, path, _use_new_zipfile_serialization=zipped)
    with refuses(Kind.UNREADABLE, file="evil.pth"):
        read_torch_file(path)
    assert not proof.exists()
    torch.load(path, weights_only=False)
    assert proof.exists()  # the file was loaded indeed


@pytest.mark.parametrize("name", ["eval", "exec", "__import__", "open"])
def test_builtins_that_do_things_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"x": Runs(__builtins__[name], "1")}, path)  # type: ignore[index]
    with pytest.raises(InputError, match=rf"builtins\.{name}|io\.open"):
        read_torch_file(path)


def test_an_attribute_that_is_asked_for_is_not_looked_up(tmp_path: Path) -> None:
    """mmengine's logs ask for methods of theirs."""
    path = tmp_path / "a.pth"
    torch.save({"x": Runs(getattr, torch.nn.Linear, "forward")}, path)
    assert isinstance(read_torch_file(path)["x"], StandIn)


def test_functions_of_known_packages_are_not_called_either(tmp_path: Path) -> None:
    path, target = tmp_path / "evil.pth", tmp_path / "written"
    torch.save({"x": Runs(torch.save, [1], str(target))}, path)
    read_torch_file(path)  # a stand-in, which does nothing
    assert not target.exists()


class AttributeDict(dict[str, Any]):
    """Lightning has such a class."""


@BOTH
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_itself_refuses_to_read(zipped: bool, protocol: int, tmp_path: Path) -> None:
    path, weight = tmp_path / "a.ckpt", torch.randn(3)
    with pretending(AttributeDict, "lightning.fabric.utilities.data"):
        content = {
            "hyper_parameters": AttributeDict(lr=0.1),
            "counts": collections.defaultdict(int, a=1),
            "types": [int, str, range],
            "last": collections.deque([1, 2], maxlen=2),
            "large": 1 << 5000,
            "state_dict": {"w": weight},
        }
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    read = read_torch_file(path)
    assert torch.equal(load_tensors(path, read["state_dict"])["w"], weight)
    assert read["large"] == 1 << 5000


def test_changed_bytes_of_a_tensor_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"w": torch.zeros(1000)}, path)
    content = bytearray(path.read_bytes())
    content[content.find(bytes(2000)) + 1000] = 0x41
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["w"].any()  # torch compares no checksum
    with refuses(Kind.UNREADABLE, file=path):
        load_tensors(path, read_torch_file(path))


@BOTH
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_truncated_files_get_one_sentence(zipped: bool, share: float, tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"w": torch.randn(500)}, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with refuses(Kind.UNREADABLE, file="cut.pth"):
        load_tensors(path, read_torch_file(path))


def test_a_view_cannot_ask_for_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"w": torch.zeros(4)}, path)
    stored = read_torch_file(path)["w"].storage
    for size, stride, offset in [((10**6, 10**6), (0, 0), 0), ((4,), (1,), 1), ((2,), (9,), 0)]:
        with refuses(Kind.UNREADABLE, file="a.pth"):
            load_tensors(path, {"w": StoredTensor(stored, offset, size, stride)})


def test_what_is_no_torch_file_gets_one_sentence(tmp_path: Path) -> None:
    with refuses(Kind.MISSING, file="absent.pth"):
        read_torch_file(tmp_path / "absent.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"a": 1}))
    with refuses(Kind.UNREADABLE, file="plain.pth"):
        read_torch_file(tmp_path / "plain.pth")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "web page"),
        (b"\n<html>", "web page"),
    ],
)
def test_what_a_download_left_instead_is_named(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with refuses(Kind.UNREADABLE, file="a.pth", mentions=[told]):
        read_torch_file(tmp_path / "a.pth")


def test_programs_are_no_checkpoints(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pth"))
    with refuses(Kind.UNREADABLE, file="script.pth", mentions=["TorchScript", "state_dict"]):
        read_torch_file(tmp_path / "script.pth")
    exported = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(exported, tmp_path / "program.pt2")
    with refuses(Kind.UNREADABLE, file="program.pt2", mentions=["torch.export", "state_dict"]):
        read_torch_file(tmp_path / "program.pt2")
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("weights/model.pth", b"")
    with pytest.raises(InputError, match=r"weights/model\.pth"):
        read_torch_file(tmp_path / "other.pth")


class Settings:
    """Of a training program that is not installed here."""

    def __init__(self) -> None:
        self.lr = 0.1


@BOTH
def test_objects_of_programs_are_left_out(zipped: bool, tmp_path: Path) -> None:
    weight = torch.randn(3)
    with pretending(Settings, "their.training.settings"):
        content = {
            "args": argparse.Namespace(lr=0.1, path=Path("a"), nested=types.SimpleNamespace(b=1)),
            "settings": Settings(), "partial": functools.partial(dict, a=1), "w": weight,
            "date": datetime.datetime(2024, 1, 1), "counts": collections.Counter("ab"),
            "wrapped": torch.nn.Parameter(weight), "range": range(3), "type": float,
        }  # fmt: skip
        torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    read = read_torch_file(tmp_path / "a.pth")
    assert isinstance(read["args"], StandIn)
    assert read["settings"].origin == "their.training.settings.Settings"
    stored = {name: read[name] for name in ("w", "wrapped")}
    assert all(torch.equal(t, weight) for t in load_tensors(tmp_path / "a.pth", stored).values())
    assert "their" not in sys.modules
