"""The prepared format, one for all data sets: memory-mapped points, one file of boxes a split.

    DIR/manifest.json          what it is; written last, so its presence means the set is whole
    DIR/points/<scene>.npy     (N, 6) float32: x, y, z in metres, z up, axis-aligned; r, g, b in [0, 1]
    DIR/<split>.npz            ground truth of the split: scene (K,), label (K,), box (K, 7)

The ground-truth files are what `sr3d evaluate --ground-truth` reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sr3d
from sr3d.config import did_you_mean
from sr3d.data.scene import Scene, check_scene
from sr3d.errors import InputError
from sr3d.files import atomic_path, digest, read_json, sha256, write_json
from sr3d.geometry.boxes import Boxes

FORMAT = "sr3d-prepared"
VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """source: one line on where the scenes come from. splits: name to scene ids, in order.

    scenes: id to {"points": N, "boxes": K, "sha256": of its points file}.
    """

    dataset: str
    classes: list[str]
    rotated: bool
    source: str
    splits: dict[str, list[str]]
    scenes: dict[str, dict[str, Any]]
    ground_truth: dict[str, str]
    code_version: str

    def digest(self) -> str:
        """Identifies the data that a run saw, whichever version of this code prepared it."""
        value = asdict(self)
        del value["code_version"], value["source"]
        return digest(value)


class PreparedWriter:
    """Writes scenes as they come and the manifest at the end.

    A scene whose points file already lies there with the wanted content is not written again.
    """

    def __init__(
        self, folder: str | Path, dataset: str, classes: Iterable[str], rotated: bool, source: str
    ) -> None:
        self.folder = Path(folder)
        self.dataset, self.classes, self.rotated = dataset, tuple(classes), rotated
        self.source = source
        self.splits: dict[str, list[Scene]] = {}
        self.scenes: dict[str, dict[str, Any]] = {}
        (self.folder / MANIFEST).unlink(missing_ok=True)

    def add(self, split: str, scene: Scene) -> None:
        """Check and write one scene.

        Raises:
            InputError: the scene is unusable, or its id was added before.
        """
        check_scene(scene, self.classes, scene.id)
        if scene.id in self.scenes:
            raise InputError(f"{scene.id}: the scene is listed twice")
        path = self.folder / "points" / f"{scene.id}.npy"
        rows = torch.cat([scene.points, scene.colors], dim=1).numpy().astype(np.float32)
        with atomic_path(path) as temporary:
            np.save(temporary, rows)
        self.scenes[scene.id] = {
            "points": len(scene),
            "boxes": len(scene.boxes),
            "sha256": sha256(path),
        }
        light = Scene(scene.id, scene.points[:0], scene.colors[:0], scene.boxes, scene.labels)
        self.splits.setdefault(split, []).append(light)

    def finish(self) -> Manifest:
        """Write the ground truth of every split, then the manifest."""
        truth = {}
        for split, scenes in self.splits.items():
            path = self.folder / f"{split}.npz"
            count = [len(s.boxes) for s in scenes]
            with atomic_path(path) as temporary:
                np.savez(
                    temporary,
                    scene=np.repeat(np.array([s.id for s in scenes]), count),
                    label=torch.cat([s.labels for s in scenes]).numpy().astype(np.int64),
                    box=torch.cat([s.boxes.tensor for s in scenes]).numpy().astype(np.float32),
                )
            truth[split] = sha256(path)
        manifest = Manifest(
            dataset=self.dataset,
            classes=list(self.classes),
            rotated=self.rotated,
            source=self.source,
            splits={split: [s.id for s in scenes] for split, scenes in self.splits.items()},
            scenes=self.scenes,
            ground_truth=truth,
            code_version=sr3d.__version__,
        )
        write_json(
            self.folder / MANIFEST,
            {"format": FORMAT, "version": VERSION, "digest": manifest.digest(), **asdict(manifest)},
        )
        return manifest


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a prepared folder.

    Raises:
        InputError: the folder is not prepared, or by another version, or the manifest was edited.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with `sr3d prepare`")
    value = read_json(path)
    kind = value.pop("format", None), value.pop("version", None)
    if kind != (FORMAT, VERSION):
        raise InputError(f"{path}: format {kind[0]} version {kind[1]}; prepare the data set again")
    wanted = value.pop("digest", None)
    try:
        manifest = Manifest(**value)
    except TypeError as error:
        raise InputError(f"{path}: {error}; prepare the data set again") from None
    if manifest.digest() != wanted:
        raise InputError(f"{path}: its digest does not match; prepare the data set again")
    return manifest


class PreparedDataset:
    """One split of a prepared folder; indexing gives a Scene whose points are memory-mapped."""

    def __init__(self, folder: str | Path, split: str) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        if split not in self.manifest.splits:
            known = list(self.manifest.splits)
            raise InputError(f"{self.folder}: no split '{split}'{did_you_mean(split, known)}")
        self.split = split
        self.ids = self.manifest.splits[split]
        truth = _load(self.folder / f"{split}.npz")
        order = {scene: i for i, scene in enumerate(self.ids)}
        owner = np.array([order[scene] for scene in truth["scene"].tolist()], dtype=np.int64)
        self._boxes = [truth["box"][owner == i] for i in range(len(self.ids))]
        self._labels = [truth["label"][owner == i] for i in range(len(self.ids))]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Scene:
        scene_id = self.ids[index]
        path = self.folder / "points" / f"{scene_id}.npy"
        rows = _load(path, mmap_mode="c")
        expected = (self.manifest.scenes[scene_id]["points"], 6)
        if rows.shape != expected or rows.dtype != np.float32:
            raise InputError(
                f"{path}: {rows.dtype} {rows.shape}, the manifest says {expected}; "
                "prepare the data set again"
            )
        points = torch.from_numpy(rows)
        return Scene(
            id=scene_id,
            points=points[:, :3],
            colors=points[:, 3:],
            boxes=Boxes.from_array(self._boxes[index]),
            labels=torch.from_numpy(self._labels[index]),
        )

    def __iter__(self) -> Iterator[Scene]:
        return (self[i] for i in range(len(self)))


def verify(folder: str | Path) -> None:
    """Compare every file with its checksum.

    Raises:
        InputError: names the first file that differs.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    expected = {f"points/{s}.npy": facts["sha256"] for s, facts in manifest.scenes.items()}
    expected |= {f"{split}.npz": value for split, value in manifest.ground_truth.items()}
    for name, value in expected.items():
        if not (folder / name).is_file() or sha256(folder / name) != value:
            raise InputError(f"{folder / name}: missing or changed; prepare the data set again")


def _load(path: Path, mmap_mode: Any = None) -> Any:
    try:
        loaded = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
        return dict(loaded) if path.suffix == ".npz" else loaded
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error}); prepare the data set again") from None
