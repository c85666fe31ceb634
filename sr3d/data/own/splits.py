"""The split of a user's scan: from lists in the folder, else from a hash of its name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from sr3d.data.own.finding import match_names
from sr3d.errors import InputError, Kind
from sr3d.runs.files import read_text

_SHARE = 0.2
_LISTS = ("train", "val")
_IMAGE_SETS = "ImageSets"  # of KITTI, OpenPCDet and mmdetection3d


def split_scans(
    raw: Path, scans: Mapping[str, Path], share: float | None
) -> tuple[dict[str, list[str]], str]:
    """The ids of each split, and what decided the splits.

    scans: id to name in the folder. share: of val, by a hash of the names. By default, `train.txt`
    and `val.txt` in the folder or in its `ImageSets` decide. Without them the share is 0.2.

    Raises:
        InputError: both lists and a share, only one list, a list with an unknown name, or a share
            outside 0 to 1.
    """
    folder = raw
    if not any((raw / f"{split}.txt").is_file() for split in _LISTS):
        folder = raw / _IMAGE_SETS
    lists = {split: folder / f"{split}.txt" for split in _LISTS}
    there = [split for split in _LISTS if lists[split].is_file()]
    if not there:
        return _by_hash(scans, _SHARE if share is None else share)
    if share is not None:
        fault, remedy = f"{lists[there[0]]} says what is val", "Leave one of the two out."
        raise InputError(fault, field=f"--val {share:g}", kind=Kind.CONFLICT, remedy=remedy)
    if len(there) < 2:
        lacking = next(split for split in _LISTS if split not in there)
        fault, remedy = f"no such file, but there is {there[0]}.txt", "Write both."
        raise InputError(fault, file=lists[lacking], kind=Kind.MISSING, remedy=remedy)
    found = {split: _listed(lists[split], scans) for split in _LISTS}
    if both := sorted({*found["train"]} & {*found["val"]}):
        fault = f"'{both[0]}' is in train.txt and in val.txt"
        raise InputError(fault, file=raw, kind=Kind.CONFLICT, remedy="List it in one.")
    left = len(scans) - sum(map(len, found.values()))
    return found, "train.txt and val.txt" + (f", {left} scans are in neither" if left else "")


def _listed(path: Path, scans: Mapping[str, Path]) -> list[str]:
    lines = read_text(path).splitlines()
    words = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    ids = {name: scan for scan, name in scans.items()}
    return [ids[name] for name in match_names(words, list(scans.values()), str(path))]


def _by_hash(scans: Mapping[str, Path], share: float) -> tuple[dict[str, list[str]], str]:
    """New scans do not change the split of a scan, except that val is never empty."""
    if not 0 <= share < 1:
        raise InputError(
            "the share of val must be at least 0 and below 1",
            field=f"--val {share:g}",
            kind=Kind.VALUE,
        )
    places = {scan: _place(scan) for scan in scans}
    val = {scan for scan, place in places.items() if place < share}
    if share and not val and len(scans) > 1:
        val = {min(places, key=lambda scan: places[scan])}
    if len(val) == len(scans) > 1:
        val.remove(max(places, key=lambda scan: places[scan]))
    found = {"train": [s for s in scans if s not in val], "val": [s for s in scans if s in val]}
    return {split: ids for split, ids in found.items() if ids}, f"a share of {share:g} by name"


def _place(scan: str) -> float:
    """A number in [0, 1) that depends only on the name."""
    return int.from_bytes(hashlib.sha256(scan.encode()).digest()[:6]) / 2**48
