"""Bitwise identical results from the same seed on a GPU: what can be shown without one.

The backward pass of a training uses PyTorch's deterministic algorithms. Nothing else does, so
nothing else may sum in an order that a GPU chooses.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils import deterministic

from sr3d.cli import main
from sr3d.detectors.base import Detector
from sr3d.errors import InputError, Kind
from sr3d.runs.pretrained import PRETRAINED
from sr3d.sparse import SparseTensor, functional
from sr3d.sparse.determinism import deterministic_algorithms, ordered_backward
from sr3d.sparse.nn import SparseInstanceNorm
from tests.detectors.thin import clouds, thin_fcaf3d, thin_model
from tests.indexed_writes import IndexedWrites
from tests.sparse.brute_force import random_coords


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("sr3d.train.training.train", ["train", "--dataset", "synthetic", "--out", "o"]),
        (
            "sr3d.evaluate.loop.Evaluator",
            ["test", "--run", str(PRETRAINED / "sr3d_rooms"), "--out", "o"],
        ),
    ],
)
def test_products_of_trainings_and_evaluations_have_workspaces_of_one_size(
    function: str,
    words: list[str],
    rooms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[str | None] = []

    def run(*_: object) -> None:
        seen.append(os.environ.get("CUBLAS_WORKSPACE_CONFIG"))
        raise InputError("that will do", kind=Kind.VALUE)

    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(function, run)
    assert main([*words, "--data", str(rooms)]) == 2
    assert seen == [":4096:8"]


class _Flags(torch.autograd.Function):
    """Notes the state of the flags when its gradient is asked for."""

    seen: ClassVar[list[tuple[bool, bool]]] = []

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        _Flags.seen.append(flags())
        return grad


def flags() -> tuple[bool, bool]:
    filled: bool = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    return torch.are_deterministic_algorithms_enabled(), filled


def test_the_backward_pass_alone_uses_deterministic_algorithms() -> None:
    before = flags()
    ordered_backward(_Flags.apply(torch.ones(1, requires_grad=True)).sum())
    assert _Flags.seen.pop() == (True, False)
    assert flags() == before == (False, True)
    with deterministic_algorithms(True):
        with pytest.raises(InputError), deterministic_algorithms(False):
            raise InputError("that will do", kind=Kind.VALUE)
        assert flags()[0] is True
        with deterministic_algorithms(False):
            assert flags()[0] is False
    assert flags() == before


def test_a_sum_without_an_order_is_noticed() -> None:
    twice, once = torch.tensor([0, 1, 0]), torch.tensor([2, 1, 0])
    for add, unordered in (
        (lambda: torch.zeros(3, 2).index_add(0, twice, torch.ones(3, 2)), True),
        (lambda: torch.zeros(3, 2).index_add_(0, once, torch.ones(3, 2)), False),
        (lambda: torch.zeros(3, 2).scatter_add(0, torch.stack([once, twice], 1), torch.ones(3, 2)),
         True),
        (lambda: torch.zeros(3, 3).scatter_add_(0, torch.stack([once] * 2, 1), torch.ones(3, 2)),
         False),
        (lambda: torch.zeros(3).long().index_add(0, twice, torch.ones(3).long()), False),
    ):  # fmt: skip
        with IndexedWrites() as writes:
            add()
        assert [write.unordered for write in writes.found] == [unordered]


def two_scenes() -> SparseTensor:
    coords = random_coords(300, 2, -4, 5, seed=0)
    features = torch.randn(len(coords), 4, generator=torch.Generator().manual_seed(0))
    return SparseTensor.from_coords(coords, features.requires_grad_())


def convolved(x: SparseTensor) -> Tensor:
    weight = torch.ones(27, 4, 2, requires_grad=True)
    return functional.sparse_conv(x.features, weight, x.sites.kernel_map(x.sites.strided(2), 3))


def added(x: SparseTensor) -> Tensor:
    even, upper = x.sites.coords[:, 1] % 2 == 0, x.sites.coords[:, 2] > 0
    some, others = (x.pruned(mask.nonzero().squeeze(1)) for mask in (even, upper))
    return (some + others).features


def at_finer_cells(x: SparseTensor) -> Tensor:
    coarse = x.sites.strided(2)
    return SparseTensor(x.features[: len(coarse)], coarse).at(x.sites)


def pooled(pool: Callable[..., Tensor]) -> Callable[[SparseTensor], Tensor]:
    return lambda x: pool(x.features, x.sites.kernel_map(x.sites.strided(2), 3))


@pytest.mark.parametrize(
    "operation",
    [
        convolved,
        added,
        at_finer_cells,
        pooled(functional.max_pool),
        pooled(functional.sum_pool),
        pooled(functional.average_pool),
        lambda x: SparseInstanceNorm(4)(x).features,
    ],
)
def test_sparse_operations_and_their_gradients_add_in_one_order(
    operation: Callable[[SparseTensor], Tensor],
) -> None:
    with IndexedWrites() as writes:
        operation(two_scenes()).square().sum().backward()
    assert [write for write in writes.found if write.unordered] == []


@pytest.mark.parametrize("make", [thin_model, thin_fcaf3d])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_detection_adds_in_one_order(make: Callable[..., Detector[Any, Any]], norm: str) -> None:
    model = make("sunrgbd", stem_norm=norm)
    [xyz] = clouds(1200)
    for runner in (model, model.compile()):
        with IndexedWrites() as writes:
            found = runner.detect(xyz, torch.full_like(xyz, 0.4))
        assert len(found.labels) > 0
        assert [write for write in writes.found if write.unordered or write.sorted] == []
