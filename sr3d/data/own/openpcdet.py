"""Text labels of OpenPCDet's and mmdetection3d's custom data sets, one file a scan, one box a line.

    x y z dx dy dz yaw class

As their guides have it (open-mmlab/OpenPCDet, docs/CUSTOM_DATASET_TUTORIAL.md; mmdetection3d,
docs/en/advanced_guides/customize_dataset.md): geometric centre, full size, and yaw in radians
counter-clockwise about z. An empty file says that there is no box.
"""

from __future__ import annotations

import math

import numpy as np

from sr3d.checked import Checked
from sr3d.data.own.labels import Label, label_of, radians
from sr3d.errors import InputError

_KITTI = 15  # words of a line of KITTI's own labels, which begin with the class


def read_openpcdet(text: str, where: str) -> list[Label]:
    """The labels of one scan. where: the file.

    Raises:
        InputError: names the line.
    """
    lines = [line.split() for line in text.splitlines()]
    return [
        _label(words, f"{where}: line {number}")
        for number, words in enumerate(lines, start=1)
        if words
    ]


def _label(words: list[str], where: str) -> Label:
    if len(words) >= _KITTI and not _is_number(words[0]):
        raise InputError(
            f"{where}: is a line of KITTI's labels, which are in a camera's coordinates; write "
            "`x y z dx dy dz yaw class` in the scan's coordinates"
        )
    if len(words) < 8 or not all(map(_is_number, words[:7])):
        raise InputError(
            f"{where}: expected `x y z dx dy dz yaw class`, got '{' '.join(words)[:80]}'; "
            "correct the line, docs/own_data.md shows every format"
        )
    values = np.array([float(word) for word in words[:7]])
    name, whole = Checked(" ".join(words[7:]), where), Checked(words, where)
    turn = float(radians(whole, values[6]))
    return label_of(name, values[:3], values[3:6], turn, whole)


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False
