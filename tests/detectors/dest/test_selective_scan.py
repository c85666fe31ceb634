"""The selective scan and its gradients, against the recurrence."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor

from sr3d.detectors.dest import torch_engine
from sr3d.detectors.dest.selective_scan import ScanTerms, selective_scan
from tests.detectors.dest.scan_cases import case, close, gradients, recurrence, scanned

HALVES = (slice(37), slice(37, 90))
OF_POINTS = ScanTerms._fields[:6]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("points", [1, 31, 32, 33, 64, 150])
@pytest.mark.parametrize("step", [-6.0, 0.0, 8.0])
def test_the_scan_equals_the_recurrence(points: int, reverse: bool, step: float) -> None:
    given = case(points, scenes=2, reverse=reverse, step=step)
    for found, wanted in zip(scanned(given), recurrence(given), strict=True):
        assert found.shape == wanted.shape
        assert found.dtype == torch.float32
        assert close(found, wanted, 1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_equal_the_recurrence_s(reverse: bool) -> None:
    given = case(80, scenes=2, reverse=reverse, dtype=torch.float64).learning()
    pairs = zip(gradients(given, scanned(given)), gradients(given, recurrence(given)), strict=True)
    assert all(close(found, wanted, 1e-10) for found, wanted in pairs)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_equal_differences(monkeypatch: pytest.MonkeyPatch, reverse: bool) -> None:
    monkeypatch.setattr(torch_engine, "CHUNK", 3)
    small = case(7, heads=2, channels=2, states=2, reverse=reverse, dtype=torch.float64)
    given = small.learning()

    def scan(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return selective_scan(ScanTerms(*tensors), reverse)

    assert torch.autograd.gradcheck(scan, tuple(given.terms))


def test_the_largest_steps_leave_finite_gradients() -> None:
    """A point that overwrites a state has a decay of zero."""
    given = case(40, step=200.0).learning()
    assert all(bool(found.isfinite().all()) for found in gradients(given, scanned(given)))


def test_two_halves_are_the_whole() -> None:
    given = case(90)
    whole, last = scanned(given)
    first, second = (
        given.terms._replace(**{name: getattr(given.terms, name)[:, part] for name in OF_POINTS})
        for part in HALVES
    )
    y, state = selective_scan(first)
    rest, end = selective_scan(second._replace(state=state))
    assert torch.equal(torch.cat([y, rest], dim=1), whole)
    assert torch.equal(end, last)


def test_a_backward_pass_stores_states_at_few_points() -> None:
    """Not those after every point, and not the decays."""
    given = case(1024, heads=2, channels=8, states=64).learning()
    saved: list[Tensor] = []

    def pack(value: Tensor) -> Tensor:
        saved.append(value)
        return value

    def living() -> dict[int, int]:
        """Bytes of all tensors by their place in memory."""
        gc.collect()
        python = [v for v in gc.get_objects() if issubclass(type(v), Tensor)]
        storages = [v.untyped_storage() for v in (*python, *saved)]
        return {storage.data_ptr(): storage.nbytes() for storage in storages}

    before = living()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        found = scanned(given)
    stored = sum(size for place, size in living().items() if place not in before)
    assert found[0].requires_grad
    assert found[1].nbytes * 30 < stored < found[1].nbytes * 1024 / 20


def test_low_precision_is_of_the_network_alone() -> None:
    half = ScanTerms(*(value.bfloat16() for value in case(20).terms))
    exact, _ = selective_scan(ScanTerms(*(value.float() for value in half)))
    with torch.autocast("cpu", torch.bfloat16):
        y, state = selective_scan(half)
    assert y.dtype == state.dtype == torch.float32
    assert torch.equal(y, exact)
