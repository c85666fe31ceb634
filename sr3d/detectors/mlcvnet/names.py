"""MLCVNet's weights as NUAAXQ/MLCVNet stores them. Its names are ours."""

from __future__ import annotations

from sr3d.detectors.family import CheckpointFormat, Published
from sr3d.detectors.votenet.names import infer

CHECKPOINTS = CheckpointFormat(
    landmark=r"vgen\.conv3\.weight",
    recognises=lambda names: {"vgen.sa1.gn.weight", "pnet.gs_conv1.weight"} <= {*names},
    written_by=lambda names: "NUAAXQ/MLCVNet",
    infer=infer,
    published={"original": Published(entry="model_state_dict")},
)
