"""Renames weights by tables of the beginnings of their names, and reads widths from weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Renaming:
    """beginnings: published and ours, and what to add to each number {} to get ours.

    The first that fits counts.
    """

    beginnings: tuple[tuple[str, str, tuple[int, ...]], ...]

    def own(self, name: str) -> str | None:
        """Our name of a published one, None if no beginning fits."""
        for theirs, ours, steps in self.beginnings:
            if found := _replaced(name, theirs, ours, steps):
                return found
        return None

    def published(self, name: str) -> str | None:
        """The inverse of `own`."""
        for theirs, ours, steps in self.beginnings:
            if found := _replaced(name, ours, theirs, tuple(-step for step in steps)):
                return found
        return None


def _replaced(name: str, old: str, new: str, steps: tuple[int, ...]) -> str | None:
    match = re.match(re.escape(old).replace(r"\{\}", r"(\d)"), name)
    if not match:
        return None
    numbers = [int(number) + step for number, step in zip(match.groups(), steps, strict=True)]
    return new.format(*numbers) + name[match.end() :]


def level_planes(weights: Mapping[str, Tensor]) -> list[int]:
    """`PointNet2Model.planes` of weights under our names."""
    level = "backbone_net.sa{}.mlp_module.layer2.conv.weight"
    return [weights[level.format(i)].shape[0] for i in range(1, 5)]
