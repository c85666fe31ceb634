"""DEST's weights by the names of OpenSpaceAI/DEST3D, which publishes none.

Position embeddings have a second name, as GroupFree's. The prefix and the entry of a file are those
of zeliu98/Group-Free-3D's programs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.family import CheckpointFormat, Inferred, Published
from sr3d.detectors.groupfree.names import inferred, own_name, to_published

if TYPE_CHECKING:
    from torch import Tensor


def _recognises(names: Collection[str]) -> bool:
    return {"points_obj_cls.conv3.weight", "decoder.0.ISSM_scan.A_log"} <= {*names}


def infer(weights: Mapping[str, Tensor]) -> Inferred:
    """See `sr3d.detectors.groupfree.names.infer`. The number of heads is in the weights too.

    Raises:
        KeyError, IndexError: a weight is missing, or has too few axes.
    """
    both = "decoder.0.ISSM_scan.key_conv_back.dwconv.weight" in weights
    return inferred(
        weights,
        f"model.heads={weights['decoder.0.ISSM_scan.A_log'].shape[0]}",
        f"model.feedforward={weights['decoder.0.mlp_query.fc2.weight'].shape[1]}",
        f"model.bidirectional={str(both).lower()}",
    )


CHECKPOINTS = CheckpointFormat(
    landmark=r"points_obj_cls\.conv3\.weight",
    recognises=_recognises,
    written_by=lambda names: "OpenSpaceAI/DEST3D",
    infer=infer,
    published={"original": Published(to_published, entry="model")},
    own_name=own_name,
)
