"""The `Family` of GroupFree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.family import Family
from sr3d.detectors.groupfree.config import GroupFreeConfig
from sr3d.detectors.groupfree.names import CHECKPOINTS

if TYPE_CHECKING:
    from sr3d.detectors.groupfree.detector import GroupFree


def _build(config: GroupFreeConfig) -> GroupFree:
    from sr3d.detectors.groupfree.detector import GroupFree

    return GroupFree(config)


FAMILY = Family(
    title="GroupFree",
    config=GroupFreeConfig,
    build=_build,
    checkpoints=CHECKPOINTS,
    needs=("instance", "mean_sizes"),
)
