"""On a GPU no step walks through equal indices one by one, unless it sums gradients there.

Counted over whole training steps and detections; see `tests.indexed_writes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch

from sr3d.detectors.dlla.detector import FCAF3DDLLA
from sr3d.detectors.fcaf3d.detector import FCAF3D
from sr3d.sparse import functional
from sr3d.sparse.determinism import deterministic_algorithms, ordered_backward
from sr3d.train.step import batch_losses
from tests.detectors.test_compiled import MODELS, Make, capacity_for, run_static, scan
from tests.indexed_writes import IndexedWrites, Write
from tests.pretend_gpu import pretend_gpu
from tests.sparse import triton_cases  # noqa: F401 (sets Triton up before it is imported)
from tests.test_pretend_gpu import SETTINGS, detector, on_host, scene

# Where one place sums several floating-point numbers, so that their order matters: the gradient of
# pooling, and the sum of true centerness over each scene's positives.
SUMS = {"torch_engine.max_pool_gradient", "detector.centred_loss"}


@pytest.mark.parametrize(
    ("index", "write", "expected"),
    [
        ([1, 0, 2], lambda x, i: x.scatter_(0, i, torch.ones(3)), (0, False)),
        ([3, 0, 3], lambda x, i: x.scatter_(0, i, torch.ones(3)), (1, False)),
        ([3, 0, 3], lambda x, i: x.index_put_((i,), torch.ones(3)), (1, False)),
        ([3, -1, 3], lambda x, i: x.index_put_((i,), torch.ones(3), accumulate=True), (2, True)),
        ([3, 3, 3], lambda x, i: x.index_add_(0, i, torch.ones(3)), (2, False)),
    ],
)
@pytest.mark.parametrize("on", [False, True])
def test_repeated_places_are_counted(
    index: list[int],
    write: Callable[[torch.Tensor, torch.Tensor], object],
    expected: tuple[int, bool],
    on: bool,
) -> None:
    with IndexedWrites() as writes, deterministic_algorithms(on):
        write(torch.zeros(4), torch.tensor(index))
    assert [(w.repeats, w.sorted) for w in writes.found] == [(expected[0], on or expected[1])]


def test_gradients_of_rows_that_were_read_twice_are_sorted() -> None:
    x = torch.ones(4, requires_grad=True)
    with IndexedWrites() as writes:
        ordered_backward(x[torch.tensor([0, 0, 1])].sum())
    assert [(w.function, w.repeats, w.sums, w.sorted) for w in writes.found] == [
        ("determinism.ordered_backward", 1, True, True)
    ]


@pytest.mark.parametrize(
    ("setting", "engine"), [*((name, "torch") for name in SETTINGS), ("sr3d", "triton")]
)
def test_a_training_step_repeats_no_place_but_in_sums(
    setting: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [scene(1), scene(2)]
    model = detector(setting).train()
    if isinstance(model, FCAF3D | FCAF3DDLLA):
        model.bbox_head.pts_prune = 60  # so that every level is pruned
    with functional.engine(engine), pretend_gpu(monkeypatch), IndexedWrites() as writes:  # type: ignore[arg-type]
        ordered_backward(batch_losses(model, [on_host(room) for room in scenes]).total)
    assert len(writes.found) > 20
    assert repeats(writes, lambda write: not write.sums) == {}
    assert repeats(writes, lambda write: write.unordered) == {}
    assert repeats(writes, lambda write: write.sorted).keys() <= SUMS
    assert {write.function for write in writes.found if write.sorted and not write.sums} == set()


def repeats(writes: IndexedWrites, of: Callable[[Write], bool]) -> Counter[str]:
    """How many entries of such writes name a place anew, by function; without zeros."""
    count: Counter[str] = Counter()
    for write in filter(of, writes.found):
        count[write.function] += write.repeats
    return +count


@MODELS
def test_a_recorded_pass_repeats_no_place(make: Make) -> None:
    model, points = make("scannet"), scan()
    capacity = capacity_for(model, points)
    with IndexedWrites() as writes:
        run_static(model, capacity, points)
    assert len(writes.found) > 3
    assert repeats(writes, lambda write: True) == {}
