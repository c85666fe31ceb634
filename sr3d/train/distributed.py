"""Training by the processes that torchrun started, one GPU each: the arithmetic of one process.

Every process knows every batch and takes its share of the scenes. Whatever one process would sum
over a batch is summed over all of them: rows in batch norms, gradients, positives. So batch,
schedule and loss are as on one device, whatever the number.

Gradients travel in one flat sum after the backward pass rather than through
DistributedDataParallel. TR3D's 14.7 million weights are 59 MB, little beside a step, so there is
nothing to gain from overlapping; its mean over processes is not the loss of the batch, which is
divided by the positives of all; and the values of the curves ride along.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from sr3d.detectors.outputs import LossTerms
from sr3d.sparse import SparseTensor
from sr3d.sparse.determinism import ordered_backward
from sr3d.sparse.nn import SparseBatchNorm
from sr3d.train.metrics_log import STOP

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """Those that train together, and which of them this one is. The first alone touches files."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, batch: list[T]) -> list[T]:
        """This process's part of what all do together."""
        return batch[self.rank :: self.count]

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, handed to all."""
        made: list[Any] = [make() if self.first else None]
        if self.count > 1:
            dist.broadcast_object_list(made, src=0, device=torch.device("cpu"))
        return made[0]


ALONE = Processes()


@contextmanager
def torchrun_processes(device: str) -> Iterator[Processes]:
    """Join the others if torchrun started this process, for as long as the block lasts."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo")
    yield Processes(dist.get_rank(), dist.get_world_size())
    # Not after a failure: the others may wait for this one, and see that it is gone by its end.
    dist.destroy_process_group()


def first_to_fail() -> bool:
    """Whether no other process of this torchrun has asked before. Call it once, on failure."""
    try:
        store, _, _ = next(iter(dist.rendezvous("env://", timeout=timedelta(seconds=10))))
        return dist.PrefixStore("sr3d", store).add("failed", 1) == 1
    except RuntimeError:  # nobody answers, so nobody is known to have spoken
        return True


def backward(
    terms: LossTerms, model: nn.Module, processes: Processes, stop: bool
) -> dict[str, Tensor]:
    """Gradients of the loss of the whole batch, and the values of its curves.

    terms: of this process's scenes. stop: this process was told to; as a value, whether any was.
    """
    total = terms.total
    losses = {"loss": total, **{f"loss_{name}": part for name, part in terms.parts.items()}}
    names = [*losses, "aic", "positives", STOP]
    # Filled on the device: a number copied there would have to be waited for.
    told = total.new_full((), stop)
    numbers = [number.to(total.dtype) for number in (terms.positives, told, terms.divisor)]
    values = torch.stack([*losses.values(), terms.aic, *numbers]).detach()
    if processes.count == 1:
        ordered_backward(total)
        return dict(zip(names, values[:-1], strict=True))
    loss, aic, positives = slice(0, len(losses)), len(losses), len(losses) + 1
    divisor = terms.divisor.clamp(min=1)
    values[loss] *= divisor
    values[aic] *= terms.positives
    ordered_backward(total * divisor)
    gradients, values = _sum_gradients(model.parameters(), values)
    gradients /= values[-1].clamp(min=1)
    values[loss] /= values[-1].clamp(min=1)
    values[aic] /= values[positives].clamp(min=1)
    return dict(zip(names, values[:-1], strict=True))


def _sum_gradients(parameters: Iterable[nn.Parameter], values: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients, in one vector that each parameter's `.grad` is a part of, and values, (n,), summed
    over the processes. No gradient counts as zero.
    """
    parameters = list(parameters)
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([*(grad.reshape(-1) for grad in own), values])
    dist.all_reduce(flat)
    gradients, values = flat.split([len(flat) - len(values), len(values)])
    parts = gradients.split([p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)
    return gradients, values


def share_norms(model: nn.Module) -> None:
    """Let every batch norm of a network see the rows of all processes; names stay."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, SparseBatchNorm):
                setattr(parent, name, SharedBatchNorm(child.bn))


class SharedBatchNorm(nn.Module):
    """`SparseBatchNorm` over the rows of all processes. One exchange forward, one backward.

    torch.nn.SyncBatchNorm does this for CUDA alone.
    """

    def __init__(self, bn: nn.BatchNorm1d) -> None:
        super().__init__()
        self.bn = bn

    def forward(self, x: SparseTensor) -> SparseTensor:
        bn = self.bn
        if not self.training:
            return x.replace(bn(x.features))
        assert bn.running_mean is not None
        assert bn.running_var is not None
        assert bn.momentum is not None
        mean, squares, rows = _moments(x.features.detach().to(bn.weight.dtype))
        # As in `SparseBatchNorm`: a lone row has no variance, and takes the running statistics.
        enough = rows >= 2
        momentum = bn.momentum * enough.to(mean.dtype)
        variance = torch.where(enough, squares / rows, bn.running_var)
        bn.running_var.lerp_(squares / (rows - 1).clamp(min=1), momentum)
        centre = torch.where(enough, mean, bn.running_mean)
        bn.running_mean.lerp_(mean, momentum)
        if bn.num_batches_tracked is not None:
            bn.num_batches_tracked.add_(enough.to(bn.num_batches_tracked.dtype))
        share = enough / rows  # of each row in the mean
        features = _SharedNorm.apply(
            x.features, bn.weight, bn.bias, centre, variance, share, bn.eps
        )
        return x.replace(features)


@torch.no_grad()
def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Over the rows of all processes: mean (C,), sum of squared deviations (C,), rows ().

    Deviations are taken from each process's own mean and put together by Chan, Golub and LeVeque
    (1979), which loses less than sums of squares.
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
    """Normalise by given statistics, which follow from the rows of all processes."""

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
