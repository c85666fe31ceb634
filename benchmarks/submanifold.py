"""One 3³ sub-manifold layer at each level of the network: our engines against spconv's.

    python -m benchmarks.submanifold --device cuda --out FILE.json [--points SCAN.npz]

spconv (`pip install spconv-cu126`) and spconv-triton (`pip install spconv-triton`) are measured if
they are installed. All contenders have the same cells, features and weights, run in one process in
turn, A B A B, and must agree with our plain PyTorch engine before they are timed. If spconv's fails
or disagrees, it is left out, and the result says why. Pairs of cells are found before the clock
starts, because the layers of a network share them. `first` is a forward pass that must find them,
`both` a forward and backward pass. Without SCAN.npz the cells are from a procedural room of
ScanNet's size.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import milliseconds
from sr3d.config import ModelConfig
from sr3d.data.scene import point_table
from sr3d.detectors.common.mink_resnet import MinkResNet
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.configuration import default_config
from sr3d.detectors.tr3d.network import TR3DNeck
from sr3d.runs.files import write_json
from sr3d.runs.machine import machine_facts, versions
from sr3d.sparse import Sites
from sr3d.sparse.functional import engine, sparse_conv
from sr3d.sparse.tensor import PlannedTensor
from sr3d.study.benchmarking.subject import Rooms

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
TOLERANCE = {"fp16": 0.01, "bf16": 0.05, "fp32": 0.005}  # of the largest output. tf32 may be on
PEERS = {"spconv": "spconv.pytorch", "spconv_triton": "spconv_triton.pytorch"}


@dataclass(frozen=True)
class Contender:
    """fresh: finds the pairs again and returns the layer. weight: gets the gradient."""

    fresh: Callable[[], Callable[[Tensor], Tensor]]
    weight: Tensor


def ours(name: Any, sites: Sites, weight: Tensor) -> Contender:
    own = weight.clone().requires_grad_()

    def fresh() -> Callable[[Tensor], Tensor]:
        copy = Sites(sites.coords, sites.stride, sites.batch_size, sites.bounds)
        kernel_map = copy.kernel_map(copy, 3)

        def layer(x: Tensor) -> Tensor:
            with engine(name):
                return sparse_conv(x, own, kernel_map)

        return layer

    return Contender(fresh, own)


def peers(name: str, sites: Sites, weight: Tensor) -> Contender:
    """spconv's layer: weights (Co, kx, ky, kz, Ci), cells (batch, x, y, z). name: of its module."""
    module = import_module(name)
    _, channels, out_channels = weight.shape
    cells = sites.coords[:, 1:] // sites.stride
    cells = cells - cells.amin(dim=0)
    indices = torch.cat([sites.coords[:, :1], cells], dim=1).int().contiguous()
    shape = (cells.amax(dim=0) + 1).tolist()
    conv = module.SubMConv3d(channels, out_channels, 3, padding=1, bias=False, indice_key="same")
    conv = conv.to(weight.device, weight.dtype)
    with torch.no_grad():
        cube = weight.view(3, 3, 3, channels, out_channels)  # z, y, x: x is fastest in ours
        conv.weight.copy_(cube.permute(4, 2, 1, 0, 3))

    def fresh() -> Callable[[Tensor], Tensor]:
        found: dict[str, Any] = {}

        def layer(x: Tensor) -> Tensor:
            tensor = module.SparseConvTensor(x, indices, shape, sites.batch_size, indice_dict=found)
            return conv(tensor).features

        return layer

    return Contender(fresh, conv.weight)


def contenders(sites: Sites, weight: Tensor) -> dict[str, Callable[[], Contender]]:
    """Functions that make them, because another engine may fail even then."""
    found = {"sr3d_torch": partial(ours, "torch", sites, weight)}
    if weight.is_cuda:
        found["sr3d_triton"] = partial(ours, "triton", sites, weight)
    for name, module in PEERS.items():
        if find_spec(name):
            found[name] = partial(peers, module, sites, weight)
    return found


def measure(sites: Sites, channels: int, dtype: str, rounds: int) -> dict[str, Any]:
    """milliseconds: of every contender, median and all, of `first`, `forward`, `both`. left_out:
    contenders that could not be compared, and why.
    """
    device = sites.coords.device
    generator = torch.Generator().manual_seed(0)
    scale = (27 * channels) ** -0.5
    weight = torch.randn(27, channels, channels, generator=generator) * scale
    features = torch.randn(len(sites), channels, generator=generator)
    x = features.to(device, DTYPES[dtype]).requires_grad_()
    field: dict[str, Contender] = {}
    with torch.no_grad():
        truth = ours("torch", sites, weight.to(device)).fresh()(features.to(device))
    layers: dict[str, Callable[[Tensor], Tensor]] = {}
    left_out: dict[str, str] = {}
    for name, make in contenders(sites, weight.to(device, DTYPES[dtype])).items():
        try:
            field[name] = make()
            layers[name] = checked(field[name].fresh(), x, truth, TOLERANCE[dtype])
        except Exception as error:  # another engine may raise anything
            if name not in PEERS:
                raise
            left_out[name] = f"{type(error).__name__}: {error}"
    for contender in field.values():
        x.grad = contender.weight.grad = None
    times: dict[str, dict[str, list[float]]] = {name: {} for name in layers}
    for turn in range(-3, rounds):
        for name, layer in layers.items():
            with torch.no_grad():
                first = milliseconds(lambda c=field[name]: c.fresh()(x), device)
                forward = milliseconds(lambda run=layer: run(x), device)

            def both(run: Callable[[Tensor], Tensor] = layer) -> None:
                run(x).sum().backward()

            values = {"first": first, "forward": forward, "both": milliseconds(both, device)}
            x.grad = field[name].weight.grad = None
            for what, value in values.items() if turn >= 0 else ():
                times[name].setdefault(what, []).append(value)
    medians = {
        name: {what: {"median": statistics.median(v), "runs": v} for what, v in own.items()}
        for name, own in times.items()
    }
    return {"milliseconds": medians, "left_out": left_out}


def checked(
    layer: Callable[[Tensor], Tensor], x: Tensor, truth: Tensor, tolerance: float
) -> Callable[[Tensor], Tensor]:
    """The layer, once it has agreed with the truth and computed a gradient.

    Raises:
        ValueError: it disagrees.
    """
    out = layer(x)
    error = float((out.detach().float() - truth).abs().max() / truth.abs().max())
    if not error <= tolerance:
        raise ValueError(f"{error:.1%} off")
    out.sum().backward()
    return layer


def levels(points: Tensor, config: ModelConfig, device: str) -> list[tuple[str, Sites, int]]:
    """Name, cells and channels of every set of cells on which the network has 3³ layers."""
    xyz, colors = points[:, :3].to(device), points[:, 3:].to(device)
    x = PlannedTensor(voxelize([xyz], [colors], config.voxel_size).sites)
    stages = MinkResNet(config)(x)
    fine, coarse = (level.sites for level in TR3DNeck(config)(stages))
    cells = [stage.sites for stage in stages]
    numbered = enumerate(zip(cells, config.planes, strict=True), 1)
    return [
        *((f"stage {i}", sites, channels) for i, (sites, channels) in numbered),
        ("coarse level", coarse, config.planes[2]),
        ("fine level", fine, config.planes[1]),
    ]  # fmt: skip


def measured(
    points: Tensor, config: ModelConfig, device: str, dtypes: Iterable[str], rounds: int
) -> Iterator[dict[str, Any]]:
    """A row for each level and data type."""
    for name, sites, channels in levels(points, config, device):
        for dtype in dtypes:
            layer = {"level": name, "cells": len(sites), "channels": channels, "dtype": dtype}
            yield {**layer, **measure(sites, channels, dtype, rounds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--points", type=Path, help="SCAN.npz with `points` (N, 6)")
    parser.add_argument("--thin", action="store_true", help="the rooms' thin network")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    dataset = "synthetic" if args.thin else "scannet"
    config = default_config(dataset).model
    if args.points:
        points = torch.from_numpy(np.load(args.points)["points"]).float()
    else:
        points = point_table(Rooms(dataset, 1).load()[0])
    rows = []
    for row in measured(points, config, args.device, args.dtypes, args.rounds):
        rows.append(row)
        times = row["milliseconds"].items()
        shown = {n: {w: round(v["median"], 3) for w, v in t.items()} for n, t in times}
        print({**row, "milliseconds": shown}, flush=True)
    write_json(args.out, {"benchmark": "submanifold", "rows": rows, "machine": machine_facts(),
                          "versions": versions()})  # fmt: skip


if __name__ == "__main__":
    main()
