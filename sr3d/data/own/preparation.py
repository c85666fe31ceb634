"""`sr3d prepare folder`: a folder of labelled scans becomes a prepared set, like any other.

All labels are read first, and say what the set is: its classes, whether boxes turn. Then scans are
read one by one. Nothing is written before the labels are known to be sound.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sr3d.data.loader import generator_for
from sr3d.data.own.finding import LabelledScan, find_labels, is_label_place
from sr3d.data.own.labels import Label, classes_of, similar_names
from sr3d.data.own.splits import split_scans
from sr3d.data.prepared import MANIFEST, Manifest, PreparedWriter, read_manifest
from sr3d.data.readers.conversion import (
    ConversionOptions,
    Source,
    convert,
    folder_stamp,
    select_scenes,
)
from sr3d.data.readers.published import PublishedCounts
from sr3d.data.scans import ScanOptions, find_scans, read_scan
from sr3d.data.scene import Scene, check_scene
from sr3d.data.transforms import sample_points
from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes
from sr3d.runs.files import digest

OWN = "own"
_TINY, _LONGER = 0.01, 1.5  # metres, and times the extent of the scan: sizes of no object
_BEYOND = 0.5  # metres that the centre of a box may lie outside its scan
_REMEDY = "Label them (a file without boxes is fine), or leave them out with --keep-going."

# Options that the manifest shows in other fields.
_SHOWN = ("boxes", "labels", "classes", "val", "unit")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelOptions:
    """What the user says of labels and of the set; the rest is found. See `docs/own_data.md`.

    boxes: the format. labels: the folder of the labels. val: the share of the split. rotated:
    whether boxes may have a yaw. upright: whether tilted boxes are replaced by upright boxes around
    them. points: the maximum number of points of a scan, 0 for all.
    """

    boxes: str | None = None
    labels: Path | None = None
    classes: tuple[str, ...] = ()
    ignore_unknown: bool = False
    val: float | None = None
    rotated: bool | None = None
    upright: bool = False
    points: int = 0

    def __post_init__(self) -> None:
        if self.points < 0:
            raise InputError(
                "must be 0 (all) or more", field=f"--points {self.points}", kind=Kind.VALUE
            )


def prepare_folder(
    raw: Path,
    out: Path,
    *,
    told: LabelOptions = LabelOptions(),  # frozen
    scan_options: ScanOptions | None = None,
    scenes: Sequence[str] | None = None,
    append: bool = False,
    how: ConversionOptions = ConversionOptions(),
) -> Manifest:
    """Turn scans with labels into a prepared folder of the data set `own`.

    raw: holds the scans, of any kind that `read_scan` reads, at any depth. scenes: only these ids,
    which are the names without kind of file. append: add to what `out` holds, whose classes and
    kind of boxes are then the set's.

    Raises:
        InputError: scans or labels that are missing or unsound, or do not fit what `out` holds.
    """
    scan_options = scan_options or ScanOptions()
    chosen, form, decided = _choose(raw, out, told, scenes)
    unit = scan_options.unit or _unit(
        [one.scan.path for one in chosen], scan_options, how.keep_going
    )
    labels = {one.id: _labels(one.scan, unit, how.keep_going) for one in chosen}
    every = [
        label for some in labels.values() if not isinstance(some, InputError) for label in some
    ]
    kept = read_manifest(out) if append and (out / MANIFEST).is_file() else None
    classes = classes_of(every, told.classes or (kept.classes if kept else ()), told.ignore_unknown)
    turned = [x for x in every if x.name in classes and x.is_turned(scan_options.up)]
    rotated = _rotated(turned, told.rotated, kept, out)
    kind = "with a yaw" if rotated else "axis-aligned"
    for fact in (
        f"unit: {unit}, as "
        f"{'told' if scan_options.unit else 'found in the first scan; see --unit'}",
        f"classes: {', '.join(classes)}",
        f"boxes: {form}, {kind}; {len(turned)} of {len(every)} have a yaw",
        f"split: {decided}",
    ):
        _log.info("%s", fact)
    for group in similar_names({label.written for label in every}):
        _log.warning(
            "the classes %s are probably one; spell it alike in the labels, or choose with "
            "--classes and --ignore-unknown",
            " and ".join(f"'{name}'" for name in group),
        )
    notes = _ScanNotes()
    read = partial(_read, _SetFacts(unit, classes, rotated), told, scan_options, notes)
    around = _Surroundings(out)
    sources = [
        Source(
            one.split,
            one.id,
            one.files,
            partial(read, one, labels[one.id]),
            context=around(one.scan.path),
        )
        for one in chosen
    ]
    writer = PreparedWriter(
        out,
        OWN,
        classes,
        rotated,
        f"own scans of {raw.resolve().name} in {unit}{_said(scan_options)}",
        labels=f"{form}, {len(classes)} classes ({', '.join(classes)}){_said(told)}",
        append=append,
    )
    manifest = convert(sources, writer, PublishedCounts(), _REMEDY, how)
    notes.tell()
    return manifest


class _ChosenScan(NamedTuple):
    """A scan that is going to be a scene."""

    split: str
    id: str
    scan: LabelledScan

    @property
    def files(self) -> tuple[Path, Path]:
        return self.scan.path, self.scan.labels


class _Surroundings:
    """The files that scans of some kinds depend on: cameras, textures, arrays of colours."""

    KINDS = (".png", ".obj", ".gltf", ".ply", ".npy")

    def __init__(self, out: Path) -> None:
        self._out, self._stamp = out.resolve(), cache(folder_stamp)

    def __call__(self, scan: Path) -> str:
        """A digest of the files in the scan's folder, in the one above and in those beside it."""
        if scan.suffix.lower() not in self.KINDS:
            return ""
        above = scan.resolve().parent.parent
        beside = sorted(path for path in above.iterdir() if path.is_dir())
        return digest([self._stamp(place) for place in (above, *beside) if place != self._out])


class _SetFacts(NamedTuple):
    """Facts that all scenes share."""

    unit: str
    classes: tuple[str, ...]
    rotated: bool


def _choose(
    raw: Path, out: Path, told: LabelOptions, scenes: Sequence[str] | None
) -> tuple[list[_ChosenScan], str, str]:
    """The scans in the order of their splits, the format of labels, and what decided the splits."""
    if not raw.is_dir():
        raise InputError(
            "no such folder; --raw names the one with the scans", file=raw, kind=Kind.MISSING
        )
    if out.resolve() == raw.resolve():
        raise InputError(
            "is the folder of the scans",
            field=f"--out {out}",
            kind=Kind.VALUE,
            remedy=f"Name another, such as {raw / 'prepared'}.",
        )
    scans = [scan for scan in find_scans([raw], without=out) if not is_label_place(scan[1])]
    ids = _ids(scans)
    labelled, form = find_labels(raw, scans, told.boxes, told.labels)
    own = dict(zip(ids, labelled, strict=True))
    splits, decided = split_scans(raw, {key: scan.name for key, scan in own.items()}, told.val)
    chosen = [
        _ChosenScan(split, scene, own[scene])
        for split, some in select_scenes(splits, scenes).items()
        for scene in some
    ]
    return chosen, form, decided


class _ScanNotes:
    """Notes on scans, printed once at the end. Several threads append, which is atomic."""

    def __init__(self) -> None:
        self.ups: list[str] = []
        self.outside: list[str] = []
        self.sizes: list[str] = []

    def tell(self) -> None:
        for up, count in Counter(self.ups).most_common():
            _log.info("up: %s in %d scans", up, count)
        for what, scans in (
            ("more than half of the boxes lie outside the points", self.outside),
            ("boxes are smaller than 1 cm or much longer than the scan", self.sizes),
        ):
            if scans:
                names = ", ".join(sorted(scans)[:5]) + (", …" if len(scans) > 5 else "")
                _log.warning(
                    "%s in %d scans (%s): look at them with `sr3d inspect data --pictures`; boxes "
                    "must be in the frame and the unit of their scan, see --up and --unit",
                    what, len(scans), names,
                )  # fmt: skip


def _read(
    own: _SetFacts,
    told: LabelOptions,
    scan_options: ScanOptions,
    notes: _ScanNotes,
    one: _ChosenScan,
    labels: list[Label] | InputError,
) -> Scene:
    """A scene. Threads share no scene."""
    if isinstance(labels, InputError):
        raise labels
    path = one.scan.path
    scan = read_scan(path, scan_options)
    if scan.frame.unit != own.unit:
        raise InputError(
            f"seems to be in {scan.frame.unit}, and the first scan of the set in {own.unit}",
            file=path,
            kind=Kind.CONFLICT,
            remedy="Tell with --unit what all of them are in.",
        )
    notes.ups.append(scan.frame.up)
    known = [label for label in labels if label.name in own.classes]
    boxes = [
        label.placed(scan.frame, upright=told.upright, aligned=not own.rotated) for label in known
    ]
    scene = Scene(
        id=one.id,
        points=torch.from_numpy(scan.points),
        colors=torch.from_numpy(scan.painted()),
        boxes=Boxes.from_array(np.array(boxes)),
        labels=torch.tensor([own.classes.index(x.name) for x in known], dtype=torch.int64),
    )
    check_scene(scene, own.classes, str(path))
    low, high = scene.points.amin(dim=0) - _BEYOND, scene.points.amax(dim=0) + _BEYOND
    centers = scene.boxes.centers
    if 2 * int(((centers < low) | (centers > high)).any(dim=1).sum()) > len(boxes):
        notes.outside.append(one.id)
    longest, extent = scene.boxes.sizes.amax(dim=1), float((high - low).max())
    if bool(((longest < _TINY) | (longest > _LONGER * extent)).any()):
        notes.sizes.append(one.id)
    if told.points and told.points < len(scene):
        seed = int.from_bytes(hashlib.sha256(one.id.encode()).digest()[:4])
        return sample_points(scene, told.points, generator_for(seed), "never")
    return scene


def _ids(scans: Sequence[tuple[Path, Path]]) -> list[str]:
    """Names as scenes may have them: without kind of file, of letters, digits and _ - . + alone."""
    ids = []
    for _, name in scans:
        text = re.sub(r"[^\w.+-]", "_", name.with_suffix("").as_posix())
        ids.append(text if re.match(r"\w", text) else f"_{text}")
    if twice := next((scene for scene, count in Counter(ids).items() if count > 1), None):
        same = [str(path) for (path, _), scene in zip(scans, ids, strict=True) if scene == twice]
        raise InputError(
            f"{' and '.join(same[:2])}: would both be '{twice}'",
            kind=Kind.CONFLICT,
            remedy="Rename one of them.",
        )
    return ids


def _unit(paths: Sequence[Path], scan_options: ScanOptions, keep_going: bool) -> str:
    """What the first scan is in, of those that can be read."""
    for path in paths:
        try:
            return read_scan(path, scan_options).frame.unit
        except InputError:
            if not keep_going or path is paths[-1]:
                raise
    raise AssertionError("there is a scan")


def _labels(scan: LabelledScan, unit: str, keep_going: bool) -> list[Label] | InputError:
    """Of a scan; of one that is going to be left out, the reason. A file may be missing so far."""
    try:
        return scan.read(unit) if scan.labels.is_file() else []
    except InputError as error:
        if not keep_going:
            raise
        return error


def _rotated(turned: Sequence[Label], told: bool | None, kept: Manifest | None, out: Path) -> bool:
    """Whether boxes of the set may have a yaw. turned: those with one. kept: what `out` has."""
    if told is not None:
        return told
    if kept is None:
        return bool(turned)
    if turned and not kept.rotated:
        raise turned[0].place.error(
            f"has a yaw, and {out} holds axis-aligned boxes",
            Kind.CONFLICT,
            "Give --aligned for the boxes around such, or prepare all of it again.",
        )
    return kept.rotated


def _said(told: Any) -> str:
    """What differs from the defaults, so that another preparation does not go on with this one."""
    said = [
        f"{field.name} {getattr(told, field.name)}"
        for field in fields(told)
        if field.name not in _SHOWN and getattr(told, field.name) != field.default
    ]
    return f", told {', '.join(said)}" if said else ""
