"""Weights from files: our safetensors, TR3D checkpoints in both published namings, FCAF3D's.

The networks' own names are mmdet3d's; SamsungLabs/tr3d differs in the names of the head, and
mmdet3d before 1.1 in its prefix.
Nothing in a file is executed: `weights_only`, and safetensors.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sr3d.config import did_you_mean
from sr3d.errors import InputError

_RENAMES = (
    ("head.bbox_conv.", "bbox_head.conv_reg."),
    ("head.cls_conv.", "bbox_head.conv_cls."),
    ("head.", "bbox_head."),
)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or `.pth` file, under the network's own names.

    Raises:
        InputError: missing, truncated, neither format, or holding more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes trip the unpickler in any way at all
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a readable checkpoint ({reason}); fetch it again") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path}: holds no state_dict of tensors; pass a model checkpoint")
    return {_own_name(name): tensor for name, tensor in state.items()}


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Put a file's weights into a model, every one of them.

    Raises:
        InputError: names what is missing, left over or of another shape.
    """
    weights, own = read_weights(path), model.state_dict()
    problems = [
        f"{name} is {tuple(weights[name].shape)}, the model's is {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    missing = [name for name in own if name not in weights]
    unknown = [name for name in weights if name not in own]
    if missing:
        problems.append(f"{len(missing)} missing, first {missing[0]}")
    if unknown:
        hint = did_you_mean(unknown[0], missing) if missing else ""
        problems.append(f"{len(unknown)} unknown, first {unknown[0]}{hint}")
    if problems:
        shown = "; ".join(problems[:3])
        raise InputError(f"{path}: does not fit the model ({shown}); check dataset= and the file")
    model.load_state_dict(weights)


def _own_name(name: str) -> str:
    for theirs, ours in _RENAMES:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name
