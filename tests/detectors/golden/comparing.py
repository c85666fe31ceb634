"""A golden file and the comparisons with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree
from torch import Tensor

from sr3d.detectors.outputs import Detections
from tests.shared_data import shared


@dataclass(frozen=True)
class Golden:
    """A file `FAMILY_VARIANT_SCENE.npz`. path: its name says family and variant."""

    path: Path

    @cached_property
    def arrays(self) -> Mapping[str, np.ndarray]:
        with np.load(self.path) as file:
            return dict(file)

    @property
    def family(self) -> str:
        return self.path.stem.split("_")[0]

    def says(self, word: str) -> bool:
        """Whether the file's name has this part, such as "sunrgbd"."""
        return word in self.path.stem.split("_")[1:]

    @property
    def dataset(self) -> str:
        return "sunrgbd" if self.says("sunrgbd") else "scannet"

    @property
    def scene(self) -> str:
        """The name of the scan: the end of the file's name. ScanNet's have two parts."""
        return "_".join(self.path.stem.split("_")[-2 if self.dataset == "scannet" else -1 :])

    def beside(self, name: str) -> Path:
        """Another file of the folder. If it is not there, the shared one."""
        own = self.path.with_name(name)
        return own if own.exists() else shared(f"golden/{name}")

    def keys(self, name: str) -> Path:
        """The list of names and shapes `NAME_keys.txt`."""
        return self.beside(f"{name}_keys.txt")

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def same(self, key: str, ours: Any) -> Comparison:
        """Indices, labels and counts: every entry is equal."""
        return Comparison(key, _array(ours), self[key], 0, 0)

    def close(self, key: str, ours: Any, relative: float = 1e-5) -> Comparison:
        """Each entry differs by at most `relative` times the largest magnitude of the array."""
        theirs = self[key]
        most = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0))
        return Comparison(key, _array(ours), theirs, 0, relative * most)

    def each_close(self, key: str, ours: Any, relative: float, absolute: float = 0.0) -> Comparison:
        """Each entry differs by at most `relative` of its own magnitude plus `absolute`."""
        return Comparison(key, _array(ours), self[key], relative, absolute)


@dataclass(frozen=True)
class Comparison:
    """relative, absolute: tolerances as in `numpy.testing.assert_allclose`."""

    key: str
    ours: np.ndarray
    theirs: np.ndarray
    relative: float
    absolute: float

    def problem(self) -> str:
        """The difference in words, empty if there is none."""
        if self.ours.shape != self.theirs.shape:
            return f"{self.key}: shape {self.ours.shape}, expected {self.theirs.shape}"
        ours, theirs = self.ours.astype(np.float64), self.theirs.astype(np.float64)
        unequal = ~np.isclose(ours, theirs, self.relative, self.absolute, equal_nan=True)
        if not unequal.any():
            return ""
        worst = float(np.abs(ours - theirs)[unequal].max())
        limit = f"{self.relative:g} relative, {self.absolute:g} absolute"
        return f"{self.key}: {unequal.sum()} of {ours.size} differ, by up to {worst:.3g} ({limit})"


def detections(
    golden: Golden, found: Detections, scores: float, boxes: float
) -> Iterator[Comparison]:
    """`det_labels`, `det_scores` and `det_boxes`, class by class and best first.

    Scores that float32 cannot tell apart may stand in either order, so each box is compared with
    the nearest of its class and score. scores, boxes: absolute tolerances.
    """
    yield golden.same("det_labels", found.labels)
    yield golden.each_close("det_scores", found.scores, 0, scores)
    theirs = golden["det_boxes"]
    ours = found.boxes[:, : theirs.shape[1]].numpy()
    # A class is worth more than any distance, a score as much as matters within a class.
    own = np.column_stack([1e4 * found.labels.numpy(), 100 * found.scores.numpy(), ours])
    wanted = np.column_stack([1e4 * golden["det_labels"], 100 * golden["det_scores"], theirs])
    partner = KDTree(own).query(wanted)[1]
    yield Comparison("det_boxes", np.sort(partner), np.arange(len(ours)), 0, 0)
    yield Comparison("det_boxes", ours[partner], theirs, 0, boxes)


def sorted_rows(rows: np.ndarray) -> np.ndarray:
    """Rows in an order that rounding does not change: by rounded columns."""
    return rows[np.lexsort(np.round(rows, 3).T[::-1])]


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
