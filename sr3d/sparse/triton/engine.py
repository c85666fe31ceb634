"""The sparse operations on a GPU: choose a configuration, make the tables, launch the kernels.

The same functions as `torch_engine` has. Shapes and data types are checked, values never: nothing
here waits for the device.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
from torch import Tensor

from sr3d.errors import InputError, Kind
from sr3d.sparse.epilogue import NOTHING, Epilogue
from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.triton import convolution_kernels, pooling_kernels, weight_kernels
from sr3d.sparse.triton.tables import Neighbors, pairs, tiles
from sr3d.sparse.triton.tuning import Config, arithmetic, choose, chunk_size, layer_of

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
# Whether TRITON_INTERPRET=1 was set when Triton was imported: then kernels run anywhere, slowly.
INTERPRETED = not isinstance(convolution_kernels.convolution, triton.JITFunction)

_BLOCK = 1024  # elements of a program that only adds
_POOL_ROWS = 32  # of a pooling program, times up to 64 channels


def convolve(x: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """x (n_in, Ci), weight (K, Ci, Co), to (n_out, Co) in x's data type."""
    return convolve_fused(x, weight, kernel_map, NOTHING)


def input_gradient(grad: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """grad (n_out, Co) to (n_in, Ci)."""
    if kernel_map.mirrored:  # the map is its own transpose, with the kernel the other way round
        return convolve_fused(grad, weight.transpose(1, 2), kernel_map, NOTHING, mirrored=True)
    return convolve_fused(grad, weight.transpose(1, 2), kernel_map.transposed(), NOTHING)


def convolve_fused(
    x: Tensor, weight: Tensor, kernel_map: Neighbors, epilogue: Epilogue, mirrored: bool = False
) -> Tensor:
    """`convolve` with what follows it, rounded once, when it is stored.

    mirrored: with the kernel the other way round.
    """
    _check(x, weight)
    volume, ci, co = weight.shape
    if (len(x), x.shape[1], volume) != (kernel_map.n_in, ci, kernel_map.volume):
        raise ValueError(
            f"{tuple(x.shape)} features and a {tuple(weight.shape)} kernel do not fit a map of "
            f"{kernel_map.volume} offsets from {kernel_map.n_in} rows"
        )
    layer = layer_of("convolution", x.dtype, ci, co, volume, kernel_map.n_out)
    config = choose(layer, x.device)
    return run_convolution(config, x, weight, kernel_map, epilogue, mirrored)


def run_convolution(
    config: Config,
    x: Tensor,
    weight: Tensor,
    kernel_map: Neighbors,
    epilogue: Epilogue = NOTHING,
    mirrored: bool = False,
) -> Tensor:
    """The convolution with a given configuration.

    With several groups of offsets each has its own order of rows, and with it fewer dead products
    and more programs; their fp32 sums are added by a second kernel, which then has the epilogue.
    """
    volume, ci, co = weight.shape
    n_out = kernel_map.n_out
    x, last = x.contiguous(), _laid_out(epilogue, n_out, co)
    out = x.new_empty(n_out, co)
    if n_out == 0:
        return out
    with on(x.device):
        table = tiles(kernel_map, config.block_m, config.groups)
        partial = config.groups > 1
        target = x.new_empty(config.groups, n_out, co, dtype=torch.float32) if partial else out
        first = NOTHING if partial else last
        grid = (config.groups * table.per_column * triton.cdiv(co, config.block_n),)
        convolution_kernels.convolution[grid](
            x,
            weight,
            target,
            table.order,
            table.lists,
            table.counts,
            table.sources,
            first.scale,
            first.shift,
            first.residual,
            n_out,
            table.padded,
            table.per_column,
            *weight.stride(),
            CI=ci,
            CO=co,
            VOLUME=volume,
            PER_GROUP=table.per_group,
            MIRRORED=mirrored,
            PARTIAL=partial,
            ACTIVATION=first.activation,
            PRECISION=_precision(x),
            WIDEN=_widen(x),
            BLOCK_M=config.block_m,
            BLOCK_N=config.block_n,
            BLOCK_K=config.block_k,
            num_warps=config.warps,
            num_stages=config.stages,
        )
        if partial:
            convolution_kernels.sum_groups[(triton.cdiv(n_out * co, _BLOCK),)](
                target,
                out,
                last.scale,
                last.shift,
                last.residual,
                n_out * co,
                CO=co,
                GROUPS=config.groups,
                ACTIVATION=last.activation,
                BLOCK=_BLOCK,
            )
    return out


def weight_gradient(
    x: Tensor, grad: Tensor, kernel_map: KernelMap, dtype: torch.dtype | None = None
) -> Tensor:
    """(K, Ci, Co) in `dtype`, x's unless given; summed in fp32 in any case."""
    _check(x, grad)
    volume, ci, co = kernel_map.volume, x.shape[1], grad.shape[1]
    layer = layer_of("weight_gradient", x.dtype, ci, co, volume, kernel_map.n_out)
    return run_weight_gradient(choose(layer, x.device), x, grad, kernel_map, dtype)


def run_weight_gradient(
    config: Config,
    x: Tensor,
    grad: Tensor,
    kernel_map: KernelMap,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The weight gradient with a given configuration."""
    volume, ci, co = kernel_map.volume, x.shape[1], grad.shape[1]
    n_out = kernel_map.n_out
    chunk = chunk_size(config, volume, ci, co, n_out)
    chunks = max(1, triton.cdiv(n_out, chunk))  # of an offset at which every row has a neighbour
    x, grad = x.contiguous(), grad.contiguous()
    out = x.new_empty(volume, ci, co, dtype=dtype or x.dtype)
    with on(x.device):
        rows = pairs(kernel_map)
        partials = x.new_empty(chunks, volume, ci, co, dtype=torch.float32)
        blocks = triton.cdiv(ci, config.block_m) * triton.cdiv(co, config.block_n)
        weight_kernels.weight_gradient[(blocks, volume, chunks)](
            x,
            grad,
            partials,
            rows.in_rows,
            rows.out_rows,
            rows.starts,
            chunk,
            VOLUME=volume,
            CI=ci,
            CO=co,
            PRECISION=_precision(x),
            WIDEN=_widen(x),
            BLOCK_M=config.block_m,
            BLOCK_N=config.block_n,
            BLOCK_K=config.block_k,
            num_warps=config.warps,
            num_stages=config.stages,
        )
        weight_kernels.sum_chunks[(volume, triton.cdiv(ci * co, _BLOCK))](
            partials,
            out,
            rows.starts,
            chunk,
            VOLUME=volume,
            SIZE=ci * co,
            BLOCK=_BLOCK,
        )
    return out


def max_pool(x: Tensor, kernel_map: Neighbors) -> tuple[Tensor, Tensor]:
    """(n_out, C) maxima, and the input row of each, int32; -1 and zero where there is none."""
    _check(x, x)
    n_out, channels = kernel_map.n_out, x.shape[1]
    out = x.new_empty(n_out, channels)
    winners = torch.empty_like(out, dtype=torch.int32)
    if n_out:
        block_n = min(64, triton.next_power_of_2(channels))
        with on(x.device):
            pooling_kernels.max_pool[_pool_grid(n_out, channels, block_n)](
                x.contiguous(),
                kernel_map.table,
                out,
                winners,
                n_out,
                CHANNELS=channels,
                VOLUME=kernel_map.volume,
                BLOCK_M=_POOL_ROWS,
                BLOCK_N=block_n,
            )
    return out, winners


def max_pool_gradient(grad: Tensor, winners: Tensor, kernel_map: KernelMap) -> Tensor:
    """grad (n_out, C) to (n_in, C)."""
    n_in, channels = kernel_map.n_in, grad.shape[1]
    out = grad.new_empty(n_in, channels)
    if n_in:
        block_n = min(64, triton.next_power_of_2(channels))
        with on(grad.device):
            pooling_kernels.max_pool_gradient[_pool_grid(n_in, channels, block_n)](
                grad.contiguous(),
                winners,
                kernel_map.transposed().table,
                out,
                n_in,
                CHANNELS=channels,
                VOLUME=kernel_map.volume,
                BLOCK_M=_POOL_ROWS,
                BLOCK_N=block_n,
            )
    return out


def _pool_grid(rows: int, channels: int, block_n: int) -> tuple[int, int]:
    return triton.cdiv(rows, _POOL_ROWS), triton.cdiv(channels, block_n)


def _laid_out(epilogue: Epilogue, n_out: int, co: int) -> Epilogue:
    """As the kernels read it: scale and shift (Co,), everything contiguous."""
    scale, shift, residual = epilogue.scale, epilogue.shift, epilogue.residual
    if residual is not None and residual.shape != (n_out, co):
        raise ValueError(f"the residual is {tuple(residual.shape)}, the result {(n_out, co)}")
    return Epilogue(
        None if scale is None else scale.reshape(co).contiguous(),
        None if shift is None else shift.reshape(co).contiguous(),
        None if residual is None else residual.contiguous(),
        epilogue.activation,
    )


def _check(x: Tensor, other: Tensor) -> None:
    if x.dtype not in DTYPES or other.dtype != x.dtype:
        raise ValueError(
            "the Triton engine computes in one of float16, bfloat16 and float32, not with "
            f"{x.dtype} and {other.dtype}"
        )
    if not (x.is_cuda or INTERPRETED):
        raise InputError(
            "model.engine=triton needs a GPU, and these tensors are on the "
            f"{x.device.type}. Pass --device cuda, or take model.engine=native",
            kind=Kind.CONFLICT,
        )


def _precision(x: Tensor) -> str:
    return "tf32" if arithmetic(x.dtype) == "tf32" else "ieee"


def _widen(x: Tensor) -> bool:
    """The interpreter multiplies the bit patterns of bfloat16, as if they were integers."""
    return INTERPRETED and x.dtype == torch.bfloat16


def on(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current GPU, whichever holds the tensors."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
