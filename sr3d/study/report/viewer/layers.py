"""The boxes in a viewer: layers that can be compared, and one colour per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes
from sr3d.geometry.iou import pairwise_iou

Array = npt.NDArray[Any]

MOST_BOXES = 20_000  # of all layers. More are slow to draw and unreadable.
# The colours of `scene_pictures.class_style`, copied because that module needs matplotlib.
_HUES = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5a5a5a", "#f0e442")
_SHADES = (0.0, -0.4, 0.4)  # below 0 towards black, above 0 towards white
_SCORED, _TRUTH = ("solid", "dotted", "short-dashed"), ("dashed", "long-dashed")


@dataclass(frozen=True, eq=False)
class BoxLayer:
    """Boxes that are shown and hidden together.

    name: as shown to the user, such as "predictions". boxes: (K, 7) centre, full size (metres) and
    yaw, or (K, 6). labels: (K,) into `classes`. scores: (K,), or None for the ground truth with
    which layers of detections are compared.
    """

    name: str
    boxes: Any
    labels: Any
    scores: Any
    classes: Sequence[str]

    @property
    def is_truth(self) -> bool:
        return self.scores is None


def class_color(index: int) -> str:
    """Colour of a class, "#rrggbb", which depends on its index only. Colours repeat after 24."""
    turn, hue = divmod(index, len(_HUES))
    shade = _SHADES[turn % len(_SHADES)]
    parts = (int(_HUES[hue][i : i + 2], 16) / 255 for i in (1, 3, 5))
    mixed = (part * (1 - abs(shade)) + max(shade, 0.0) for part in parts)
    return "#" + "".join(f"{round(part * 255):02x}" for part in mixed)


def describe_layers(layers: Sequence[BoxLayer]) -> dict[str, Any]:
    """The layers as JSON for the page.

    `classes` holds the classes of all layers with their colours. The labels in `layers` are indices
    into it.

    Raises:
        InputError: a layer with inconsistent fields, or too many boxes.
    """
    checked = [_checked(layer) for layer in layers]
    if (count := sum(len(layer.boxes) for layer in checked)) > MOST_BOXES:
        raise InputError(
            f"{count:,} boxes, but the maximum is {MOST_BOXES:,}",
            field="viewer",
            kind=Kind.VALUE,
            remedy="Raise the minimum score.",
        )
    names = list(dict.fromkeys(name for layer in checked for name in layer.classes))
    truths = [i for i, layer in enumerate(checked) if layer.is_truth]
    strokes = {True: iter(_TRUTH * len(checked)), False: iter(_SCORED * len(checked))}
    described = [
        {
            "name": layer.name,
            "truth": layer.is_truth,
            "stroke": next(strokes[layer.is_truth]),
            # To a tenth of a millimetre, without the trailing digits of a float32.
            "boxes": [[round(float(x), 4) for x in box] for box in layer.boxes],
            "labels": [names.index(layer.classes[label]) for label in layer.labels],
            "scores": None if layer.is_truth else [round(float(s), 4) for s in layer.scores],
            "overlaps": [] if layer.is_truth else _overlaps(layer, checked, truths),
        }
        for layer in checked
    ]
    classes = [{"name": name, "color": class_color(i)} for i, name in enumerate(names)]
    return {"classes": classes, "layers": described}


def best_overlaps(iou: Array, same_class: Array) -> list[list[tuple[int, float]]]:
    """Overlapping ground truths of each box as (index, IoU).

    The best ground truth of another class comes first, if it overlaps more than any of the box's
    class. The best ground truth of its class follows. Both are omitted without any overlap.

    iou: (N, M). same_class: (N, M) bool.
    """
    found = []
    for row, same in zip(iou, same_class, strict=True):
        both = [] if not len(row) else [int(row.argmax()), int(np.where(same, row, -1.0).argmax())]
        kept = [i for n, i in enumerate(both) if row[i] > 0 and (n == 0 or same[i])]
        found.append([(i, round(float(row[i]), 3)) for i in dict.fromkeys(kept)])
    return found


def _overlaps(
    layer: BoxLayer, layers: Sequence[BoxLayer], truths: Sequence[int]
) -> list[list[tuple[int, float]]]:
    """`best_overlaps` with the first layer of ground truth, empty if there is none."""
    if not truths:
        return []
    truth = layers[truths[0]]
    ours, theirs = torch.as_tensor(layer.boxes), torch.as_tensor(truth.boxes)
    rotated = bool(ours[:, 6].any() or theirs[:, 6].any())
    iou = pairwise_iou(ours, theirs, rotated).numpy()
    named = [np.array([one.classes[i] for i in one.labels], dtype=object) for one in (layer, truth)]
    return best_overlaps(iou, named[0][:, None] == named[1][None])


def _checked(layer: BoxLayer) -> BoxLayer:
    """The layer as arrays: boxes (K, 7) float32, labels (K,) int64, scores (K,) float32."""
    where = f"viewer: layer '{layer.name}'"
    try:
        boxes = Boxes.from_array(_array(layer.boxes)).tensor.numpy()
    except ValueError as error:
        raise InputError(
            str(error),
            field=f"{where}: boxes",
            kind=Kind.VALUE,
            remedy="Pass centre, size and yaw.",
        ) from None
    labels = _array(layer.labels).astype(np.int64).reshape(-1)
    scores = None if layer.scores is None else _array(layer.scores).astype(np.float32).reshape(-1)
    for name, values in (("labels", labels), ("scores", scores)):
        if values is not None and len(values) != len(boxes):
            problem = f"{len(values)} for {len(boxes)} boxes"
            raise InputError(problem, field=f"{where}: {name}", kind=Kind.CONFLICT)
    if not np.isfinite(boxes).all() or (boxes[:, 3:6] < 0).any():
        problem = "a box is not finite or has a negative size"
        raise InputError(problem, field=f"{where}: boxes", kind=Kind.VALUE, remedy="Remove it.")
    if scores is not None and not np.isfinite(scores).all():
        problem = "a score is not a number"
        remedy = "Remove that box."
        raise InputError(problem, field=f"{where}: scores", kind=Kind.VALUE, remedy=remedy)
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(layer.classes):
        problem = f"{labels.min()} to {labels.max()}, but {len(layer.classes)} classes"
        raise InputError(problem, field=f"{where}: labels", kind=Kind.VALUE)
    return BoxLayer(layer.name, boxes, labels, scores, tuple(layer.classes))


def _array(values: Any) -> Array:
    """A copy in the memory of the CPU, of a tensor, an array or a list."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.array(values)
