"""Prediction consistency: the agreement of score and IoU of the most confident detections.

The paper's Fig. 6(b) plots score against IoU, Fig. 6(c) the prediction consistency error (PCE).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_QUANTILES = {"median": 0.5, "q25": 0.25, "q75": 0.75, "q90": 0.9}


def most_confident(label: ArrayLike, score: ArrayLike, top_n: int = 30) -> NDArray[np.int64]:
    """Rows of the `top_n` best scores of each class.

    label, score: `(K,)`. Sorted by class, then from the best score down. Equal scores keep the
    order of the input.
    Source: the paper's "top-30 high-confidence predictions of each class after NMS". We take them
    over the whole data set.

    Raises:
        ValueError: arrays of different lengths, or a negative `top_n`.
    """
    label, score = np.asarray(label), np.asarray(score, dtype=np.float64)
    if label.shape != score.shape:
        raise ValueError(f"{len(label)} labels and {len(score)} scores")
    if top_n < 0:
        raise ValueError(f"top_n must be 0 or more, not {top_n}")
    order = np.lexsort((-score, label))  # stable
    group = label[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = group[1:] != group[:-1]
    position = np.arange(len(order))
    rank = position - np.maximum.accumulate(np.where(starts, position, 0))
    return order[rank < top_n]


def prediction_consistency(score: ArrayLike, iou: ArrayLike) -> dict[str, float | int | None]:
    """PCE: mean and quantiles of |score − IoU| over detections, both `(K,)` in [0, 1].

    iou: with the best ground truth of the same class and scene, 0 if there is none (see
    `best_ground_truth`).
    Returns `{"mean", "median", "q25", "q75", "q90", "count"}`. Without detections all except the
    count are None, because 0 would look like a perfect result.

    Raises:
        ValueError: arrays of different shapes, or a value that is not finite.
    """
    score, iou = np.asarray(score, dtype=np.float64), np.asarray(iou, dtype=np.float64)
    if score.shape != iou.shape:
        raise ValueError(f"{score.shape} scores but {iou.shape} IoUs")
    error = np.abs(score - iou)
    if not np.isfinite(error).all():
        raise ValueError("a score or IoU is not finite")
    if not error.size:
        return {"mean": None, **dict.fromkeys(_QUANTILES), "count": 0}
    quantiles = {name: float(np.quantile(error, q)) for name, q in _QUANTILES.items()}
    return {"mean": float(error.mean()), **quantiles, "count": error.size}
