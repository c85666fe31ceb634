"""The fastest way from a scan to boxes: a folded network and, on a GPU, one graph for everything.

On a CPU only the folding counts, as it does on a GPU with the torch engine. With the Triton engine
the first scans run on the free path, which measures how large they are. Then the whole pass,
voxels, network and NMS, is recorded as a CUDA graph for scans of about that size, and replayed. A
scan that does not fit runs on the free path, correctly, and a larger graph is recorded for those to
come.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sr3d.config import ModelConfig, TestConfig
from sr3d.data.datasets import Dataset
from sr3d.deploy.folded import FoldedDetector
from sr3d.deploy.layouts import FreeLayout
from sr3d.deploy.maps import coarsest_stride
from sr3d.deploy.static_pass import Candidates, Capacity, FixedPass
from sr3d.detectors.common.selection import suppress
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.outputs import Detections, anchors_of, require_finite
from sr3d.detectors.scan import detect_on_floor
from sr3d.sparse.functional import engine, engine_on

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_REMEDY = "take another checkpoint or, if this one is right without compile(), another precision"
_WARM_UPS = 3  # before recording, as CUDA graphs want: lazy initialisation must be over


class CompiledDetector:
    """What `Detector.compile` returns. Coordinates, boxes and scores are float32 in any case."""

    def __init__(
        self, network: FoldedDetector, config: ModelConfig, test: TestConfig, dataset: Dataset
    ) -> None:
        self.network, self.config, self.test, self.dataset = network, config, test, dataset
        self.device = network.device
        self._recorded: _Recorded | None = None

    @torch.no_grad()
    def detect(self, points: Any, colors: Any = None, floor: float | None = None) -> Detections:
        """As `Detector.detect`.

        Raises:
            InputError: empty or wrongly shaped input, NaN, or colours outside [0, 1]; or weights
                that have diverged.
        """
        return detect_on_floor(
            lambda xyz, rgb: self.detect_points(xyz.to(self.device), rgb.to(self.device)),
            points, colors, floor, self.dataset,
        )  # fmt: skip

    @torch.no_grad()
    def detect_points(self, points: Tensor, colors: Tensor) -> Detections:
        """(N, 3) metres and (N, 3) colours on the model's device, unchecked."""
        if self._recorded is not None and len(points) <= self._recorded.capacity.points:
            found = self._recorded(points, colors)
            if not found.overflow:
                return found.detections()
        return self._free(points, colors)

    def _free(self, points: Tensor, colors: Tensor) -> Detections:
        """Whatever the scan's size; on a GPU it makes room for scans like it."""
        detections, capacity, values = self._run(points, colors)
        require_finite(values, remedy=_REMEDY)
        if self._records():
            before = self._recorded and self._recorded.capacity
            capacity = capacity.joined(before) if before else capacity
            if capacity != before:  # else the scan was no larger: its NMS was not settled
                self._recorded = None  # two graphs need the memory of both
                self._recorded = _Recorded(self.fixed_pass(capacity), self.device)
        return detections

    def _records(self) -> bool:
        """Whether a graph can be recorded. The torch engine keeps scratch memory that an eager call
        may free, and waits for the device.
        """
        with engine(self.config.engine):
            return self.device.type == "cuda" and engine_on(self.device) == "triton"

    @torch.no_grad()
    def capacity_like(self, points: Tensor, colors: Tensor) -> Capacity:
        """Room for scenes like one, (N, 3) and (N, 3), and larger; see `Capacity`."""
        return self._run(points, colors)[1]

    def _run(
        self, points: Tensor, colors: Tensor
    ) -> tuple[Detections, Capacity, tuple[Tensor, ...]]:
        """Detections, room for scenes like this one, and the values that must be finite."""
        x, layout = voxelize([points], [colors], self.config.voxel_size), FreeLayout()
        with engine(self.config.engine):
            found = self.network(x.features, x.sites, layout)
        best = found.scores.amax(dim=1)
        top = self.network.best(found, best, self.test.nms_pre)
        top = top[best[top] > self.test.score_thr]
        anchors, *_ = anchors_of(found.levels, self.config.voxel_size)
        boxes = self.network.decode(anchors[top], found.reg[top])
        coarsest = coarsest_stride(self.config)
        return (
            suppress(boxes, found.scores[top], self.test, self.dataset.rotated),
            Capacity.for_scenes_like(x.sites, layout, len(points), len(top), coarsest),
            (found.scores, found.reg, boxes),
        )

    def fixed_pass(self, capacity: Capacity) -> FixedPass:
        """The pass that a graph would record, on any device."""
        return FixedPass(self.network, self.config, self.test, self.dataset.rotated, capacity)


class _Recorded:
    """A `FixedPass` as a CUDA graph with buffers of its own."""

    def __init__(self, fixed: FixedPass, device: torch.device) -> None:
        self.capacity = fixed.capacity
        # Buffers made in inference mode could never be written outside it.
        with torch.inference_mode(False):
            self._points = torch.zeros(self.capacity.points, 3, device=device)
            self._colors = torch.zeros_like(self._points)
            self._count = torch.zeros((), dtype=torch.int64, device=device)
        inputs = self._points, self._colors, self._count
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                fixed(*inputs)
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._found = fixed(*inputs)

    def __call__(self, points: Tensor, colors: Tensor) -> Candidates:
        """Valid until the next call."""
        n = len(points)
        self._points[:n].copy_(points)
        self._colors[:n].copy_(colors)
        self._count.fill_(n)
        self._graph.replay()
        return self._found
