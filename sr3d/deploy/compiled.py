"""Fast inference: a fused network and, on a GPU, one CUDA graph from points to boxes.

On a CPU, and on a GPU with the torch engine, the network is only fused. With the Triton engine the
first scan runs without a graph, which measures its size. Then the whole pass (voxels, network and
NMS) is recorded as a CUDA graph for scans of about this size, and later scans replay it. If a scan
exceeds the capacity, it runs without the graph, and a larger graph replaces the recorded one.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from sr3d.deploy.fused_network import FusedNetwork
from sr3d.deploy.static_pass import Capacity, StaticDetections, StaticPass, require_harmless_padding
from sr3d.detectors.common.selection import suppress
from sr3d.detectors.common.sparse_detector import SparseDetector
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.outputs import Detections, anchors_of, require_finite
from sr3d.detectors.scan import detect_on_floor
from sr3d.errors import InputError
from sr3d.sparse.functional import engine, engine_on
from sr3d.sparse.sites import recorded

_log = logging.getLogger(__name__)

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_REMEDY = "Take another checkpoint. If this one works without compile(), take another precision."
_WARM_UPS = 3  # before recording, because CUDA graphs must not include lazy initialisation


class CompiledDetector:
    """The result of `Detector.compile`. Coordinates, boxes and scores are always float32."""

    def __init__(self, detector: SparseDetector[Any], dtype: torch.dtype) -> None:
        self.network = network = FusedNetwork(detector, dtype)
        self.config, self.inference = network.detector.config, network.detector.inference
        self.dataset, self.device = network.detector.dataset, network.device
        self._recorded: _RecordedPass | None = None
        self._recordable = True
        self._checked = False  # whether padding is known to be harmless

    @torch.no_grad()
    def detect(self, points: Any, colors: Any = None, floor: float | None = None) -> Detections:
        """See `Detector.detect`.

        Raises:
            InputError: empty or wrongly shaped input, NaN, colours outside [0, 1], or weights that
                have diverged.
        """
        return detect_on_floor(
            lambda xyz, rgb: self.detect_points(xyz.to(self.device), rgb.to(self.device)),
            points, colors, floor, self.dataset,
        )  # fmt: skip

    @torch.no_grad()
    def detect_points(self, points: Tensor, colors: Tensor) -> Detections:
        """Detect in (N, 3) metres and (N, 3) colours on the model's device, unchecked."""
        if self._recorded is not None and len(points) <= self._recorded.capacity.points:
            found = self._recorded(points, colors)
            if not found.overflow:
                return found.detections()
        return self._free(points, colors)

    def _free(self, points: Tensor, colors: Tensor) -> Detections:
        """Detect without a graph, in a scan of any size. On a GPU, records a graph if useful."""
        detections, capacity, values = self._run(points, colors)
        require_finite(values, remedy=_REMEDY)
        if self._records():
            before = self._recorded and self._recorded.capacity
            capacity = capacity.joined(before) if before else capacity
            if capacity != before:  # equal if the scan fitted, but its NMS did not finish
                self._recorded = None  # frees its memory before the next graph is recorded
                self._record(capacity)
        return detections

    def _record(self, capacity: Capacity) -> None:
        try:
            static = self.static_pass(capacity)
        except InputError as error:
            _log.warning("no CUDA graph is recorded: %s", error.problem)
            self._recordable = False
            return
        self._recorded = _RecordedPass(static, self.device)

    def _records(self) -> bool:
        """Whether a graph can be recorded. The torch engine needs syncs, and scratch memory that an
        eager call may free, so it cannot.
        """
        with engine(self.config.engine):
            on_gpu = self.device.type == "cuda" and engine_on(self.device) == "triton"
        return on_gpu and self._recordable

    @torch.no_grad()
    def capacity_like(self, points: Tensor, colors: Tensor) -> Capacity:
        """The capacity for scenes like this one, (N, 3) and (N, 3). See `Capacity`."""
        return self._run(points, colors)[1]

    def _run(
        self, points: Tensor, colors: Tensor
    ) -> tuple[Detections, Capacity, tuple[Tensor, ...]]:
        """Detections, capacity for scenes like this one, and the values that must be finite."""
        x = voxelize([points], [colors], self.config.voxel_size)
        with engine(self.config.engine):
            if self.device.type == "cuda":  # planning saves syncs, which a CPU does not have
                self.network.plan(x.sites)
            with recorded() as requests:
                found = self.network(x.features, x.sites)
        best = found.scores.amax(dim=1)
        top = self.network.best(found, best, self.inference.nms_pre)
        top = top[best[top] > self.inference.score_thr]
        anchors = anchors_of(found.levels, self.config.voxel_size)
        boxes = self.network.detector.decode(anchors.positions[top], found.reg[top])
        return (
            suppress(boxes, found.scores[top], self.inference, self.dataset.rotated),
            Capacity.for_scenes_like([x.sites, *requests], len(points), len(top)),
            (found.scores, found.reg, boxes),
        )

    def static_pass(self, capacity: Capacity) -> StaticPass:
        """The pass of the CUDA graph, on any device. Raises: see `require_harmless_padding`."""
        if not self._checked:
            require_harmless_padding(self.network)
            self._checked = True
        return StaticPass(self.network, capacity)


class _RecordedPass:
    """A `StaticPass` as a CUDA graph with its buffers."""

    def __init__(self, static: StaticPass, device: torch.device) -> None:
        self.capacity = static.capacity
        # Buffers made in inference mode could not be written outside it.
        with torch.inference_mode(False):
            self._points = torch.zeros(self.capacity.points, 3, device=device)
            self._colors = torch.zeros_like(self._points)
            self._count = torch.zeros((), dtype=torch.int64, device=device)
        inputs = self._points, self._colors, self._count
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                static(*inputs)
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._found = static(*inputs)

    def __call__(self, points: Tensor, colors: Tensor) -> StaticDetections:
        """The result is valid until the next call."""
        n = len(points)
        self._points[:n].copy_(points)
        self._colors[:n].copy_(colors)
        self._count.fill_(n)
        self._graph.replay()
        return self._found
