"""Multi-GPU training with the processes that torchrun started.

Every process knows every batch and computes its share of the scenes. Every sum over a batch covers
all processes: rows in batch norms, counts in losses, gradients. So batch, schedule and loss equal
those of one device, whatever the number of processes. Only dropout differs: each process draws its
own.

Gradients are summed in one flat vector after the backward pass, without DistributedDataParallel.
Our detectors are small (14.7 million weights are 59 MB), so overlapping communication with the
backward pass would gain nothing. The logged values are part of the same vector.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from sr3d.errors import InputError, Kind
from sr3d.sparse import SparseTensor
from sr3d.sparse.nn import SparseBatchNorm

T = TypeVar("T")
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


@dataclass(frozen=True)
class Processes:
    """The process group of a multi-GPU run, and this process's rank. Only rank 0 touches files."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, batch: list[T]) -> list[T]:
        """This process's part of a batch."""
        return batch[self.rank :: self.count]

    def from_first(self, make: Callable[[], T]) -> T:
        """The result of `make` in the first process, sent to all processes."""
        made: list[Any] = [make() if self.first else None]
        if self.count > 1:
            dist.broadcast_object_list(made, src=0, device=torch.device("cpu"))
        return made[0]

    def total(self, count: Tensor) -> Tensor:
        """The sum of a number over all processes."""
        if self.count == 1:
            return count
        summed = count.clone()
        dist.all_reduce(summed)
        return summed

    def add(
        self, parameters: Iterable[nn.Parameter], values: Mapping[str, Tensor | float]
    ) -> dict[str, Tensor]:
        """Sum gradients and scalars over the processes in one exchange. Returns the scalars.

        Each parameter's `.grad` becomes a part of one vector. A missing gradient counts as zero.
        """
        first = next(value for value in values.values() if isinstance(value, Tensor)).detach()
        # The device fills in the numbers: a copy from the host would be a sync.
        scalars = torch.stack([
            value.detach().to(first.dtype) if isinstance(value, Tensor)
            else first.new_full((), value)
            for value in values.values()
        ])  # fmt: skip
        if self.count > 1:
            scalars = _sum_gradients(parameters, scalars)
        return dict(zip(values, scalars, strict=True))


def _sum_gradients(parameters: Iterable[nn.Parameter], values: Tensor) -> Tensor:
    """Sum gradients over the processes, together with values (n,)."""
    parameters = list(parameters)
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([*(grad.reshape(-1) for grad in own), values])
    dist.all_reduce(flat)
    *gradients, values = flat.split([*(p.numel() for p in parameters), len(values)])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.view_as(parameter)
    return values


ALONE = Processes()


@contextmanager
def torchrun_processes(device: str) -> Iterator[Processes]:
    """If torchrun started this process, join its process group for the duration of the block."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo")
    yield Processes(dist.get_rank(), dist.get_world_size())
    # Not after a failure: other processes may wait for this one, and notice its end.
    dist.destroy_process_group()


def first_to_fail() -> bool:
    """Whether this process is the first of its torchrun to ask. Call it once, on failure."""
    try:
        store, _, _ = next(iter(dist.rendezvous("env://", timeout=timedelta(seconds=10))))
        return dist.PrefixStore("sr3d", store).add("failed", 1) == 1
    except RuntimeError:  # no answer, so no other process is known to have asked
        return True


def share_norms(model: nn.Module) -> None:
    """Let every batch norm use the rows of all processes. Names and weights do not change.

    Raises:
        InputError: a batch norm without running statistics, or with their cumulative mean.
    """
    for path, parent in list(model.named_modules()):
        for name, child in parent.named_children():
            if isinstance(child, SparseBatchNorm):
                setattr(parent, name, SharedSparseNorm(child.bn))
            elif isinstance(child, BatchNorm):
                if child.running_mean is None or child.momentum is None:
                    raise InputError(
                        f"the batch norm {path and path + '.'}{name} has no running statistics "
                        "with a momentum, so processes cannot share it",
                        field="--nproc-per-node",
                        kind=Kind.CONFLICT,
                        remedy="Train with one process.",
                    )
                setattr(parent, name, SharedBatchNorm(child))


class SharedBatchNorm(nn.Module):
    """A batch norm over the rows of all processes. One exchange forward, one backward.

    Takes (N, C) or (N, C, …), as torch's batch norms do. A single row has no variance, so it uses
    the running statistics. torch.nn.SyncBatchNorm supports CUDA only.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, bn: BatchNorm) -> None:
        super().__init__()
        assert bn.momentum is not None
        self.eps, self.momentum = bn.eps, bn.momentum
        self.weight, self.bias = bn.weight, bn.bias
        for name, buffer in bn.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim > 2:
            last = x.movedim(1, -1)
            return self._of_rows(last.reshape(-1, x.shape[1])).view(last.shape).movedim(-1, 1)
        return self._of_rows(x)

    def _of_rows(self, x: Tensor) -> Tensor:
        running = self.running_mean, self.running_var
        if not self.training:
            return batch_norm(x, *running, self.weight, self.bias, training=False, eps=self.eps)
        mean, squares, rows = _moments(x.detach().to(self.running_mean.dtype))
        enough = rows >= 2
        momentum = self.momentum * enough.to(mean.dtype)
        variance = torch.where(enough, squares / rows, self.running_var)
        self.running_var.lerp_(squares / (rows - 1).clamp(min=1), momentum)
        centre = torch.where(enough, mean, self.running_mean)
        self.running_mean.lerp_(mean, momentum)
        self.num_batches_tracked.add_(enough.to(self.num_batches_tracked.dtype))
        share = enough / rows  # of each row in the mean
        plain = torch.ones_like(mean), torch.zeros_like(mean)
        weight, bias = plain if self.weight is None else (self.weight, self.bias)
        found: Tensor = _SharedNorm.apply(x, weight, bias, centre, variance, share, self.eps)
        return found


class SharedSparseNorm(nn.Module):
    """`SparseBatchNorm` over the rows of all processes."""

    def __init__(self, bn: nn.BatchNorm1d) -> None:
        super().__init__()
        self.bn = SharedBatchNorm(bn)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.computed(self.bn)


@torch.no_grad()
def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Over the rows of all processes: mean (C,), sum of squared deviations (C,), rows ().

    Each process takes deviations from its own mean. Chan, Golub and LeVeque (1979) combine them,
    which is more precise than sums of squares.
    """
    if len(x):
        variance, mean = torch.var_mean(x, dim=0, correction=0)
    else:
        variance = mean = x.new_zeros(x.shape[1])
    own = torch.cat([mean, variance * len(x), x.new_full((1,), len(x))])
    gathered = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, own)
    means, squares, rows = torch.stack(gathered).split([x.shape[1], x.shape[1], 1], dim=1)
    total = rows.sum().clamp(min=1)
    mean = (means * rows).sum(dim=0) / total
    return mean, squares.sum(dim=0) + ((means - mean) ** 2 * rows).sum(dim=0), total


class _SharedNorm(torch.autograd.Function):
    """Normalisation by statistics of the rows of all processes, with its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        share: Tensor,
        eps: float,
    ) -> Tensor:
        scale = (variance + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, scale, share)
        return batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, share = ctx.saved_tensors
        unit = (x.to(mean.dtype) - mean) * scale
        wide = grad.to(mean.dtype)
        own = torch.stack([wide.sum(dim=0), (wide * unit).sum(dim=0)])
        over_all = own.clone()
        dist.all_reduce(over_all)
        along_mean, along_scale = over_all * share
        grad_x = (wide - along_mean - unit * along_scale) * (weight * scale)
        return grad_x.to(x.dtype), own[1], own[0], None, None, None, None
