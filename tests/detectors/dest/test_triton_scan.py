"""The kernels of the selective scan, in Triton's interpreter where there is no GPU."""

from __future__ import annotations

from tests.sparse.triton_cases import DEVICE  # isort: skip

import pytest
import torch

from sr3d.detectors.dest.selective_scan import selective_scan
from sr3d.detectors.dest.triton import engine as triton_engine
from sr3d.sparse.functional import engine
from tests.detectors.dest.scan_cases import case, close, gradients, recurrence, scanned

reverses = pytest.mark.parametrize("reverse", [False, True])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks and several parts of the states."""
    monkeypatch.setattr(triton_engine, "CHUNK", 4)
    monkeypatch.setattr(triton_engine, "_TILE", 32)


@reverses
@pytest.mark.parametrize(("points", "step"), [(1, 0.0), (4, -6.0), (9, 0.0), (9, 30.0)])
def test_the_scan_equals_the_recurrence(points: int, reverse: bool, step: float) -> None:
    given = case(points, scenes=2, states=19, reverse=reverse, step=step, device=DEVICE)
    with engine("triton"):
        found = scanned(given)
    for ours, wanted in zip(found, recurrence(given), strict=True):
        assert close(ours.cpu(), wanted.cpu(), 1e-5)


@reverses
def test_gradients_equal_the_recurrence_s(reverse: bool) -> None:
    given = case(9, scenes=2, states=19, reverse=reverse, device=DEVICE).learning()
    with engine("triton"):
        found = scanned(given)
    pairs = zip(gradients(given, found), gradients(given, recurrence(given)), strict=True)
    assert all(close(ours.cpu(), wanted.cpu(), 2e-5) for ours, wanted in pairs)


def test_small_steps_are_as_precise_as_large_ones() -> None:
    """Where exp(z) is below the rounding of 1, its logarithm is not zero."""
    given = case(3, step=-18.0, device=DEVICE)
    still = given.terms._replace(state=torch.zeros_like(given.terms.state))
    with engine("triton"):
        y, _ = selective_scan(still)
    wanted, _ = recurrence(given._replace(terms=still))
    assert close(y.cpu(), wanted.cpu(), 1e-5)
