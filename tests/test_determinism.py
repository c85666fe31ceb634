"""The same bits from the same seed on a GPU: what can be shown of it without one.

Trainings and tests ask PyTorch for deterministic algorithms. Detection does not ask, so it must
not add in an order that a GPU chooses.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import deterministic

from sr3d.cli import main
from sr3d.errors import InputError
from sr3d.models.base import Detector
from sr3d.sparse import SparseTensor, functional
from sr3d.sparse.interpolation import interpolate
from sr3d.sparse.nn import SparseInstanceNorm
from tests.models.thin import clouds, thin_fcaf3d, thin_model
from tests.ordered_sums import UnorderedSums
from tests.sparse.brute_force import random_coords


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("sr3d.training.train", ["train", "--dataset", "scannet", "--data", "d", "--out", "o"]),
        ("sr3d.evaluation.test", ["test", "--run", "r", "--data", "d", "--out", "o"]),
    ],
)
def test_trainings_and_tests_ask_for_deterministic_algorithms(
    function: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, str | None]] = []

    def run(*_: object) -> None:
        config = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
        seen.append((torch.are_deterministic_algorithms_enabled(), config))
        assert not deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        raise InputError("that will do")

    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(function, run)
    assert main(words) == 2
    assert seen == [(True, ":4096:8")]
    assert not torch.are_deterministic_algorithms_enabled()


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
        with UnorderedSums() as sums:
            add()
        assert (sums.found != []) == unordered


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
    return interpolate(SparseTensor(x.features[: len(coarse)], coarse), x.sites)


def pooled(pool: Callable[..., Tensor]) -> Callable[[SparseTensor], Tensor]:
    return lambda x: pool(x.features, x.sites.kernel_map(x.sites.strided(2), 3))


@pytest.mark.parametrize(
    "operation",
    [
        convolved,
        added,
        at_finer_cells,
        pooled(functional.sum_pool),
        pooled(functional.average_pool),
        lambda x: SparseInstanceNorm(4)(x).features,
    ],
)
def test_sparse_operations_and_their_gradients_add_in_one_order(
    operation: Callable[[SparseTensor], Tensor],
) -> None:
    with UnorderedSums() as sums:
        operation(two_scenes()).square().sum().backward()
    assert sums.found == []


def test_one_gradient_needs_the_deterministic_algorithms() -> None:
    with UnorderedSums() as sums:
        pooled(functional.max_pool)(two_scenes()).square().sum().backward()
    assert [found.split(":")[0] for found in sums.found] == ["scatter_add_ torch_engine.py"]


@pytest.mark.parametrize("make", [thin_model, thin_fcaf3d])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_detection_adds_in_one_order(make: Callable[..., Detector[Any]], norm: str) -> None:
    model = make("sunrgbd", stem_norm=norm)
    [xyz] = clouds(1200)
    for runner in (model, model.compile()):
        with UnorderedSums() as sums:
            found = runner.detect(xyz, torch.full_like(xyz, 0.4))
        assert len(found.labels) > 0
        assert sums.found == []
