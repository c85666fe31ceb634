"""The prepared format, one for all data sets: memory-mapped points, one file of boxes a split.

    DIR/manifest.json          what it is; written last, so its presence means the set is whole
    DIR/points/<scene>.npy     (N, 6) float32: x, y, z in metres, z up; r, g, b in [0, 1]
    DIR/<split>.npz            ground truth of the split: scene (K,), label (K,), box (K, 7), and
                               scenes (M,), the ids of all its scenes

The ground-truth files are what `sr3d evaluate --ground-truth` reads.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr3d._version import __version__
from sr3d.config import did_you_mean
from sr3d.data.scene import Scene, check_scene
from sr3d.errors import InputError
from sr3d.files import atomic_path, digest, read_json, sha256, write_json
from sr3d.geometry.boxes import Boxes

FORMAT = "sr3d-prepared"
VERSION = 1
MANIFEST = "manifest.json"
AGAIN = "prepare the data set again"


@dataclass(frozen=True)
class Manifest:
    """source: one line on where the scenes come from. splits: name to scene ids, in order.

    scenes: id to {"points": N, "boxes": K, "sha256": of its points file}.
    ground_truth: split to the sha256 of its file.
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

    A file that already has the wanted content is not written again; before another one is
    replaced, the manifest that vouches for it goes. `append` keeps the scenes that the folder
    holds, and its manifest until `finish`; on a folder without one it changes nothing.

    Raises:
        InputError: `append` to a folder of another data set, or to one that was changed.
    """

    def __init__(
        self,
        folder: str | Path,
        dataset: str,
        classes: Iterable[str],
        rotated: bool,
        source: str,
        *,
        append: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.dataset, self.classes, self.rotated = dataset, tuple(classes), rotated
        self.source = source
        self.splits: dict[str, list[Scene]] = {}  # without their points
        self.scenes: dict[str, dict[str, Any]] = {}
        self._added: set[str] = set()
        self._keep_manifest = append
        if append and (self.folder / MANIFEST).exists():
            self._continue(read_manifest(folder))

    def _continue(self, old: Manifest) -> None:
        ours = self.dataset, list(self.classes), self.rotated
        if (old.dataset, old.classes, old.rotated) != ours:
            raise InputError(
                f"{self.folder}: holds '{old.dataset}' with {len(old.classes)} classes, and "
                f"'{self.dataset}' cannot be appended to it; choose another folder"
            )
        self.source = "; ".join(dict.fromkeys([*old.source.split("; "), self.source]))
        self.scenes = dict(old.scenes)
        self.splits = {s: PreparedDataset(self.folder, s).without_points() for s in old.splits}

    def add(self, split: str, scene: Scene) -> None:
        """Check and write one scene.

        Raises:
            InputError: the scene is unusable, or was added before, or the folder holds another
                one of that id.
        """
        _check_name(split, "split")
        _check_name(scene.id, "scene")
        check_scene(scene, self.classes, scene.id)
        if not self.rotated and scene.boxes.yaw.any():
            raise InputError(
                f"{scene.id}: some boxes have a yaw, which '{self.dataset}' knows not; "
                "replace them by their enclosing boxes"
            )
        if scene.id in self._added:
            raise InputError(f"{scene.id}: the scene is listed twice; list it once")
        data = _points_file(scene)
        facts = {
            "points": len(scene),
            "boxes": len(scene.boxes),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        light = replace(scene, points=scene.points[:0].clone(), colors=scene.colors[:0].clone())
        if scene.id in self.scenes:
            held = next((s for s in self.splits.get(split, []) if s.id == scene.id), None)
            if facts != self.scenes[scene.id] or held is None or not _same_truth(held, light):
                raise InputError(
                    f"{self.folder}: holds another '{scene.id}' already (its points, boxes or "
                    "split differ); choose another folder, or prepare without appending"
                )
        else:
            self.splits.setdefault(split, []).append(light)
            self.scenes[scene.id] = facts
        self._added.add(scene.id)
        self._write(self.folder / "points" / f"{scene.id}.npy", data)

    def finish(self) -> Manifest:
        """Write the ground truth of every split, then the manifest.

        Raises:
            InputError: there is no scene.
        """
        if not self.scenes:
            raise InputError(f"{self.folder}: no scenes to prepare; name at least one")
        self._keep_manifest = False
        truth = {}
        for split, scenes in self.splits.items():
            data = _truth_file(scenes)
            self._write(self.folder / f"{split}.npz", data)
            truth[split] = hashlib.sha256(data).hexdigest()
        manifest = Manifest(
            dataset=self.dataset,
            classes=list(self.classes),
            rotated=self.rotated,
            source=self.source,
            splits={split: [s.id for s in scenes] for split, scenes in self.splits.items()},
            scenes=self.scenes,
            ground_truth=truth,
            code_version=__version__,
        )
        write_json(
            self.folder / MANIFEST,
            {"format": FORMAT, "version": VERSION, "digest": manifest.digest(), **asdict(manifest)},
        )
        return manifest

    def _write(self, path: Path, data: bytes) -> None:
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return
        if not self._keep_manifest:
            (self.folder / MANIFEST).unlink(missing_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a prepared folder.

    Raises:
        InputError: the folder is not prepared, or by another version, or the manifest was edited.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with `sr3d prepare`")
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a manifest; {AGAIN}")
    kind = value.pop("format", None), value.pop("version", None)
    if kind != (FORMAT, VERSION):
        raise InputError(f"{path}: format {kind[0]} version {kind[1]}; {AGAIN}")
    wanted = value.pop("digest", None)
    try:
        manifest = Manifest(**value)
    except TypeError as error:
        raise InputError(f"{path}: {error}; {AGAIN}") from None
    if manifest.digest() != wanted:
        raise InputError(f"{path}: its digest does not match; {AGAIN}")
    return manifest


class PreparedDataset:
    """One split of a prepared folder; indexing gives a Scene whose points are memory-mapped.

    Points may be changed in place: the mapping is private to the Scene and never written back.

    Raises:
        InputError: no such split, or a file that is not the one that the manifest describes.
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
        if not path.is_file() or sha256(path) != self.manifest.ground_truth[split]:
            raise InputError(f"{path}: missing or changed; {AGAIN}")
        with np.load(path, allow_pickle=False) as file:
            truth = dict(file)
        order = {scene: i for i, scene in enumerate(self.ids)}
        owner = np.array([order[scene] for scene in truth["scene"].tolist()], dtype=np.int64)
        self._boxes = [truth["box"][owner == i] for i in range(len(self.ids))]
        self._labels = [truth["label"][owner == i] for i in range(len(self.ids))]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Scene:
        scene_id = self.ids[index]
        path = self.folder / "points" / f"{scene_id}.npy"
        try:
            rows = np.load(path, mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: cannot be read ({error}); {AGAIN}") from None
        expected = (self.manifest.scenes[scene_id]["points"], 6)
        if rows.shape != expected or rows.dtype != np.float32:
            raise InputError(
                f"{path}: {rows.dtype} {rows.shape}, the manifest says {expected}; {AGAIN}"
            )
        points = torch.from_numpy(rows)
        return self._scene(index, points[:, :3], points[:, 3:])

    def __iter__(self) -> Iterator[Scene]:
        return (self[i] for i in range(len(self)))

    def without_points(self) -> list[Scene]:
        """The scenes with boxes and labels alone; no points file is opened."""
        return [self._scene(i, torch.zeros(0, 3), torch.zeros(0, 3)) for i in range(len(self))]

    def _scene(self, index: int, points: torch.Tensor, colors: torch.Tensor) -> Scene:
        labels = torch.tensor(self._labels[index], dtype=torch.int64)
        boxes = Boxes.from_array(self._boxes[index].copy())
        return Scene(self.ids[index], points, colors, boxes, labels)


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
            raise InputError(f"{folder / name}: missing or changed; {AGAIN}")


def _check_name(name: str, what: str) -> None:
    """Names become file names: letters of any script, digits and `_ - . +`, no leading dot."""
    if not re.fullmatch(r"\w[\w.+-]*", name) or len(name.encode()) > 200:
        raise InputError(f"'{name}': a {what} is named by letters, digits and _ - . + alone")


def _same_truth(one: Scene, other: Scene) -> bool:
    same_boxes = torch.equal(one.boxes.tensor, other.boxes.tensor.float())
    return same_boxes and torch.equal(one.labels, other.labels)


def _points_file(scene: Scene) -> bytes:
    rows = torch.cat([scene.points, scene.colors], dim=1).numpy().astype(np.float32)
    if rows.shape != (len(scene), 6):
        raise InputError(f"{scene.id}: points and colours must have three columns each")
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return buffer.getvalue()


def _truth_file(scenes: list[Scene]) -> bytes:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        scenes=np.array([s.id for s in scenes], dtype=np.str_),
        scene=np.array([s.id for s in scenes for _ in s.labels], dtype=np.str_),
        label=torch.cat([s.labels for s in scenes]).numpy().astype(np.int64),
        box=torch.cat([s.boxes.tensor for s in scenes]).numpy().astype(np.float32),
    )
    return buffer.getvalue()
