"""`sr3d prepare folder`: turns a folder of labelled scans into a prepared data set.

It first reads all labels, which determine the classes and whether boxes have a yaw. Then it reads
the scans one by one. It writes nothing before all labels are valid.
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
_TINY, _LONGER = 0.01, 1.5  # metres, and multiple of the scan's extent: limits of object sizes
_BEYOND = 0.5  # metres, maximum distance of a box centre from its scan
_REMEDY = "Label them (a file without boxes is fine), or leave them out with --keep-going."

# Options that other fields of the manifest show.
_SHOWN = ("boxes", "labels", "classes", "val", "unit")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelOptions:
    """The user's options for labels and for the set. None infers them. See `docs/own_data.md`.

    boxes: the format. labels: the folder of the labels. val: the share of the split. rotated:
    whether boxes may have a yaw. upright: whether upright boxes replace the tilted boxes in them.
    points: maximum number of points per scan, 0 for all.
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
    label_options: LabelOptions = LabelOptions(),  # frozen
    scan_options: ScanOptions | None = None,
    scenes: Sequence[str] | None = None,
    append: bool = False,
    how: ConversionOptions = ConversionOptions(),
) -> Manifest:
    """Turn scans with labels into a prepared folder of the data set `own`.

    raw: contains the scans, in any format of `read_scan`, at any depth. scenes: only these ids,
    which are the names without suffix. append: add to the set in `out`, and keep its classes and
    kind of boxes.

    Raises:
        InputError: missing or invalid scans or labels, or scans that do not fit the set in `out`.
    """
    scan_options = scan_options or ScanOptions()
    chosen, form, decided = _choose(raw, out, label_options, scenes)
    unit = scan_options.unit or _unit(
        [one.scan.path for one in chosen], scan_options, how.keep_going
    )
    labels = {one.id: _labels(one.scan, unit, how.keep_going) for one in chosen}
    every = [
        label for some in labels.values() if not isinstance(some, InputError) for label in some
    ]
    kept = read_manifest(out) if append and (out / MANIFEST).is_file() else None
    classes = classes_of(
        every, label_options.classes or (kept.classes if kept else ()), label_options.ignore_unknown
    )
    turned = [x for x in every if x.name in classes and x.is_turned(scan_options.up)]
    rotated = _rotated(turned, label_options.rotated, kept, out)
    kind = "with a yaw" if rotated else "axis-aligned"
    for fact in (
        f"unit: {unit}, {'given' if scan_options.unit else 'from the first scan, see --unit'}",
        f"classes: {', '.join(classes)}",
        f"boxes: {form}, {kind}, {len(turned)} of {len(every)} have a yaw",
        f"split: {decided}",
    ):
        _log.info("%s", fact)
    for group in similar_names({label.written for label in every}):
        _log.warning(
            "the classes %s are probably one class. Spell it the same way in all labels, or choose "
            "with --classes and --ignore-unknown",
            " and ".join(f"'{name}'" for name in group),
        )
    notes = _ScanNotes()
    read = partial(_read, _SetFacts(unit, classes, rotated), label_options, scan_options, notes)
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
        f"own scans of {raw.resolve().name} in {unit}{_changed(scan_options)}",
        labels=f"{form}, {len(classes)} classes ({', '.join(classes)}){_changed(label_options)}",
        append=append,
    )
    manifest = convert(sources, writer, PublishedCounts(), _REMEDY, how)
    notes.report()
    return manifest


class _ChosenScan(NamedTuple):
    """A scan that will become a scene."""

    split: str
    id: str
    scan: LabelledScan

    @property
    def files(self) -> tuple[Path, Path]:
        return self.scan.path, self.scan.labels


class _Surroundings:
    """The files that some scans depend on: cameras, textures, arrays of colours."""

    KINDS = (".png", ".obj", ".gltf", ".ply", ".npy")

    def __init__(self, out: Path) -> None:
        self._out, self._stamp = out.resolve(), cache(folder_stamp)

    def __call__(self, scan: Path) -> str:
        """A digest of the files in the scan's folder, its parent, and the folders beside it."""
        if scan.suffix.lower() not in self.KINDS:
            return ""
        above = scan.resolve().parent.parent
        beside = sorted(path for path in above.iterdir() if path.is_dir())
        return digest([self._stamp(place) for place in (above, *beside) if place != self._out])


class _SetFacts(NamedTuple):
    """Facts that hold for all scenes."""

    unit: str
    classes: tuple[str, ...]
    rotated: bool


def _choose(
    raw: Path, out: Path, label_options: LabelOptions, scenes: Sequence[str] | None
) -> tuple[list[_ChosenScan], str, str]:
    """The scans in the order of their splits, the label format, and how the splits were chosen."""
    if not raw.is_dir():
        raise InputError(
            "no such folder",
            file=raw,
            kind=Kind.MISSING,
            remedy="Name the folder of the scans with --raw.",
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
    labelled, form = find_labels(raw, scans, label_options.boxes, label_options.labels)
    own = dict(zip(ids, labelled, strict=True))
    splits, decided = split_scans(
        raw, {key: scan.name for key, scan in own.items()}, label_options.val
    )
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

    def report(self) -> None:
        for up, count in Counter(self.ups).most_common():
            _log.info("up: %s in %d scans", up, count)
        for what, scans in (
            ("more than half of the boxes lie outside the points", self.outside),
            ("boxes are smaller than 1 cm or much longer than the scan", self.sizes),
        ):
            if scans:
                names = ", ".join(sorted(scans)[:5]) + (", …" if len(scans) > 5 else "")
                _log.warning(
                    "%s in %d scans (%s). Look at them with `sr3d inspect data --pictures`. Boxes "
                    "must be in the frame and the unit of their scan, see --up and --unit",
                    what, len(scans), names,
                )  # fmt: skip


def _read(
    own: _SetFacts,
    label_options: LabelOptions,
    scan_options: ScanOptions,
    notes: _ScanNotes,
    one: _ChosenScan,
    labels: list[Label] | InputError,
) -> Scene:
    """Reads one scene. Threads share no scene."""
    if isinstance(labels, InputError):
        raise labels
    path = one.scan.path
    scan = read_scan(path, scan_options)
    if scan.frame.unit != own.unit:
        raise InputError(
            f"seems to be in {scan.frame.unit}, but the first scan of the set is in {own.unit}",
            file=path,
            kind=Kind.CONFLICT,
            remedy="Give the unit of all scans with --unit.",
        )
    notes.ups.append(scan.frame.up)
    known = [label for label in labels if label.name in own.classes]
    boxes = [
        label.placed(scan.frame, upright=label_options.upright, aligned=not own.rotated)
        for label in known
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
    if label_options.points and label_options.points < len(scene):
        seed = int.from_bytes(hashlib.sha256(one.id.encode()).digest()[:4])
        return sample_points(scene, label_options.points, generator_for(seed), "never")
    return scene


def _ids(scans: Sequence[tuple[Path, Path]]) -> list[str]:
    """Valid scene ids: names without suffix, and with only letters, digits and _ - . +."""
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
    """The unit of the first readable scan."""
    for path in paths:
        try:
            return read_scan(path, scan_options).frame.unit
        except InputError:
            if not keep_going or path is paths[-1]:
                raise
    raise AssertionError("there is a scan")


def _labels(scan: LabelledScan, unit: str, keep_going: bool) -> list[Label] | InputError:
    """The labels of a scan, or the error if the scan may be skipped. The file may not exist yet."""
    try:
        return scan.read(unit) if scan.labels.is_file() else []
    except InputError as error:
        if not keep_going:
            raise
        return error


def _rotated(turned: Sequence[Label], given: bool | None, kept: Manifest | None, out: Path) -> bool:
    """Whether boxes of the set may have a yaw. turned: labels with one. kept: the set in `out`."""
    if given is not None:
        return given
    if kept is None:
        return bool(turned)
    if turned and not kept.rotated:
        raise turned[0].place.error(
            f"has a yaw, and {out} holds axis-aligned boxes",
            Kind.CONFLICT,
            "Give --aligned to use the boxes around them, or prepare the whole set again.",
        )
    return kept.rotated


def _changed(options: Any) -> str:
    """The options that differ from the defaults. A set with other options is not resumed."""
    changed = [
        f"{field.name} {getattr(options, field.name)}"
        for field in fields(options)
        if field.name not in _SHOWN and getattr(options, field.name) != field.default
    ]
    return f", told {', '.join(changed)}" if changed else ""
