"""Prepared scenes, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr3d.data.mean_sizes import MeanSizes, mean_sizes_of
from sr3d.data.prepared.manifest import REMEDY, read_manifest, verify_file
from sr3d.data.scene import Scene
from sr3d.data.superpoints import over_segment
from sr3d.errors import DamagedFile, InputError, Kind
from sr3d.geometry.boxes import Boxes
from sr3d.validation import did_you_mean


class PreparedDataset:
    """One split of a prepared folder. Indexing returns a Scene with memory-mapped points.

    Points may be changed in place: the mapping is private to the Scene and never written back.
    The first use of a scene compares its file with the manifest's sha256. This is short compared
    with loading and augmenting the scene once (`benchmarks/loading.py`), and a training run does it
    once per scene.

    instances: whether scenes get their `instance`, if the folder has them. Reading instances makes
    loading a quarter slower, so runs of detectors without a use for them go without.
    superpoints: whether scenes get their `superpoints`: the stored ones, or else those of
    `sr3d.data.superpoints`, computed at the first use of a scene and kept in memory.

    Raises:
        InputError: no such split.
        DamagedFile: a file is not the one that the manifest describes.
    """

    def __init__(
        self, folder: str | Path, split: str, instances: bool = True, superpoints: bool = False
    ) -> None:
        self.folder, self._instances = Path(folder), instances
        self._superpoints = superpoints
        self._computed: dict[str, torch.Tensor] = {}
        self.manifest = read_manifest(folder)
        if split not in self.manifest.splits:
            known = list(self.manifest.splits)
            raise InputError(
                f"no split '{split}'{did_you_mean(split, known)}",
                file=self.folder,
                kind=Kind.UNKNOWN,
            )
        self.split = split
        self.ids = self.manifest.splits[split]
        path = self.folder / f"{split}.npz"
        verify_file(path, self.manifest.ground_truth[split])
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
        facts = self.manifest.scenes[scene_id]
        points = self._rows("points", scene_id, facts["sha256"], np.float32, facts["points"], 6)
        scene = self._scene(index, points[:, :3], points[:, 3:])
        if self._instances and "instances" in facts:
            own = self._rows("instances", scene_id, facts["instances"], np.int16, facts["points"])
            scene = replace(scene, instance=own.long())
        if self._superpoints:
            scene = replace(scene, superpoints=self._superpoints_of(scene, facts))
        self._verified.add(scene_id)
        return scene

    def _superpoints_of(self, scene: Scene, facts: Mapping[str, Any]) -> torch.Tensor:
        if "superpoints" in facts:
            digest, count = facts["superpoints"], facts["points"]
            return self._rows("superpoints", scene.id, digest, np.int32, count).long()
        if scene.id not in self._computed:
            self._computed[scene.id] = over_segment(scene.points, scene.colors).to(torch.int32)
        return self._computed[scene.id].long()

    def _rows(self, kind: str, scene: str, digest: str, dtype: type, *shape: int) -> torch.Tensor:
        """A file of a scene, memory-mapped, and verified unless the scene was read before."""
        path = self.folder / kind / f"{scene}.npy"
        if scene not in self._verified:
            verify_file(path, digest)
        try:
            rows = np.load(path, mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DamagedFile(
                f"cannot be read ({error})", file=path, kind=Kind.UNREADABLE, remedy=REMEDY
            ) from None
        if rows.shape != shape or rows.dtype != dtype:
            raise DamagedFile(
                f"{rows.dtype} {rows.shape}, the manifest says {shape}",
                file=path,
                kind=Kind.CONFLICT,
                remedy=REMEDY,
            )
        return torch.from_numpy(rows)

    def mean_sizes(self) -> MeanSizes:
        """`Dataset.mean_sizes` of the manifest. For format version 2, the mean sizes of this split.

        Raises:
            InputError: there is no box.
        """
        if self.manifest.mean_sizes:
            return tuple((x, y, z) for x, y, z in self.manifest.mean_sizes)
        return mean_sizes_of(self.without_points(), len(self.manifest.classes))

    def __iter__(self) -> Iterator[Scene]:
        return (self[i] for i in range(len(self)))

    def empty(self) -> list[int]:
        """Indices of the scenes without boxes."""
        return [index for index, labels in enumerate(self._labels) if len(labels) == 0]

    def without_points(self) -> list[Scene]:
        """The scenes with only boxes and labels. Opens no points file."""
        return [self._scene(i, torch.zeros(0, 3), torch.zeros(0, 3)) for i in range(len(self))]

    def _scene(self, index: int, points: torch.Tensor, colors: torch.Tensor) -> Scene:
        labels = torch.tensor(self._labels[index], dtype=torch.int64)
        boxes = Boxes.from_array(self._boxes[index].copy())
        return Scene(self.ids[index], points, colors, boxes, labels)
