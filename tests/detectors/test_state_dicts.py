"""Weights are found under whatever a training program wrapped around them."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sr3d.detectors.weights import Checkpoint, read_checkpoint
from sr3d.errors import InputError, Kind
from tests.detectors.published import NAMINGS, renamed, thin_detector
from tests.refusals import refuses

State = dict[str, Tensor]


def network(naming: str = "mmdet3d-1.1-tr3d") -> tuple[State, State]:
    """Weights under our names and under theirs."""
    naming = naming if naming in NAMINGS else next(iter(NAMINGS))
    _, model = thin_detector(NAMINGS[naming][0], "scannet")
    return model.state_dict(), renamed(model.state_dict(), naming, "")


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def read(path: Path, content: Any) -> Checkpoint:
    torch.save(content, path)
    return read_checkpoint(path)


def assert_same(checkpoint: Checkpoint, state: State) -> None:
    assert checkpoint.weights.keys() == state.keys()
    assert all(torch.equal(checkpoint.weights[name], state[name]) for name in state)


PREFIXES = (
    "", "module.", "model.", "model.module.", "module.model.", "net.", "network.", "detector.",
    "_orig_mod.", "module._orig_mod.model.",
)  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("naming", NAMINGS)
def test_every_prefix(tmp_path: Path, naming: str, prefix: str) -> None:
    ours, theirs = network(naming)
    checkpoint = read(tmp_path / "a.pth", {"state_dict": prefixed(theirs, prefix)})
    assert_same(checkpoint, ours)
    assert (prefix in checkpoint.place) or prefix in ("", "module.")


@pytest.mark.parametrize(
    "keys",
    [
        (), ("state_dict",), ("model",), ("net",), ("model_state_dict",), ("model_state",),
        ("params",), ("weights",), ("model", "state_dict"), ("a", "b", "c"),
    ],
)  # fmt: skip
def test_every_wrapping(tmp_path: Path, keys: tuple[str, ...]) -> None:
    ours, theirs = network()
    content: Any = theirs
    for key in reversed(keys):
        more = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}
        content = {"args": argparse.Namespace(lr=1), key: content, **more}
    checkpoint = read(tmp_path / "a.pth", content)
    assert_same(checkpoint, ours)
    assert ".".join(keys) in checkpoint.place or keys == ("state_dict",)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda a, b: {"model": a, "model_ema": b}, "model_ema"),
        (lambda a, b: {"state_dict": a, "ema_state_dict": b}, "ema_state_dict"),
        (lambda a, b: {"state_dict": prefixed(a, "model.") | prefixed(b, "ema_model.")},
         "ema_model"),
        (lambda a, b: {"state_dict": prefixed(a, "student.") | prefixed(b, "teacher.")}, "teacher"),
    ],
)  # fmt: skip
def test_an_average_beside_the_network_is_left_out_and_told(
    tmp_path: Path, content: Any, told: str
) -> None:
    ours, theirs = network()
    average = {name: torch.zeros_like(value) for name, value in theirs.items()}
    checkpoint = read(tmp_path / "a.pth", content(theirs, average))
    assert_same(checkpoint, ours)
    assert told in checkpoint.place
    alone = read(tmp_path / "b.pth", {"ema": {"module": theirs}})
    assert_same(alone, ours)


def test_two_networks_are_asked_about(tmp_path: Path) -> None:
    _, theirs = network()
    with refuses(Kind.CONFLICT, file="a.pth", mentions=["b"]):
        read(tmp_path / "a.pth", {"a": theirs, "b": theirs})


def test_weights_of_something_else_are_left_out_and_told(tmp_path: Path) -> None:
    ours, theirs = network()
    state = prefixed(theirs, "model.") | {"criterion.weight": torch.ones(3)}
    checkpoint = read(tmp_path / "a.pth", {"state_dict": state})
    assert_same(checkpoint, ours)
    assert "criterion.weight" in checkpoint.place


@pytest.mark.parametrize("prefix", ["", "model.", "module.model."])
def test_safetensors_of_others(tmp_path: Path, prefix: str) -> None:
    ours, theirs = network()
    save_file(prefixed(theirs, prefix), tmp_path / "a.safetensors")
    assert_same(read_checkpoint(tmp_path / "a.safetensors"), ours)
    shutil.copy(tmp_path / "a.safetensors", tmp_path / "a.pth")
    assert_same(read_checkpoint(tmp_path / "a.pth"), ours)


def test_files_without_weights_say_what_they_have(tmp_path: Path) -> None:
    with refuses(Kind.UNREADABLE, file="a.pth"):
        read(tmp_path / "a.pth", {"epoch": 3, "args": argparse.Namespace()})
    with refuses(
        Kind.UNREADABLE, file="b.pth", mentions=["torch.nn", "modules.linear", "state_dict"]
    ):
        read(tmp_path / "b.pth", torch.nn.Linear(2, 2))
    with refuses(Kind.UNREADABLE, file="c.pth", mentions=["state_dict"]):
        read(tmp_path / "c.pth", {"model": torch.nn.Linear(2, 2), "epoch": 1})
    with pytest.raises(InputError, match="holds a list"):
        read(tmp_path / "d.pth", [1, 2])
    (tmp_path / "e.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with refuses(Kind.UNREADABLE, file="e.safetensors", mentions=["git lfs pull"]):
        read_checkpoint(tmp_path / "e.safetensors")
