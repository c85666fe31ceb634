"""Xtreme1's result files, one a scan: 3D boxes as centre, size and rotation.

    [{"sourceName": "Ground Truth", "objects": [{"type": "3D_BOX", "className": "chair", "contour":
      {"center3D": {"x", "y", "z"}, "size3D": {"x", "y", "z"}, "rotation3D": {"x", "y", "z"}}}, …]}]

As its exports have it (xtreme1-io/xtreme1; docs.xtreme1.io, "Export data"): the centre is that of
the box, sizes are full, rotations are radians in three.js' order XYZ. Objects of other types, which
lie in images, are passed over.
"""

from __future__ import annotations

from sr3d.checked import Checked
from sr3d.data.own.labels import Label, euler_axes, label_of, named_numbers, radians
from sr3d.errors import InputError

_TRUTH = "Ground Truth"


def is_xtreme1(value: object) -> bool:
    """Whether it may be such a file."""
    results = value if isinstance(value, list) else [value]
    return bool(results) and all(
        isinstance(result, dict)
        and isinstance(result.get("objects"), list)
        and ("dataId" in result or _has_contours(result["objects"]))
        for result in results
    )


def _has_contours(objects: list[object]) -> bool:
    return bool(objects) and all(isinstance(x, dict) and "contour" in x for x in objects)


def read_xtreme1(value: Checked) -> list[Label]:
    """The labels of one scan.

    Raises:
        InputError: names the field; or several sources, none of them the ground truth.
    """
    results = value.items() if isinstance(value.value, list) else (value,)
    full = [result for result in results if result.get("objects").items()]
    if len(full) > 1:
        truth = [r for r in full if r.has("sourceName") and r.get("sourceName").value == _TRUTH]
        if len(truth) != 1:
            raise InputError(
                f"{value.where} has {len(full)} results; export the one that is the ground truth"
            )
        full = truth
    return [
        _label(item)
        for result in full
        for item in result.get("objects").items()
        if not item.has("type") or item.get("type").value == "3D_BOX"
    ]


def _label(item: Checked) -> Label:
    contour = item.get("contour")
    center, size, angles = (
        named_numbers(contour.get(name), "x", "y", "z")
        for name in ("center3D", "size3D", "rotation3D")
    )
    radians(contour.get("rotation3D"), angles)
    return label_of(item.get("className"), center, size, euler_axes(angles, "xyz"), item)
