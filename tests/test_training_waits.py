"""What the host waits for in a training step on a GPU, place by place; see `tests.pretend_gpu`.

Before the network begins a GPU has nothing to do but the last step's rest, so waiting there costs
little. From then on it should have work queued up to the end of the step.
"""

from __future__ import annotations

from collections import Counter

import pytest

from sr3d.detectors.configuration import default_config
from sr3d.detectors.dlla.detector import FCAF3DDLLA
from sr3d.detectors.fcaf3d.detector import FCAF3D
from sr3d.sparse import functional
from sr3d.train.schedule import build_optimizer
from sr3d.train.step import train_step
from tests.pretend_gpu import pretend_gpu
from tests.sparse import triton_cases  # noqa: F401 (sets Triton up before it is imported)
from tests.test_pretend_gpu import detector, on_host, same, scene, step

# Function: how often. The bounds of the points, their voxels, the number of cells of each further
# set, and how many of them each scene has, for all sets at once.
CELLS = {"_bounds_of": 1, "unique": 1, "unique_numbers": 10, "count_scenes": 1}
CELLS_OF_FCAF3D = {**CELLS, "unique_numbers": 5}
# The matrix of boxes and anchors, and the positives.
MATCHES = {"make": 1, "of": 1}
# Which pairs of a box and an anchor may be among the cheapest, by their distance and volume, and
# which of them by all but their overlap: how many depends on what the network says. And the ground
# truth with the most positives.
SPOTA_AND_RANKS = {**MATCHES, "pairs": 1, "_cheap_pairs": 1, "soft_rank": 1}
# On each of two levels, which cells are there depends on scores: the number that grows, of the
# union, and of each scene. Then the pairs of a box and an anchor inside.
GROWN_LEVELS = {**MATCHES, "unique_numbers": 2 * 2, "count_scenes": 2, "pairs": 1}
CONSTANTS = {"_steps", "_significance", "_on_device"}  # copied to the GPU once, then kept

STEPS = {
    "sr3d": (CELLS, SPOTA_AND_RANKS),
    "tr3d": (CELLS, MATCHES),
    "fcaf3d": (CELLS_OF_FCAF3D, GROWN_LEVELS),
    # And the scenes with the most candidates and the most ground truths.
    "tr3d_dlla": (CELLS, {**MATCHES, "of": 3}),
    "fcaf3d_dlla": (CELLS_OF_FCAF3D, {**GROWN_LEVELS, "of": 3}),
}


@pytest.mark.parametrize("setting", STEPS)
def test_a_step_waits_for_sizes_that_the_host_cannot_know(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [scene(1), scene(2)]
    model = detector(setting).train()
    if isinstance(model, FCAF3D | FCAF3DDLLA):
        model.bbox_head.pts_prune = 60  # so that every level is pruned
    expected, gradients = step(model, scenes)
    begun: list[int] = []
    with functional.engine("triton"), pretend_gpu(monkeypatch) as gpu:
        model.get_submodule("backbone").register_forward_pre_hook(
            lambda *_: begun.append(len(gpu.waits))
        )
        optimizer = build_optimizer(model, default_config("scannet").train)
        # A norm that clips nothing.
        values = train_step(model, [on_host(room) for room in scenes], optimizer, 1e9)
    assert len(begun) == 2  # to plan, and to compute
    callers = [wait.split()[-1] for wait in gpu.waits]
    before, after = STEPS[setting]
    assert Counter(callers[: begun[-1]]) == before, gpu.waits
    assert Counter(callers[begun[-1] :]) == after, gpu.waits
    assert {upload.split()[-1] for upload in gpu.uploads} <= CONSTANTS
    same(values, expected, model, gradients)


def test_an_instance_norm_finds_its_scenes_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    model, room = detector("spota by class, instance norm").train(), on_host(scene(1))
    with functional.engine("torch"), pretend_gpu(monkeypatch) as gpu:
        model(model.voxels([room.points, room.points], [room.colors, room.colors]))  # type: ignore[operator]
    assert sum("count_scenes" in wait for wait in gpu.waits) == 1
