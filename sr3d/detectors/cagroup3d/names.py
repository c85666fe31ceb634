"""CAGroup3D's weights as Haiyang-W/CAGroup3D stores them. Its names are ours.

Two of its conventions differ:

- Its yaw is clockwise. The first stage's yaw is atan2(r6, r7) / 2. The column r6 of the regression
  kernel has no bias, so its sign is the sign of every yaw. The second stage negates the yaws of its
  proposals first, so it agrees with us.
- Its network divides colours by 255, also SUN RGB-D's, which are in [0, 1] already. So there the
  first kernel takes the factor.

It reads the epoch, which decides the semantic threshold, from the name of the file. We store it as
`epochs`, in its files as OpenPCDet's counter of steps. A published file has so many steps that its
threshold is the lowest, as it is for the name of the last epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.family import CheckpointFormat, Inferred, Published, without_ddp

if TYPE_CHECKING:
    from torch import Tensor

_HEAD = "dense_head."
_STEM = "backbone_3d.conv1.0.kernel"
_BOXES, _CLASSES = _HEAD + "reg_conv.kernel", _HEAD + "cls_conv.kernel"
_ROI = "roi_head."
_POOL = _ROI + "roi_grid_pool_layers.0."
_SINE = 6  # the sign of this output is the sign of the yaw
_COLOURS = 255.0
_STEPS, _EPOCHS = "global_step", "epochs"


def own_name(name: str) -> str | None:
    """Our name of a weight."""
    name = without_ddp(name) or name
    return _EPOCHS if name == _STEPS else name


def adopt(weights: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """See `CheckpointFormat`. Only the files of the original have the counter of steps."""
    if not any(name.endswith(_STEPS) for name in names):
        return dict(weights)
    ours = _turned(weights)
    if _is_sunrgbd(weights):
        ours[_STEM] = ours[_STEM] / _COLOURS
    return ours


def to_original(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under the names and in the conventions of Haiyang-W/CAGroup3D.

    The inverse of `adopt`. Exact, except for the last bit of SUN RGB-D's first kernel.
    """
    theirs = _turned(weights)
    theirs[_STEPS] = theirs.pop(_EPOCHS)
    if _is_sunrgbd(weights):
        theirs[_STEM] = theirs[_STEM] * _COLOURS
    return theirs


def _turned(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the opposite sign of yaw. Unchanged if boxes have no yaw."""
    turned = dict(weights)
    if weights[_BOXES].shape[-1] == 8:
        kernel = weights[_BOXES].clone()
        kernel[..., _SINE] = -kernel[..., _SINE]
        turned[_BOXES] = kernel
    return turned


def _is_sunrgbd(weights: Mapping[str, Tensor]) -> bool:
    return (weights[_BOXES].shape[-1], weights[_CLASSES].shape[-1]) == (8, 10)


def _recognises(names: Collection[str]) -> bool:
    return {_BOXES, _POOL + "grid_conv.kernel"} <= {*names}


def infer(weights: Mapping[str, Tensor]) -> Inferred:
    """Widths, kernels, votes and classes.

    Raises:
        KeyError, IndexError: a weight is missing, or has too few axes.
    """

    def outputs(name: str) -> int:
        return weights[name].shape[-1]

    def edge(name: str) -> int:
        return round(weights[name].shape[0] ** (1 / 3))

    backbone = "backbone_3d."
    stages = [f"{backbone}{name}.kernel" for name in ("layer3.0.conv1", "layer4.0.conv1")]
    blocks = {name.split(".")[2] for name in weights if name.startswith(f"{backbone}layer1.")}
    widths = [*map(outputs, stages), outputs(f"{backbone}layer5.0.conv1.kernel")]
    overrides = (
        f"model.stem_channels={outputs(_STEM)}",
        f"model.high_channels={outputs(backbone + 'layer2.0.conv1.kernel')}",
        f"model.stage_channels={widths}",
        f"model.context_channels={outputs(backbone + 'spp.scale0.2.kernel')}",
        f"model.channels={weights[_BOXES].shape[0]}",
        f"model.blocks={len(blocks)}",
        f"model.votes={outputs(_HEAD + 'offset_block.6.kernel') // 3}",
        f"model.group_kernel={edge(_HEAD + 'cls_individual_out.0.0.kernel')}",
        f"model.expanded_kernel={edge(_HEAD + 'cls_individual_expand_out.0.0.kernel')}",
        f"model.roi_kernel={edge(_POOL + 'grid_conv.kernel')}",
        f"model.roi_grid={edge(_POOL + 'pooling_conv.kernel')}",
        f"model.roi_channels={outputs(_POOL + 'grid_conv.kernel')}",
        f"model.roi_hidden={weights[_ROI + 'reg_fc_layers.0.weight'].shape[0]}",
    )
    return Inferred(outputs(_CLASSES), rotated=outputs(_BOXES) == 8, overrides=overrides)


CHECKPOINTS = CheckpointFormat(
    landmark=r"backbone_3d\.conv1\.0\.kernel",
    own_name=own_name,
    recognises=_recognises,
    written_by=lambda names: "Haiyang-W/CAGroup3D",
    adopt=adopt,
    infer=infer,
    published={"original": Published(to_original, entry="model_state")},
)
