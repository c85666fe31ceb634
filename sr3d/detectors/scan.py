"""Checks a scan, splits it into coordinates and colours, and moves its floor to zero."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sr3d.data.datasets import Dataset
from sr3d.detectors.outputs import Detections
from sr3d.errors import InputError, Kind
from sr3d.geometry.room import AT_ZERO, find_floor

_EXTENT = (0.5, 200.0)  # metres, the longest side of a plausible scan
_IMPOSSIBLE = 1000.0  # metres. No building is as long, and detection would take minutes
_SOME = 100_000  # number of points that the extent is computed from
_TOLERANCE = 1e-4  # of colours above 1 or below 0, for rounding
_log = logging.getLogger(__name__)


def split_points(points: Any, colors: Any) -> tuple[Tensor, Tensor]:
    """A scan as (N, 3) metres and (N, 3) colours in [0, 1], float32.

    points: (N, 6), or (N, 3) with `colors`, as arrays or tensors. Colours of type uint8 are divided
    by 255. Logs a warning if the scan is not as large as a room.

    Raises:
        InputError: empty or wrongly shaped input, NaN, colours outside [0, 1], or a scan of
            kilometres, as of a room in millimetres.
    """
    points = torch.as_tensor(points, dtype=torch.float32)
    if colors is not None:
        colors = torch.as_tensor(colors)
        scale = 255 if colors.dtype == torch.uint8 else 1
        points = torch.cat([points, colors.to(torch.float32) / scale], dim=1)
    if points.ndim != 2 or points.shape[1] != 6:
        raise InputError(
            f"expected (N, 6) of x, y, z, r, g, b, got {tuple(points.shape)}",
            field="points",
            kind=Kind.VALUE,
        )
    if len(points) == 0:
        raise InputError("the scan is empty", field="points", kind=Kind.EMPTY)
    low, high = torch.stack([points.amin(dim=0), points.amax(dim=0)]).tolist()
    if not np.isfinite([low, high]).all():
        raise InputError(
            "NaN or infinity", field="points", kind=Kind.VALUE, remedy="Remove such points first."
        )
    darkest, brightest = min(low[3:]), max(high[3:])
    if darkest < -_TOLERANCE or brightest > 1 + _TOLERANCE:
        raise InputError(
            f"values span {darkest:.3g} to {brightest:.3g}, expected 0 to 1",
            field="colors",
            kind=Kind.VALUE,
            remedy="Divide colours of 0 to 255 by 255, or pass them as uint8.",
        )
    longest = max(b - a for a, b in zip(low[:3], high[:3], strict=True))
    if longest > _EXTENT[1]:
        some = points[:: max(1, len(points) // _SOME), :3].cpu().numpy()
        most = float(np.subtract(*np.percentile(some, [99, 1], axis=0)).max())
        if most > _IMPOSSIBLE:  # of all points, not of a few stray ones
            raise InputError(
                f"the scan is {most:.4g} m long, which no room is",
                field="points",
                kind=Kind.VALUE,
                remedy="Pass coordinates in metres.",
            )
    if not _EXTENT[0] <= longest <= _EXTENT[1]:
        _log.warning(
            "points: the scan is %.3g m long, which no room is. Pass coordinates in metres and "
            "remove stray points",
            longest,
        )
    return points[:, :3], points[:, 3:]


def detect_on_floor(
    detect: Callable[[Tensor, Tensor], Detections],
    points: Any,
    colors: Any,
    floor: float | None,
    dataset: Dataset,
) -> Detections:
    """Detect in a scan with its floor moved to z = 0, if the data set's scenes have it there.

    detect: a function of (N, 3) points and (N, 3) colours. floor: its height in metres, None to
    find it. The boxes are in the frame of the input. A floor within 0.1 m of zero is not moved.

    Raises:
        InputError: see `split_points`.
    """
    xyz, colors = split_points(points, colors)
    if floor is None:
        found = find_floor(xyz.cpu().numpy()) if dataset.floor_at_zero else 0.0
        floor = found if abs(found) > AT_ZERO else 0.0
    if floor == 0:
        return detect(xyz, colors)
    boxes, scores, labels = detect(xyz - xyz.new_tensor([0, 0, floor]), colors)
    raised = boxes + boxes.new_tensor([0, 0, floor, 0, 0, 0, 0])
    return Detections(raised, scores, labels)
