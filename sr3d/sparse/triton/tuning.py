"""Which tile sizes a layer runs with: the nearest entry of a table of tuned configurations.

A layer is known by its operation, channels, kernel volume, arithmetic and the power of two of its
rows, never by exact sizes: scenes differ, and nothing is to be tuned or compiled anew for each.
Entries measured on the GPU at hand (`tune`) come before the table that is shipped.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from sr3d.errors import InputError, Kind

Operation = Literal["convolution", "weight_gradient"]
Arithmetic = Literal["half", "tf32", "float32"]

_LEAST = 16  # tl.dot's smallest edge
_PARTIAL_BYTES = 1 << 28  # no layer's partial sums take more


@dataclass(frozen=True)
class Layer:
    """A layer as the table knows it. rows: floor(log2) of the output rows."""

    operation: Operation
    arithmetic: Arithmetic
    ci: int
    co: int
    volume: int
    rows: int

    def distance(self, other: Layer) -> float:
        """How far apart two layers are, in doublings; inf where nothing carries over."""
        if (self.operation, self.arithmetic) != (other.operation, other.arithmetic):
            return math.inf
        ratios = (self.ci / other.ci, self.co / other.co, self.volume / other.volume)
        return abs(self.rows - other.rows) + sum(abs(math.log2(ratio)) for ratio in ratios)


@dataclass(frozen=True)
class Config:
    """Of the convolution: m output rows, n output channels, k input channels a step, and `groups`
    of offsets that are summed apart. Of the weight gradient: m input channels, n output channels,
    k pairs a step, and `pairs` (at least) in a chunk.
    """

    block_m: int
    block_n: int
    block_k: int
    warps: int
    stages: int
    groups: int = 1
    pairs: int = 4096


@dataclass(frozen=True)
class Entry:
    layer: Layer
    config: Config


def layer_of(
    operation: Operation, dtype: torch.dtype, ci: int, co: int, volume: int, n_out: int
) -> Layer:
    return Layer(operation, arithmetic(dtype), ci, co, volume, max(n_out, 1).bit_length() - 1)


def arithmetic(dtype: torch.dtype) -> Arithmetic:
    """float32 means IEEE products unless torch is told otherwise (set_float32_matmul_precision)."""
    if dtype != torch.float32:
        return "half"
    return "float32" if torch.get_float32_matmul_precision() == "highest" else "tf32"


@cache
def choose(layer: Layer, device: torch.device) -> Config:
    """The configuration for a layer on a device, fitted to the layer's channels."""
    measured = read_table(user_table(device)) if device.type == "cuda" else ()
    entries = (*measured, *shipped_table())
    # An entry of the GPU at hand wins unless it is more than a doubling farther away.
    best = min(
        range(len(entries)),
        key=lambda i: (layer.distance(entries[i].layer) + (i >= len(measured)), i),
    )
    return fitted(entries[best].config, layer)


def fitted(config: Config, layer: Layer) -> Config:
    """No block larger than what the layer fills, no more groups than it affords."""
    values = asdict(config)
    values["block_n"] = min(config.block_n, _edge(layer.co))
    if layer.operation == "weight_gradient":
        values["block_m"] = min(config.block_m, _edge(layer.ci))
        return Config(**values)
    values["block_k"] = min(config.block_k, _edge(layer.ci))
    rows = 2 << layer.rows
    groups = min(config.groups, layer.volume)
    values["groups"] = groups if groups * rows * layer.co * 4 <= _PARTIAL_BYTES else 1
    return Config(**values)


def chunk_size(config: Config, volume: int, ci: int, co: int, n_out: int) -> int:
    """Pairs of a chunk of the weight gradient: as configured, more if the partial sums need it."""
    affordable = max(1, _PARTIAL_BYTES // (volume * ci * co * 4))
    least = max(config.pairs, -(-n_out // affordable))
    return -(-least // config.block_k) * config.block_k


@cache
def shipped_table() -> tuple[Entry, ...]:
    text = files("sr3d.sparse.triton").joinpath("configs.json").read_text(encoding="utf-8")
    return parse_table(text, "configs.json")


def user_table(device: torch.device) -> Path:
    """Where `tune` keeps what it measured on this kind of GPU."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name(device).lower()).strip("-")
    return Path(root) / "sr3d" / f"sparse-{name}.json"


def read_table(path: Path) -> tuple[Entry, ...]:
    """Entries of a table; none if there is no such file.

    Raises:
        InputError: the file is not a table.
    """
    if not path.exists():
        return ()
    return parse_table(path.read_text(encoding="utf-8"), str(path))


def parse_table(text: str, name: str) -> tuple[Entry, ...]:
    try:
        return tuple(_entry(line) for line in json.loads(text)["entries"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"not a table of tuned configurations ({error})",
            field=name,
            kind=Kind.UNREADABLE,
            remedy="Delete it, or tune again.",
        ) from None


def _entry(line: dict[str, Any]) -> Entry:
    layer = Layer(**{f.name: line[f.name] for f in fields(Layer)})
    config = Config(**{f.name: line[f.name] for f in fields(Config) if f.name in line})
    if layer.operation not in get_args(Operation) or layer.arithmetic not in get_args(Arithmetic):
        raise ValueError(f"{layer.operation} in {layer.arithmetic} is unknown")
    for block in (config.block_m, config.block_n, config.block_k):
        if block < _LEAST or block & (block - 1):
            raise ValueError(f"a block of {block} is no power of two from {_LEAST} up")
    return Entry(layer, config)


def _edge(channels: int) -> int:
    return max(_LEAST, 1 << (channels - 1).bit_length())
