"""Prepared scenes, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from sr3d.config import did_you_mean
from sr3d.data.prepared.manifest import AGAIN, check_file, read_manifest
from sr3d.data.scene import Scene
from sr3d.errors import DamagedFile, InputError
from sr3d.geometry.boxes import Boxes


class PreparedDataset:
    """One split of a prepared folder; indexing gives a Scene whose points are memory-mapped.

    Points may be changed in place: the mapping is private to the Scene and never written back.
    The first use of a scene compares its file with the manifest's sha256. Against loading and
    augmenting the scene once that takes little (`benchmarks/loading.py`), and a training does it
    once in all epochs.

    Raises:
        InputError: no such split.
        DamagedFile: a file is not the one that the manifest describes.
    """

    def __init__(self, folder: str | Path, split: str) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        if split not in self.manifest.splits:
            known = list(self.manifest.splits)
            raise InputError(f"{self.folder}: no split '{split}'{did_you_mean(split, known)}")
        self.split = split
        self.ids = self.manifest.splits[split]
        path = self.folder / f"{split}.npz"
        check_file(path, self.manifest.ground_truth[split])
        with np.load(path, allow_pickle=False) as file:
            truth = dict(file)
        order = {scene: i for i, scene in enumerate(self.ids)}
        owner = np.array([order[scene] for scene in truth["scene"].tolist()], dtype=np.int64)
        self._boxes = [truth["box"][owner == i] for i in range(len(self.ids))]
        self._labels = [truth["label"][owner == i] for i in range(len(self.ids))]
        self._verified: set[str] = set()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Scene:
        scene_id = self.ids[index]
        path = self.folder / "points" / f"{scene_id}.npy"
        facts = self.manifest.scenes[scene_id]
        if scene_id not in self._verified:
            check_file(path, facts["sha256"])
            self._verified.add(scene_id)
        try:
            rows = np.load(path, mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DamagedFile(f"{path}: cannot be read ({error}); {AGAIN}") from None
        expected = (facts["points"], 6)
        if rows.shape != expected or rows.dtype != np.float32:
            raise DamagedFile(
                f"{path}: {rows.dtype} {rows.shape}, the manifest says {expected}; {AGAIN}"
            )
        points = torch.from_numpy(rows)
        return self._scene(index, points[:, :3], points[:, 3:])

    def __iter__(self) -> Iterator[Scene]:
        return (self[i] for i in range(len(self)))

    def empty(self) -> list[int]:
        """Indices of the scenes without boxes."""
        return [index for index, labels in enumerate(self._labels) if len(labels) == 0]

    def without_points(self) -> list[Scene]:
        """The scenes with boxes and labels alone; no points file is opened."""
        return [self._scene(i, torch.zeros(0, 3), torch.zeros(0, 3)) for i in range(len(self))]

    def _scene(self, index: int, points: torch.Tensor, colors: torch.Tensor) -> Scene:
        labels = torch.tensor(self._labels[index], dtype=torch.int64)
        boxes = Boxes.from_array(self._boxes[index].copy())
        return Scene(self.ids[index], points, colors, boxes, labels)
