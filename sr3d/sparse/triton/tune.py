"""Tunes the kernels on this machine's GPU: `python -m sr3d.sparse.triton.tune`.

It starts from the configuration that would be chosen, changes one property at a time, and keeps a
faster change, until no change is faster. This takes about twenty compilations per layer instead of
some hundred. Layers are timed on the maps of a synthetic room, whose levels are as dense as a
scan's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor

from sr3d.runs.files import exclusive, write_json
from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.sites import Sites
from sr3d.sparse.triton.engine import run_convolution, run_weight_gradient
from sr3d.sparse.triton.tuning import (
    KernelConfig,
    Layer,
    Operation,
    TuningEntry,
    choose,
    fitted,
    layer_of,
    read_table,
    user_table,
)

_CHOICES: dict[str, tuple[int, ...]] = {
    "block_m": (16, 32, 64, 128),
    "block_n": (16, 32, 64, 128),
    "block_k": (16, 32, 64, 128),
    "warps": (2, 4, 8),
    "stages": (2, 3, 5, 7),
    "groups": (1, 3, 9),
    "pairs": (128, 512, 2048, 4096, 16384),
}
_CHANNELS = {2: (64, 64), 3: (64, 128), 4: (128, 128), 5: (128, 128)}  # into, at


@dataclass(frozen=True)
class TuningCase:
    """A layer to tune, on a realistic map."""

    operation: Operation
    ci: int
    co: int
    kernel_map: KernelMap
    dtype: torch.dtype

    @property
    def layer(self) -> Layer:
        volume, n_out = self.kernel_map.volume, self.kernel_map.n_out
        return layer_of(self.operation, self.dtype, self.ci, self.co, volume, n_out)

    def run(self) -> Callable[[KernelConfig], Tensor]:
        """The operation as a function of the configuration, on random numbers."""
        kernel_map, device = self.kernel_map, self.kernel_map.in_rows.device
        x = torch.randn(kernel_map.n_in, self.ci, dtype=self.dtype, device=device)
        if self.operation == "convolution":
            shape = kernel_map.volume, self.ci, self.co
            weight = torch.randn(shape, dtype=self.dtype, device=device)
            return lambda config: run_convolution(config, x, weight, kernel_map)
        grad = torch.randn(kernel_map.n_out, self.co, dtype=self.dtype, device=device)
        return lambda config: run_weight_gradient(config, x, grad, kernel_map)


def gpu_milliseconds(run: Callable[[], Any]) -> float:
    """Median time of replays of a CUDA graph, which excludes the host's time."""
    return float(triton.testing.do_bench_cudagraph(run, return_mode="median"))


def tune(
    cases: Iterable[TuningCase],
    path: Path,
    milliseconds: Callable[[Callable[[], Any]], float] = gpu_milliseconds,
) -> Iterator[tuple[TuningEntry, float]]:
    """Tune each case and add it to the table at `path`. The table is complete after every case.

    Yields each entry and its time.

    Raises:
        InputError: another process tunes into this table, or it cannot be written.
    """
    with exclusive(path):
        entries = {entry.layer: entry for entry in read_table(path)}
        for case in cases:
            entry, best = _tune_one(case, milliseconds)
            entries[entry.layer] = entry
            lines = [asdict(e.layer) | asdict(e.config) for e in entries.values()]
            write_json(path, {"triton": triton.__version__, "entries": lines})
            yield entry, best


def _tune_one(
    case: TuningCase, milliseconds: Callable[[Callable[[], Any]], float]
) -> tuple[TuningEntry, float]:
    run, layer = case.run(), case.layer
    times: dict[KernelConfig, float] = {}

    def time(config: KernelConfig) -> float:
        if config not in times:
            try:
                times[config] = milliseconds(lambda: run(config))
            except triton.OutOfResources:  # more shared memory than the GPU has
                times[config] = float("inf")
        return times[config]

    best = choose(layer, case.kernel_map.in_rows.device)
    while True:
        faster = min(_near(best, layer), key=time)
        if time(faster) >= time(best):
            return TuningEntry(layer, best), time(best)
        best = faster


def _near(config: KernelConfig, layer: Layer) -> list[KernelConfig]:
    """Configurations that differ in one property, by one step."""
    other = "pairs" if layer.operation == "convolution" else "groups"  # unused here
    result = []
    for name, choices in _CHOICES.items():
        if name == other:
            continue
        value = getattr(config, name)
        below = [c for c in choices if c < value][-1:]
        above = [c for c in choices if c > value][:1]
        result += [fitted(replace(config, **{name: c}), layer) for c in below + above]
    return [c for c in result if c != config]


def room_cases(
    device: torch.device, dtypes: Iterable[torch.dtype], size: int = 700
) -> list[TuningCase]:
    """The layers of the detectors' network in a room of `size` cells of 1 cm, every operation.

    A floor, two walls and forty boxes: surfaces, as in a scan.
    """
    voxels = _room(size, device)
    levels = [voxels.strided(2**i) for i in range(1, 7)]  # 2 to 64 cm
    reached = levels[4].generated(3, 2)
    maps = [(6, 64, voxels.kernel_map(levels[0], 3))]
    for i, (below, here) in _CHANNELS.items():
        fine, coarse = levels[i - 1], levels[i]
        maps.append((below, here, fine.kernel_map(coarse, 3)))
        maps.append((below, here, fine.kernel_map(coarse, 1)))
        maps.append((here, here, coarse.kernel_map(coarse, 3)))
    maps.append((128, 128, reached.kernel_map(levels[4], 3).transposed()))
    maps.append((128, 128, reached.kernel_map(reached, 3)))
    cases = []
    for dtype in dtypes:
        for ci, co, kernel_map in maps:
            cases.append(TuningCase("convolution", ci, co, kernel_map, dtype))
            cases.append(TuningCase("weight_gradient", ci, co, kernel_map, dtype))
            if ci != co and ci >= 16:
                cases.append(TuningCase("convolution", co, ci, kernel_map.transposed(), dtype))
    # If the table cannot distinguish two cases, the later one has more work: the sub-manifold case.
    return list({case.layer: case for case in cases}.values())


def _room(size: int, device: torch.device) -> Sites:
    g = torch.Generator().manual_seed(0)
    corners = torch.rand(40, 3, generator=g) * torch.tensor([size, size, size / 8])
    sizes = (0.05 + 0.1 * torch.rand(40, 3, generator=g)) * size
    walls = torch.tensor([[0.0, 0, 0]] * 3), torch.tensor([[1.0, 1, 0], [1, 0, 0.4], [0, 1, 0.4]])
    points = [_faces(walls[0], walls[1] * size, 4 * size * size // 30, g)]
    points.append(_faces(corners, sizes, size * size // 20 // 40, g))
    cells = torch.cat(points).floor().to(torch.int32)
    coords = torch.cat([torch.zeros(len(cells), 1, dtype=torch.int32), cells], dim=1)
    return Sites.unique(coords.to(device))[0]


def _faces(corners: Tensor, sizes: Tensor, each: int, g: torch.Generator) -> Tensor:
    """`each` random points on the faces of every box."""
    at = torch.rand(len(corners), each, 3, generator=g)
    axis = torch.randint(3, (len(corners), each, 1), generator=g)
    at = at.scatter(2, axis, torch.randint(2, axis.shape, generator=g).float())
    return (corners[:, None] + at * sizes[:, None]).reshape(-1, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tune the sparse kernels on this machine's GPU.")
    parser.add_argument("--out", type=Path, help="default: this GPU's table in the cache folder")
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    args = parser.parse_args()
    device = torch.device("cuda")
    path = args.out or user_table(device)
    cases = room_cases(device, [getattr(torch, name) for name in args.dtypes])
    for entry, best in tune(cases, path):
        print(f"{best * 1000:8.1f} µs  {entry.layer}  {entry.config}", flush=True)
    print(path)


if __name__ == "__main__":
    main()
