"""The engines that compute sparse layers, made ready for a test, or skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor

from sr3d.sparse import Sites, SparseTensor, functional
from sr3d.sparse.minkowski import MinkowskiSites

NAMES = ("torch", "triton", "minkowski")


@dataclass(frozen=True)
class Engine:
    """sites: the kind that it computes on."""

    name: str
    sites: type[Sites]
    device: torch.device

    def tensor(self, coords: Tensor, features: Tensor, stride: int, scenes: int) -> SparseTensor:
        """From distinct (N, 4) coordinates and (N, C) features, through which gradients pass."""
        sites, order = self.sites.unique(coords.to(self.device), stride, scenes)
        return SparseTensor(features.to(self.device)[order], sites)


@contextmanager
def ready(name: str) -> Iterator[Engine]:
    """An engine, which computes while the block lasts."""
    if name == "minkowski":
        needs_minkowski()
        yield Engine(name, MinkowskiSites, torch.device("cpu"))
    elif name == "triton":
        # It chooses the interpreter where there is no GPU, and skips where there is no Triton.
        from tests.sparse.triton_cases import DEVICE

        with functional.engine("triton"):
            yield Engine(name, Sites, DEVICE)
    else:
        yield Engine(name, Sites, torch.device("cpu"))


def needs_minkowski() -> None:
    if find_spec("MinkowskiEngine") is None:
        pytest.skip("needs MinkowskiEngine, which envs/openmmlab.sh builds")


def by_cell(coords: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
    """Coordinates and what stands beside them, in the coordinates' order: the same for everyone."""
    coords = coords.cpu()
    order = torch.from_numpy(np.lexsort(coords.numpy().T[::-1]))
    return coords[order], *(r.cpu()[order] for r in rows)


def assert_close(found: Tensor, expected: Tensor, tolerance: float, what: str = "") -> None:
    """The largest difference is at most `tolerance` of the largest value."""
    assert found.shape == expected.shape, what
    if found.numel():
        found, expected = found.detach().double(), expected.detach().double()
        scale = float(expected.abs().max())
        assert float((found - expected).abs().max()) <= tolerance * scale, what
