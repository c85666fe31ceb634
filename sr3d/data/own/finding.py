"""Finds the label file of each scan, and its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sr3d.data.own.annotation_tools import (
    is_supervisely,
    is_sustech,
    is_xtreme1,
    read_openpcdet,
    read_supervisely,
    read_sustech,
    read_xtreme1,
)
from sr3d.data.own.coco import is_coco, read_coco
from sr3d.data.own.labelcloud import declared_degrees, in_degrees, is_labelcloud, read_labelcloud
from sr3d.data.own.labels import FilePlace, FileValue, Label
from sr3d.data.own.ours import is_ours, read_all_ours, read_ours
from sr3d.errors import InputError, Kind
from sr3d.runs.files import read_json, read_text

FORMATS = (
    "sr3d", "coco", "labelcloud", "labelcloud-degrees", "labelcloud-radians", "sustech",
    "supervisely", "xtreme1", "openpcdet",
)  # fmt: skip
"""The values of `--boxes`. If one is given, no other format is tried."""

ALL_IN_ONE = "boxes.json"
# Names that annotation tools give to label folders.
_PLACES = ("labels", "label", "ann", "result")
# Fields that show that a JSON file beside a depth image describes its camera.
_CAMERA = {
    "fx", "fl_x", "K", "k", "intrinsics", "intrinsic_matrix", "camera_matrix", "depth_intrinsics",
    "depth",
}  # fmt: skip
_TEXT_LISTS = ("train.txt", "val.txt", "classes.txt")
_REMEDY = "docs/own_data.md shows every format."
_FOLDER = "Name their folder with --labels."
_SLY = "In CVAT, export as 'Sly Point Cloud Format', which is supported."


@dataclass(frozen=True)
class LabelledScan:
    """A scan, its label file, and the function that reads the labels in the unit of the scan.

    path: the scan. name: its path relative to the folder. labels: the file, which may not exist.
    """

    path: Path
    name: Path
    labels: Path
    read: Callable[[str | None], list[Label]] = field(repr=False)


def find_labels(
    raw: Path,
    scans: Sequence[tuple[Path, Path]],
    form: str | None = None,
    folder: Path | None = None,
) -> tuple[list[LabelledScan], str]:
    """Every scan with its labels, and the name of the format.

    scans: paths and names, see `find_scans`. form: one of `FORMATS`, None to infer it. folder: the
    folder of the labels. By default they are beside each scan, or in a folder `labels`, `label` or
    `ann` there, beside it or above it. A list for all scans is `boxes.json`, or the only JSON file
    in COCO's form, in `raw` or the folder.

    Raises:
        InputError: no labels at all, a file of unknown format, or entries that match no scan.
    """
    if form is not None and form not in FORMATS:
        raise InputError(f"take {', '.join(FORMATS)}", field=f"--boxes {form}", kind=Kind.UNKNOWN)
    if (whole := _list_of_all(folder or raw, form)) is not None:
        return _from_list(whole, scans, form)
    files = [_beside(raw, path, name, folder) for path, name in scans]
    values = {path: _attempt(path, form) for path in files if path.is_file()}
    if not values:
        places = folder or raw
        raise InputError(
            f"no labels in it: neither {ALL_IN_ONE} nor, for example, "
            f"{files[0].name} for {scans[0][1]}",
            file=places,
            kind=Kind.MISSING,
            remedy=f"{_other_labels(places) or _FOLDER} {_REMEDY}",
        )
    sound = [value for value in values.values() if not isinstance(value, InputError)]
    # labelCloud writes degrees or radians. Its list of classes shows which, else all its files do.
    clouds = [value for kind, value in sound if kind == "labelcloud"]
    degrees = form == "labelcloud-degrees"
    if clouds:
        declared = declared_degrees({path.parent for path in values})
        degrees = in_degrees(clouds) if declared is None else declared

    def reader(path: Path) -> Callable[[str | None], list[Label]]:
        def read(unit: str | None) -> list[Label]:
            found = values[path]
            if isinstance(found, InputError):
                raise found
            kind, value = found
            return _read(value, kind, degrees, unit)

        return read

    found = [
        LabelledScan(scan, name, path, reader(path))
        for (scan, name), path in zip(scans, files, strict=True)
    ]
    names = sorted({kind for kind, _ in sound})
    if clouds:
        names[names.index("labelcloud")] = f"labelcloud-{'degrees' if degrees else 'radians'}"
    return found, " and ".join(names)


def _value(path: Path) -> FileValue:
    return FileValue(read_json(path), FilePlace(path))


def _other_labels(folder: Path) -> str:
    """The remedy for labels in an unsupported format, empty if there are none."""
    found = next(folder.rglob("tracklet_labels.xml"), None)
    return f"{found} has KITTI's tracklets, which are not supported. {_SLY}" if found else ""


def _attempt(path: Path, form: str | None) -> tuple[str, FileValue] | InputError:
    """The format and content of a file, or its error. The error may not matter."""
    try:
        if path.suffix.lower() == ".txt":
            return "openpcdet", FileValue(read_text(path), FilePlace(path))
        if not read_text(path).strip():
            raise InputError(
                "is empty, so it may lack labels",
                file=path,
                kind=Kind.EMPTY,
                remedy='Write {"detections": []} into it if the scan has no box, else '
                "label the scan.",
            )
        value = _value(path)
        return form or _kind(value), value
    except InputError as error:
        return error


def _kind(value: FileValue) -> str:
    for kind, test in (
        ("supervisely", is_supervisely),  # its files have `objects` too
        ("xtreme1", is_xtreme1),  # and so may its files
        ("labelcloud", is_labelcloud),
        ("sustech", is_sustech),
        ("sr3d", is_ours),
    ):
        if test(value.value):
            return kind
    if isinstance(value.value, dict) and {"items", "categories"} <= value.value.keys():
        problem = "is in Datumaro's format, which is not supported"
        raise value.place.error(problem, Kind.UNREADABLE, _SLY)
    raise value.place.error("no labels of a known format", Kind.UNREADABLE, _REMEDY)


def _read(value: FileValue, kind: str, degrees: bool, unit: str | None) -> list[Label]:
    match kind:
        case "sr3d":
            return read_ours(value, unit)
        case "labelcloud" | "labelcloud-degrees" | "labelcloud-radians":
            return read_labelcloud(value, degrees)
        case "sustech":
            return read_sustech(value)
        case "xtreme1":
            return read_xtreme1(value)
        case "openpcdet":
            return read_openpcdet(value)
        case _:
            return read_supervisely(value)


def _list_of_all(folder: Path, form: str | None) -> FileValue | None:
    """The file with the labels of all scans, None if there is no such file."""
    if (path := folder / ALL_IN_ONE).is_file():
        return _value(path)
    if form not in (None, "coco"):
        return None
    lists = [value for path in sorted(folder.glob("*.json")) if (value := _coco_list(path))]
    if len(lists) > 1:
        names = " and ".join(str(value.place.file) for value in lists[:2])
        raise InputError(
            "both contain boxes",
            field=names,
            kind=Kind.CONFLICT,
            remedy=f"Merge them into one {ALL_IN_ONE}.",
        )
    if form == "coco" and not lists:
        raise InputError(
            "contains no JSON file with images, categories and annotations",
            file=folder,
            kind=Kind.EMPTY,
        )
    return lists[0] if lists else None


def _coco_list(path: Path) -> FileValue | None:
    """The file if it is such a list. If not, its faults may not matter."""
    try:
        value = _value(path)
    except InputError:
        return None
    return value if is_coco(value.value) else None


def _from_list(
    value: FileValue, scans: Sequence[tuple[Path, Path]], form: str | None
) -> tuple[list[LabelledScan], str]:
    kind = form or ("coco" if is_coco(value.value) else "sr3d")
    path = value.place.file
    entries: Mapping[str, FileValue | list[Label]]
    if kind == "coco":
        entries = read_coco(value)
    elif kind == "sr3d":
        entries = read_all_ours(value)
    else:
        raise InputError(
            f"{path} is a single file for all scans",
            field=f"--boxes {kind}",
            kind=Kind.CONFLICT,
            remedy="Use coco or sr3d.",
        )
    owners = match_names(entries, [name for _, name in scans], str(path))

    def reader(entry: FileValue | list[Label]) -> Callable[[str | None], list[Label]]:
        return lambda unit: entry if isinstance(entry, list) else read_ours(entry, unit)

    found = [
        LabelledScan(scan, name, path, reader(entries[owners[name]]))
        if name in owners
        else LabelledScan(scan, name, path, _unlisted(path, name))
        for scan, name in scans
    ]
    return found, kind


def _unlisted(path: Path, name: Path) -> Callable[[str | None], list[Label]]:
    def read(unit: str | None) -> list[Label]:
        raise InputError(
            f"does not list {name}",
            file=path,
            kind=Kind.MISSING,
            remedy="Add it, without boxes if it has none, or skip it with --keep-going.",
        )

    return read


def match_names(
    listed: Sequence[str] | Mapping[str, object], scans: Sequence[Path], where: str
) -> dict[Path, str]:
    """The word that names each listed scan: its path in the folder, the end of this path, or a
    longer path, with or without the suffix.

    Raises:
        InputError: a word names no scan or several scans, or two words name the same scan.
    """
    whole: dict[str, list[Path]] = {}
    ends: dict[str, list[Path]] = {}
    for scan in scans:
        for name in {scan.as_posix(), scan.with_suffix("").as_posix()}:
            whole.setdefault(name, []).append(scan)
        for name in {scan.name, scan.stem}:
            ends.setdefault(name, []).append(scan)
    found: dict[Path, str] = {}
    for word in listed:
        parts = Path(word).parts
        tails = ["/".join(parts[i:]) for i in range(len(parts))]
        places = [own for tail in tails if (own := whole.get(tail) or ends.get(tail))]
        owners = places[0] if places else []
        if len(owners) != 1:
            what = "no scan of the folder" if not owners else f"{len(owners)} scans of the folder"
            raise InputError(
                f"'{word}' names {what}",
                field=where,
                kind=Kind.VALUE,
                remedy="Name each by its path in the folder.",
            )
        if owners[0] in found:
            raise InputError(
                f"'{word}' and '{found[owners[0]]}' are one scan",
                field=where,
                kind=Kind.CONFLICT,
                remedy="List it once.",
            )
        found[owners[0]] = word
    return found


def is_label_place(name: Path) -> bool:
    """Whether a file of the folder, by its path there, is a label or a list, and no scan."""
    return name.suffix.lower() == ".txt" and (
        name.parent.name in (*_PLACES, "ImageSets") or name.as_posix() in _TEXT_LISTS
    )


def _beside(raw: Path, scan: Path, name: Path, folder: Path | None) -> Path:
    """The label file of a scan. If none exists, its most likely path."""
    if folder is not None:
        folders = [folder / name.parent, folder]
    else:
        around = [scan.parent, raw, *([scan.parent.parent] if scan.parent != raw else [])]
        folders = [scan.parent, *(place / part for place in around for part in _PLACES)]
    # Named after the whole file first: beside a depth image, NAME.json may be its camera's.
    names = (f"{scan.name}.json", f"{scan.stem}.json")
    places = [place / file for place in folders for file in names]
    # A text file beside a scan is a scan or a camera.
    places += [place / f"{scan.stem}.txt" for place in folders if place != scan.parent]
    there = (path for path in places if path.is_file() and not _is_camera(scan, path))
    return next(there, places[0])


def _is_camera(scan: Path, path: Path) -> bool:
    """Whether it is the file of a depth image's intrinsics."""
    if scan.suffix.lower() != ".png":
        return False
    value = read_json(path)
    return isinstance(value, dict) and bool(_CAMERA & value.keys())
