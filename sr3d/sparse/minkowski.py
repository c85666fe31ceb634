"""Sites that MinkowskiEngine computes with: derived sites, kernel maps, values and gradients.

Layers ask sites for coarser, finer and joined sites and for kernel maps, and pass the maps to
`sr3d.sparse.functional`. These sites use the keys of a coordinate manager, and their maps call
MinkowskiEngine's functions. So a network runs on either engine with the same parameters. PyTorch
computes operations within a cell (norms, activations, 1³ kernels) for both engines.

Only this module imports MinkowskiEngine 0.5.4, when sites are first made.
"""

from __future__ import annotations

import collections
import collections.abc
import itertools
import warnings
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor

from sr3d.errors import InputError, Kind
from sr3d.sparse.kernel_map import KernelMap, Pairs
from sr3d.sparse.lookup import CellNumbering
from sr3d.sparse.sites import Sites

_names = itertools.count()  # of maps that are not derived from another one


class MinkowskiSites(Sites):
    """A coordinate map of MinkowskiEngine. Rows are in its order, which mixes scenes.

    manager: holds this map and all derived maps. key: the name of the map in the manager.
    """

    def __init__(self, manager: Any, key: Any, batch_size: int) -> None:
        coords = manager.get_coordinates(key)
        if len(coords) == 0:  # MinkowskiEngine's convolutions would crash
            raise InputError(
                "MinkowskiEngine cannot compute without any cell",
                field="model.engine",
                kind=Kind.EMPTY,
                remedy="Remove empty scenes, or use model.engine=native.",
            )
        super().__init__(coords, key.get_tensor_stride()[0], batch_size)
        self.manager, self.key = manager, key

    @staticmethod
    def unique(
        coords: Tensor, stride: int = 1, batch_size: int | None = None
    ) -> tuple[MinkowskiSites, Tensor]:
        """See `Sites.unique`. Creates a new manager.

        Raises:
            InputError: MinkowskiEngine is not installed, does not support this device, or gets no
                cell.
        """
        engine = _library()
        if coords.is_cuda and not engine.is_cuda_available():
            raise InputError(
                "the installed MinkowskiEngine supports CPUs only",
                field="model.engine",
                kind=Kind.CONFLICT,
                remedy="Pass --device cpu, or use model.engine=native.",
            )
        if batch_size is None:
            batch_size = int(coords[:, 0].max()) + 1 if len(coords) else 0
        kinds = engine.CoordinateMapType
        manager = engine.CoordinateManager(
            D=3,
            num_threads=torch.get_num_threads(),
            coordinate_map_type=kinds.CUDA if coords.is_cuda else kinds.CPU,
        )
        key, (first, _) = manager.insert_and_map(coords.int().contiguous(), [stride] * 3)
        return MinkowskiSites(manager, key, batch_size), first.long()

    def beside(self, coords: Tensor, stride: int) -> tuple[MinkowskiSites, Tensor]:
        # With a new name, because otherwise a map of this stride would have the same one.
        name = f"beside {next(_names)}"
        key, (first, _) = self.manager.insert_and_map(coords.int().contiguous(), [stride] * 3, name)
        return MinkowskiSites(self.manager, key, self.batch_size), first.long()

    @cached_property
    def in_order(self) -> Tensor | slice:
        numbering = CellNumbering(self.bounds, self.batch_size, self.stride, reach=0)
        return torch.argsort(numbering.number(self.coords))

    def pool_map(self, out: Sites, kernel: int) -> KernelMap:
        return self.kernel_map(out, kernel)

    def _build_strided(self, factor: int, capacity: int) -> Sites:
        # With a new name, because otherwise it returns any map of this stride that it has.
        _, name = self.key.get_key()
        return self._derived(self.manager.stride(self.key, factor, f"{name}/{factor}"))

    def _build_generated(self, kernel: int, factor: int, capacity: int) -> Sites:
        # MinkowskiEngine makes such cells only in a convolution. One channel of zeros is enough.
        # The kernel map that it leaves in the manager is the layer's.
        key = _library().CoordinateMapKey(4)
        zeros = torch.zeros(len(self), 1, device=self.coords.device)
        weight = zeros.new_zeros(kernel**3, 1, 1)
        _convolve(zeros, weight, _kernel(kernel, factor), self.manager, (self.key, key), True)
        return self._derived(key)

    def _build_union(self, other: Sites, capacity: int) -> tuple[Sites, Tensor, Tensor]:
        key = _library().CoordinateMapKey(4)
        maps = self.manager.union_map([self.key, _of_engine(other).key], key)
        mine, others = (rows[torch.argsort(own)] for own, rows in maps)
        return self._derived(key), mine, others

    def pruned(
        self, features: Tensor, rows: Tensor, counts: list[int] | None = None
    ) -> tuple[Tensor, Sites]:
        key = _library().CoordinateMapKey(4)
        prune = _library().MinkowskiPruningFunction.apply
        keep = torch.zeros(len(self), dtype=torch.bool, device=rows.device).index_fill_(
            0, rows, True
        )
        kept = prune(features, keep, self.key, key, self.manager)
        return kept, self._derived(key)

    def interpolated(self, features: Tensor, out: Sites) -> Tensor:
        interpolate = _library().MinkowskiInterpolationFunction.apply
        at = out.coords.to(features.dtype)
        result: Tensor = interpolate(features, at, self.key, self.manager)[0]
        return result

    def _build_map(self, out: Sites, kernel: int, dilation: int) -> KernelMap:
        keys = self.key, _of_engine(out).key
        generator = _kernel(kernel, out.stride // self.stride, dilation)
        return MinkowskiMap(self.manager, keys, (len(self), len(out)), generator)

    def _derived(self, key: Any) -> MinkowskiSites:
        return MinkowskiSites(self.manager, key, self.batch_size)


class MinkowskiMap(KernelMap):
    """A kernel map of MinkowskiEngine's manager, and the operations over it.

    keys, sizes: of input and output. generator: MinkowskiEngine's description of the kernel. The
    map holds keys, not sites, which own it. So there are no reference cycles, and the last tensor
    frees the manager.
    """

    def __init__(
        self,
        manager: Any,
        keys: tuple[Any, Any],
        sizes: tuple[int, int],
        generator: Any,
        transpose: bool = False,
    ) -> None:
        super().__init__(*sizes, generator.kernel_volume)
        self._manager, self._keys, self._generator = manager, keys, generator
        self._transpose = transpose

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """See `functional.sparse_conv`."""
        return _convolve(x, weight, self._generator, self._manager, self._keys, self._transpose)

    def pool(self, x: Tensor, mode: Literal["max", "sum", "average"]) -> Tensor:
        """See `functional.max_pool` and the other pools. Not for transposed maps."""
        modes = _library().PoolingMode
        kind = {
            "max": modes.LOCAL_MAX_POOLING,
            "sum": modes.LOCAL_SUM_POOLING,
            "average": modes.LOCAL_AVG_POOLING,
        }[mode]
        pool = _library().MinkowskiLocalPoolingFunction.apply
        result: Tensor = pool(x, kind, self._generator, *self._keys, self._manager)
        return result

    def transposed(self) -> KernelMap:
        if self._transposed is None:
            self._transposed = MinkowskiMap(
                self._manager,
                self._keys[::-1],
                (self.n_out, self.n_in),
                self._generator,
                not self._transpose,
            )
        return self._transposed

    @cached_property
    def _pairs(self) -> Pairs:
        """For inspection. MinkowskiEngine itself does not use pairs."""
        found = self._manager.kernel_map(
            *self._keys,
            stride=self._generator.kernel_stride,
            kernel_size=self._generator.kernel_size,
            dilation=self._generator.kernel_dilation,
            is_transpose=self._transpose,
        )
        none = torch.zeros(2, 0, dtype=torch.int64)
        each = (found[k].long() if k in found else none for k in range(self.volume))
        return [(in_rows, out_rows) for in_rows, out_rows in each]


def _convolve(
    x: Tensor, weight: Tensor, generator: Any, manager: Any, keys: tuple[Any, Any], transpose: bool
) -> Tensor:
    engine = _library()
    function = (
        engine.MinkowskiConvolutionTransposeFunction
        if transpose
        else engine.MinkowskiConvolutionFunction
    )
    mode = import_module("MinkowskiEngineBackend._C").ConvolutionMode.DEFAULT
    result: Tensor = function.apply(x, weight, generator, mode, *keys, manager)
    return result


def _kernel(kernel: int, stride: int, dilation: int = 1) -> Any:
    """A cubic kernel. `expand_coordinates`: creates the output cells that it reaches."""
    return _library().KernelGenerator(
        kernel_size=kernel, stride=stride, dilation=dilation, expand_coordinates=True, dimension=3
    )


def _of_engine(sites: Sites) -> MinkowskiSites:
    assert isinstance(sites, MinkowskiSites), "sites of two engines meet"
    return sites


@cache
def _library() -> Any:
    """MinkowskiEngine.

    Raises:
        InputError: it is not installed.
    """
    if find_spec("MinkowskiEngine") is None:
        raise InputError(
            "MinkowskiEngine is not installed",
            field="model.engine=minkowski",
            kind=Kind.MISSING,
            remedy="Pass --set model.engine=native, which gives the same results, or build "
            "MinkowskiEngine with envs/openmmlab.sh.",
        )
    # MinkowskiEngine 0.5.4 needs a name that Python 3.10 removed.
    collections.Sequence = collections.abc.Sequence  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it was built for CPUs only
        return import_module("MinkowskiEngine")
