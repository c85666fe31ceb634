"""Writes scenes into a prepared folder one by one, and then the manifest."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr3d._version import __version__
from sr3d.data.mean_sizes import mean_sizes_of
from sr3d.data.prepared.journal import Entry, Journal
from sr3d.data.prepared.manifest import MANIFEST, OPTIONAL, Manifest, read_manifest, write_manifest
from sr3d.data.prepared.reading import PreparedDataset
from sr3d.data.scene import Scene, check_scene, point_table
from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes
from sr3d.runs.files import atomic_path, code_digest, sha256
from sr3d.runs.machine import code_version

JOURNAL = ".preparation.jsonl"
_READING = Path(__file__).parents[1]  # the code that reads data


class PreparedWriter:
    """Writes scenes one by one, and the manifest at the end.

    A file that already has the right content is not written again. Before another file is replaced,
    the manifest with its checksum is deleted. `append` keeps the scenes in the folder, and its
    manifest until `finish`. On a folder without a manifest it has no effect.

    Scenes that are added with a stamp are recorded in a journal, which stays. A later writer with
    the same arguments and the same code can `adopt` them, after an interruption, or if a workflow
    deleted the manifest to prepare the whole set again.

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
        labels: str = "",
        append: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.dataset, self.classes, self.rotated = dataset, tuple(classes), rotated
        self.source, self.labels = source, labels
        self.splits: dict[str, list[Scene]] = {}  # without their points
        self.scenes: dict[str, dict[str, Any]] = {}
        self._added: set[str] = set()
        self._keep_manifest = append
        # Appending keeps all scenes of the folder.
        self._replaced = None if append else _manifest_if_any(self.folder)
        head = {
            "dataset": dataset,
            "rotated": rotated,
            "source": source,
            "labels": labels,
            "code": code_digest(_READING),  # a preparation by other code is not resumed
        }
        self._journal = Journal(self.folder / JOURNAL, head)
        if append and (self.folder / MANIFEST).exists():
            self._continue(read_manifest(folder))

    def _continue(self, old: Manifest) -> None:
        ours = self.dataset, list(self.classes), self.rotated
        if (old.dataset, old.classes, old.rotated) != ours:
            raise InputError(
                f"holds '{old.dataset}' with {len(old.classes)} classes, and '{self.dataset}' "
                "cannot be appended to it",
                file=self.folder,
                kind=Kind.CONFLICT,
                remedy="Choose another folder.",
            )
        self.source = _joined(old.source, self.source)
        self.labels = _joined(old.labels, self.labels)
        self.scenes = dict(old.scenes)
        self.splits = {s: PreparedDataset(self.folder, s).without_points() for s in old.splits}

    def journaled(self, split: str, scene: str, stamp: str) -> bool:
        """Whether an interrupted preparation wrote this scene from the same files."""
        entry = self._journal.entries.get(scene)
        if entry is None or (entry.split, entry.stamp) != (split, stamp) or scene in self.scenes:
            return False
        wanted = {self._path("points", scene): entry.facts["sha256"]}
        wanted |= {
            self._path(kind, scene): entry.facts[kind] for kind in OPTIONAL if kind in entry.facts
        }
        return all(path.is_file() and sha256(path) == value for path, value in wanted.items())

    def adopt(self, scene: str) -> None:
        """Adopt a scene that is `journaled`."""
        entry = self._journal.entries[scene]
        boxes, labels = Boxes.from_array(entry.boxes), torch.tensor(entry.labels, dtype=torch.int64)
        light = Scene(scene, torch.zeros(0, 3), torch.zeros(0, 3), boxes, labels)
        self._keep(entry.split, light, entry.facts)

    def add(self, split: str, scene: Scene, stamp: str | None = None) -> None:
        """Check and write one scene. If it has a stamp, record it in the journal.

        Raises:
            InputError: the scene is invalid, has more than 32,767 boxes, or was added before, or
                the folder holds another scene with that id.
        """
        _check_name(split, "split")
        _check_name(scene.id, "scene")
        check_scene(scene, self.classes, scene.id)
        if not self.rotated and scene.boxes.yaw.any():
            raise InputError(
                f"some boxes have a yaw, but boxes of '{self.dataset}' are axis-aligned",
                field=scene.id,
                kind=Kind.CONFLICT,
                remedy="Replace them by the axis-aligned boxes around them.",
            )
        if len(scene.boxes) > np.iinfo(np.int16).max:
            raise InputError(
                f"has {len(scene.boxes)} boxes",
                field=scene.id,
                kind=Kind.TOO_LARGE,
                remedy="Cut the scan into rooms.",
            )
        data = _points_file(scene)
        facts = {
            "points": len(scene),
            "boxes": len(scene.boxes),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        optional = _optional_files(scene)
        for kind, content in optional.items():
            facts[kind] = hashlib.sha256(content).hexdigest()
        none = scene.points[:0].clone()
        light = replace(scene, points=none, colors=none, instance=None, superpoints=None)
        self._keep(split, light, facts)
        self._write(self._path("points", scene.id), data)
        for kind, content in optional.items():
            self._write(self._path(kind, scene.id), content)
        if stamp is not None:
            boxes, labels = scene.boxes.tensor.tolist(), scene.labels.tolist()
            self._journal.add(Entry(split, scene.id, stamp, facts, boxes, labels))

    def _keep(self, split: str, light: Scene, facts: dict[str, Any]) -> None:
        """Add a scene to the tables for the manifest."""
        if light.id in self._added:
            raise InputError(
                "the scene is listed twice",
                field=light.id,
                kind=Kind.CONFLICT,
                remedy="List it once.",
            )
        if light.id in self.scenes:
            held = next((s for s in self.splits.get(split, []) if s.id == light.id), None)
            before = self.scenes[light.id]
            # One of the two may lack instances or superpoints, as in older folders.
            same = all(before[name] == facts[name] for name in before.keys() & facts.keys())
            if not same or held is None or not _same_truth(held, light):
                raise InputError(
                    f"holds another '{light.id}' already (its points, boxes or split differ)",
                    file=self.folder,
                    kind=Kind.CONFLICT,
                    remedy="Choose another folder, or prepare without appending.",
                )
        else:
            self.splits.setdefault(split, []).append(light)
        self.scenes[light.id] = {**self.scenes.get(light.id, {}), **facts}
        self._added.add(light.id)

    def finish(
        self, left_out: Mapping[str, str] | None = None, deviations: Sequence[str] = ()
    ) -> Manifest:
        """Write the ground truth of every split, then the manifest. Delete files of an older set in
        the folder.

        left_out, deviations: see `Manifest`.

        Raises:
            InputError: there is no scene.
        """
        if not self.scenes:
            raise InputError(
                "no scenes to prepare",
                file=self.folder,
                kind=Kind.EMPTY,
                remedy="Name at least one.",
            )
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
            labels=self.labels,
            splits={split: [s.id for s in scenes] for split, scenes in self.splits.items()},
            scenes=self.scenes,
            ground_truth=truth,
            left_out=dict(left_out or {}),
            deviations=list(deviations),
            code_version=f"{__version__} {code_version()['commit'] or ''}".strip(),
            mean_sizes=self._mean_sizes(),
        )
        write_manifest(self.folder, manifest)
        self.close()
        self._clear(manifest)
        return manifest

    def _mean_sizes(self) -> list[list[float]]:
        scenes = self.splits.get("train", [])
        if not any(len(scene.labels) for scene in scenes):
            return []
        return [list(size) for size in mean_sizes_of(scenes, len(self.classes))]

    def close(self) -> None:
        """Close the journal's file, which stays."""
        self._journal.close()

    def _clear(self, manifest: Manifest) -> None:
        if self._replaced is None:
            return
        for name in self._replaced.files().keys() - manifest.files().keys():
            (self.folder / name).unlink(missing_ok=True)

    def _path(self, kind: str, scene: str) -> Path:
        return self.folder / kind / f"{scene}.npy"

    def _write(self, path: Path, data: bytes) -> None:
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
            if not self._keep_manifest:
                (self.folder / MANIFEST).unlink(missing_ok=True)


def _manifest_if_any(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except InputError:
        return None


def _joined(one: str, other: str) -> str:
    return "; ".join(dict.fromkeys(part for part in [*one.split("; "), other] if part))


def _check_name(name: str, what: str) -> None:
    """Check a name, because it becomes a file name: letters of any script, digits and `_ - . +`, no
    leading dot.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name) or len(name.encode()) > 200:
        raise InputError(
            f"a {what} may have only letters, digits and _ - . + in its name",
            field=repr(name),
            kind=Kind.VALUE,
        )


def _same_truth(one: Scene, other: Scene) -> bool:
    same_boxes = torch.equal(one.boxes.tensor, other.boxes.tensor.float())
    return same_boxes and torch.equal(one.labels, other.labels)


def _optional_files(scene: Scene) -> dict[str, bytes]:
    """The content of the files of a scene that it may lack, see `OPTIONAL`."""
    values = {
        "instances": (scene.instance, np.int16),
        "superpoints": (scene.superpoints, np.int32),
    }
    return {
        kind: _array_file(rows.numpy().astype(dtype))
        for kind, (rows, dtype) in values.items()
        if rows is not None
    }


def _array_file(rows: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return buffer.getvalue()


def _points_file(scene: Scene) -> bytes:
    rows = point_table(scene).numpy().astype(np.float32, copy=False)
    if rows.shape != (len(scene), 6):
        raise InputError(
            "points and colours must have three columns each", field=scene.id, kind=Kind.VALUE
        )
    return _array_file(rows)


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
