"""SUSTechPOINTS' JSON files, one a scan: a list of boxes as position, scale and rotation.

    [{"obj_type": "chair", "obj_id": "1", "psr": {"position": {"x", "y", "z"},
      "scale": {"x", "y", "z"}, "rotation": {"x", "y", "z"}}}, …]

As its code and its `doc/data-format.md` have it (naurril/SUSTechPOINTS, `public/js/annotation.js`):
the position is the centre, the scale the full size along the box's own axes, and the rotation is in
radians, Rx · Ry · Rz, as three.js' order XYZ.
"""

from __future__ import annotations

from sr3d.checked import Checked
from sr3d.data.own.labels import Label, euler_axes, label_of, named_numbers, radians


def is_sustech(value: object) -> bool:
    """Whether it may be such a file."""
    return isinstance(value, list) and all(isinstance(x, dict) and "psr" in x for x in value)


def read_sustech(value: Checked) -> list[Label]:
    """The labels of one scan.

    Raises:
        InputError: names the field.
    """
    return [_label(item) for item in value.items()]


def _label(item: Checked) -> Label:
    psr = item.get("psr")
    center, size, angles = (
        named_numbers(psr.get(name), "x", "y", "z") for name in ("position", "scale", "rotation")
    )
    radians(psr.get("rotation"), angles)
    return label_of(item.get("obj_type"), center, size, euler_axes(angles, "xyz"), item)
