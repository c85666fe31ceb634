"""VoteNet's weights as facebookresearch/votenet stores them. Its names are ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.common.renaming import level_planes
from sr3d.detectors.family import CheckpointFormat, Inferred, Published
from sr3d.detectors.votenet.config import VotingModel

if TYPE_CHECKING:
    from torch import Tensor

_BINS = VotingModel.heading_bins


def _recognises(names: Collection[str]) -> bool:
    """Extensions of VoteNet have further modules between votes and proposals."""
    modules = {".".join(name.split(".")[:2]) for name in names if name.startswith("pnet.")}
    own = {f"pnet.{name}" for name in ("conv1", "conv2", "conv3", "bn1", "bn2")}
    return modules == own | {"pnet.vote_aggregation"}


def infer(weights: Mapping[str, Tensor]) -> Inferred:
    """Widths, classes, and whether boxes have a yaw.

    Raises:
        KeyError, IndexError: a weight is missing, or has too few axes.
    """
    outputs = weights["pnet.conv3.weight"].shape[0]
    # 5 + 2 bins + 5 classes. With one bin and with twelve it leaves other remainders.
    rotated = (outputs - 5 - 2 * _BINS) % 5 == 0
    classes = (outputs - 5 - 2 * (_BINS if rotated else 1)) // 5
    overrides = (
        f"model.planes={level_planes(weights)}",
        f"model.seed_channels={weights['vgen.conv1.weight'].shape[1]}",
        f"model.proposal_channels={weights['pnet.conv1.weight'].shape[1]}",
    )
    return Inferred(classes, rotated, overrides)


CHECKPOINTS = CheckpointFormat(
    landmark=r"vgen\.conv3\.weight",
    recognises=_recognises,
    written_by=lambda names: "facebookresearch/votenet",
    infer=infer,
    published={"original": Published(entry="model_state_dict")},
)
